# %% [markdown]
# # Change the reward
#
# A reward decides what a policy becomes. Here you play the built-in task with three policies,
# score the same episodes by rewards of the papers and by one of your own, and see how the
# ranking of the policies turns around.
#
# It needs nothing but `deepeyes_env` itself, and no model: the policies are scripts.

# %%
from deepeyes_env import Rubric, Term
from deepeyes_env.agents import BlindAgent, OracleAgent, rollout
from deepeyes_env.rewards import get_rubric, register_rubric, terms

# %% [markdown]
# ## Three policies
#
# `BlindAgent` guesses. `OracleAgent` knows where the object is: it zooms in on it, then gives
# the right answer. The third one is ours. Three in ten questions of the built-in task can be
# read without a zoom (`metadata["easy"]`), and it does not look closer in those.


# %%
class SelectiveAgent(OracleAgent):
    """Looks closer only where it has to."""

    name = "selective"

    def places(self, episode):
        """Return the boxes to zoom in on."""
        return () if episode.sample.metadata["easy"] else super().places(episode)


policies = [BlindAgent(), OracleAgent(), SelectiveAgent()]

# %% [markdown]
# ## Play first, score later
#
# With `rubric=None` the environment gives no reward and just hands over what was played. An
# episode is a `Trajectory`: the question, every message, every tool call and its result. All
# policies play the same 60 questions, because the seeds are the same.

# %%
played = {
    policy.name: rollout(
        "VisualToolbox-v2", policy, episodes=60, rubric=None, progress=False
    ).trajectories
    for policy in policies
}
assert all(episode.reward == 0.0 for episodes in played.values() for episode in episodes)


def mean_rewards(rubric):
    """Score all episodes by a rubric; return the mean reward of each policy."""
    scored = {name: rubric.score_all(episodes) for name, episodes in played.items()}
    return {
        name: sum(each.reward for each in episodes) / len(episodes)
        for name, episodes in scored.items()
    }


# %% [markdown]
# ## The papers' rewards
#
# `deepeyes` pays 0.8 for a right answer and 1.2 more if a tool returned an image on the way.
# So looking always pays, even where there is no need to: the oracle gets 2.0 for everything,
# and the selective policy, which is just as often right, gets less.

# %%
deepeyes = mean_rewards(get_rubric("deepeyes"))
print({name: round(reward, 2) for name, reward in deepeyes.items()})
assert deepeyes["oracle"] == 2.0
assert deepeyes["blind"] < deepeyes["selective"] < deepeyes["oracle"]

# %% [markdown]
# ## A reward of your own
#
# A `Rubric` is a list of terms, each a small function of the `Evidence`: the finished
# episode, the answer, whether it is right, whether the format was kept. This one pays for
# right answers, charges 0.2 for every tool call (a per-call penalty), and adds up to 0.1 for
# looking at the right place.


# %%
def aim(evidence):
    """Overlap of the best box looked at with the ground truth, from 0 to 1."""
    return evidence.trajectory.best_iou or 0.0


thrifty = Rubric(
    [
        Term("acc", terms.accuracy),
        Term("calls", terms.calls, weight=-0.2),
        Term("aim", aim, weight=0.1),
    ]
)

# %% [markdown]
# A rubric is a function from trajectory to trajectory, so you can try it on a single episode.
# Every term comes back by name, raw and weighted; that is what you look at when a training
# run does something strange.

# %%
looked = next(
    episode for episode in thrifty.score_all(played["oracle"]) if len(episode.results) == 1
)
for name, term in looked.reward_terms.items():
    print(f"{name:6} raw {term.raw:.2f}  weighted {term.weighted:+.2f}")
assert looked.reward_terms["acc"].raw == 1.0
assert looked.reward_terms["calls"].weighted == -0.2
assert 0.5 < looked.reward_terms["aim"].raw <= 1.0

# %% [markdown]
# Under it the selective policy is the best of the three.

# %%
ours = mean_rewards(thrifty)
print({name: round(reward, 2) for name, reward in ours.items()})
assert ours["blind"] < ours["oracle"] < ours["selective"]

# %% [markdown]
# ## Use it everywhere
#
# With a name it can be asked for wherever a rubric is named: in `gym.make(...,
# rubric="thrifty")`, in a rollout, in training.

# %%
register_rubric("thrifty", thrifty)
run = rollout(
    "VisualToolbox-v2", SelectiveAgent(), episodes=60, rubric="thrifty", progress=False
)
assert abs(run.summary.reward - ours["selective"]) < 1e-9
assert set(run.summary.reward_terms) == {"acc", "calls", "aim"}

# %% [markdown]
# To train a policy on it, put `aim`, the rubric and `register_rubric` into a file
# `thrifty.py`, and name that as a plugin:
#
#     deepeyes train --plugin thrifty.py env.rubric=thrifty out=runs/thrifty
#
# [What the tool bonus does](../ablation.md) shows what such rewards do to a policy that
# learns; [Evidence and rubrics](../evidence.md) lists everything that a term can read.
