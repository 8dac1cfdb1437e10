# %% [markdown]
# # Best of n and tree search
#
# A policy that is often wrong may still be right in one of eight attempts. Here you take the
# tiny model that ships with this package, *before* it has been trained to look closer, and
# make it answer more than twice as many questions rightly by search alone: by playing several
# episodes from the same state, and by branching in the middle of one. `snapshot` and
# `restore` of the environment make that almost free.
#
# It needs `deepeyes-env[transformers]`; nothing is downloaded.

# %%
import math
import pickle
import time
from dataclasses import replace

import gymnasium as gym
import torch
from transformers.utils import logging

from deepeyes_env.agents.transformers.agent import TransformersAgent
from deepeyes_env.agents.transformers.generator import Sampling
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.trainers.tiny import BASE

torch.set_num_threads(1)  # so small a model gains nothing from more
logging.disable_progress_bar()

QUESTIONS = 48
policy = TransformersAgent(BASE, sampling=Sampling(temperature=1.0, max_new_tokens=32))

# %% [markdown]
# The task: "Which pattern is on the red square?", four options. With `easy=0` the pattern can
# be read in no view, only in a crop of the right square. Guessing gets one in four.

# %%
scenes = pattern_search("test", length=QUESTIONS, easy=0.0)
env = gym.make("VisualToolbox-v2", dataset=scenes, max_turns=3).unwrapped

# %% [markdown]
# ## A state to come back to
#
# `snapshot` returns the state of the episode: `restore` goes back to it, in this environment
# or in another one of the same settings. Images are immutable and shared, so a state costs
# next to nothing; pickled, to be sent to another process, it is a few hundred bytes to a few
# kilobytes, and restoring replays the actions.

# %%
starts = []
for question in range(QUESTIONS):
    env.reset(seed=question, options={"index": question})
    starts.append(env.snapshot())

assert env.trajectory.sample.id != starts[0].trajectory.sample.id
begun = time.perf_counter()
for _ in range(100):
    env.restore(starts[0])
assert env.trajectory == starts[0].trajectory
milliseconds, size = (time.perf_counter() - begun) * 10, len(pickle.dumps(starts[0]))
print(f"restore: {milliseconds:.2f} ms, pickled: {size} bytes")
assert size < 2_000

# %% [markdown]
# ## One message further
#
# Everything below is made of one step: take some states, let the policy write the next
# message of each, all at once, and return the states that come of it. With each comes the
# policy's confidence: the probability that it gave to the token of its message of which it
# was least sure. What the policy samples follows from the seed in an episode's metadata: each
# conversation gets one of its own, and another `draw` gives others.


# %%
def advance(states, draw):
    """Return each state after the policy's next message, and how sure the policy was of it."""
    conversations = [
        replace(state.trajectory, metadata={"seed": 10_000 * draw + number})
        for number, state in enumerate(states)
    ]
    reached = []
    for state, reply in zip(states, policy.act(conversations), strict=True):
        env.restore(state)
        env.step(reply.message)
        reached.append((env.snapshot(), math.exp(min(reply.tokens.logprobs))))
    return reached


def play_out(states, draw):
    """Play each state to its end; return the episodes, and how sure the last messages were."""
    ends = {}
    running = dict(enumerate(states))
    while running:
        reached = advance(list(running.values()), draw)
        steps = dict(zip(running, reached, strict=True))
        ends |= {
            n: (state.trajectory, sure)
            for n, (state, sure) in steps.items()
            if state.trajectory.done
        }
        running = {n: state for n, (state, sure) in steps.items() if not state.trajectory.done}
    return [ends[n] for n in range(len(states))]


def accuracy(trajectories):
    """Return the share of right answers."""
    return sum(each.correct for each in trajectories) / len(trajectories)


# %% [markdown]
# ## Best of n
#
# Eight episodes from each start. A single one is right about as often as a guess, because
# this policy seldom looks and often misses. Choose by the reward, as one does to collect
# demonstrations, and most questions have a right episode. Choose by the policy's own
# confidence, which needs no ground truth, and it is right much more often than a single one.

# %%
N = 8
ends = play_out([start for start in starts for _ in range(N)], draw=1)
attempts = [ends[n : n + N] for n in range(0, len(ends), N)]

single = accuracy([trajectory for group in attempts for trajectory, _ in group])
by_reward = accuracy([max(group, key=lambda end: end[0].reward)[0] for group in attempts])
by_confidence = accuracy([max(group, key=lambda end: end[1])[0] for group in attempts])
written = sum(len(trajectory.turns) for trajectory, _ in ends) / QUESTIONS
print(f"one episode {single:.2f}")
print(f"best of {N} by reward {by_reward:.2f}, by confidence {by_confidence:.2f}", end=" ")
print(f"with {written:.1f} messages a question")
assert by_reward > single + 0.3
assert by_confidence > single + 0.1

# %% [markdown]
# ## Tree search
#
# Best of n spends as much on a question that is settled as on one that is not, and plays on
# after messages that lead nowhere. A tree need not: draw four first messages from the root,
# go on only from those that looked closer, and stop when the policy is sure of an answer.
# Unsettled questions get another round. Nothing here knows the right answer.

# %%
SURE, ROUNDS, WIDTH = 0.9, 4, 4
best = [(0.0, ends[question * N][0]) for question in range(QUESTIONS)]
messages = 0
for number in range(ROUNDS):
    unsettled = [question for question in range(QUESTIONS) if best[question][0] < SURE]
    branches = [question for question in unsettled for _ in range(WIDTH)]
    reached = advance([starts[question] for question in branches], draw=10 + 2 * number)
    looked = [
        (q, state)
        for q, (state, _) in zip(branches, reached, strict=True)
        if not state.trajectory.done
    ]
    leaves = advance([state for _, state in looked], draw=11 + 2 * number)
    messages += len(reached) + len(leaves)
    for (question, _), (leaf, sure) in zip(looked, leaves, strict=True):
        if leaf.trajectory.done and sure > best[question][0]:
            best[question] = (sure, leaf.trajectory)

searched = accuracy([trajectory for _, trajectory in best])
print(f"tree search {searched:.2f} with {messages / QUESTIONS:.1f} messages a question")
assert searched > 2 * single

# %% [markdown]
# So the knowledge was there: this policy can read a pattern once it sees it, and knows when
# it does. What it lacks is the habit of looking, and that is what training by reward gives
# it: `make train` brings single episodes from about 0.3 to 0.86.
#
# What you found can be kept. Record the best episodes with a `TrajectoryWriter`
# ([Trajectories](../trajectories.md)), and export them as demonstrations for a cold start
# ([Exports](../exports.md)). How snapshots behave with tools that keep state: [A tool with
# state](2_a_tool_with_state.py).
