"""What reinforcement learning finds in a tiny policy: how well it looks where it is made to, and reads what it sees.

``python benchmarks/cold_start.py [MODEL [pattern_pairs]]`` plays 160 held-out hard questions four times at temperature
1: as the policy would, with its first word ruled out both ways (it must zoom, it must not), and with a good first zoom
written for it. Without MODEL, the policy that ships. Prints JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from deepeyes_env.agents import rollout
from deepeyes_env.agents.agent import Reply
from deepeyes_env.agents.transformers.agent import TransformersAgent
from deepeyes_env.agents.transformers.generator import Sampling
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.core import Trajectory
from deepeyes_env.data.visual_search.names import built_in
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.tiny.phrases import CAN_SEE, TOO_SMALL, zoom
from deepeyes_env.trainers.tiny.scenes import READABLE, SCALE
from deepeyes_env.trainers.tiny.task import TinyTask, tiny_task

QUESTIONS, SEED = 160, 77
MARGIN = 0.1


class Begun:
    """Plays with a policy, whose first messages are begun otherwise."""

    name = "begun"

    def __init__(self, policy: VisionPolicy, first: Callable[[TransformersAgent, Sequence[Trajectory]], list[Reply]]):
        self._agent = TransformersAgent(policy, sampling=Sampling(1.0, 32))
        self._first = first

    def act(self, episodes: Sequence[Trajectory]) -> list[Reply]:
        begun = [episode for episode in episodes if not episode.turns]
        later = [episode for episode in episodes if episode.turns]
        replies = dict(zip(map(id, begun), self._first(self._agent, begun) if begun else (), strict=True))
        replies |= dict(zip(map(id, later), self._agent.act(later) if later else (), strict=True))
        return [replies[id(episode)] for episode in episodes]


@contextmanager
def ruled_out(policy: VisionPolicy, text: str):
    (token,), logits = policy.tokenizer(text).input_ids, policy.logits
    never = torch.zeros(len(policy.tokenizer))
    never[token] = -1e9
    policy.logits = lambda *given: logits(*given) + never
    try:
        yield
    finally:
        del policy.logits


def without(policy: VisionPolicy, text: str):
    def first(agent: TransformersAgent, episodes: Sequence[Trajectory]) -> list[Reply]:
        with ruled_out(policy, text):
            return agent.act(episodes)

    return first


def good_zoom(task: TinyTask):
    def message(episode: Trajectory) -> Reply:
        (place,), wider = episode.sample.regions, (-MARGIN, -MARGIN, MARGIN, MARGIN)
        side = place.box[2] - place.box[0]
        box = [(value + share * side) / SCALE for value, share in zip(place.box, wider, strict=True)]
        return Reply(zoom(episode.sample.question.split()[5], box, task, place.image))

    return lambda agent, episodes: list(map(message, episodes))


def shows(episode: Trajectory) -> bool:
    """Whether the first zoom shows the middle of the square that is asked for, large enough to be read."""
    (place,), seen = episode.sample.regions, episode.results[0].regions[0]
    x, y = (place.box[0] + place.box[2]) / 2, (place.box[1] + place.box[3]) / 2
    inside = seen.box[0] < x < seen.box[2] and seen.box[1] < y < seen.box[3]
    return seen.image == place.image and inside and max(seen.size) * READABLE < episode.native_size[0]


def share(chosen: Sequence[object], of: Sequence[object]) -> float | None:
    return round(len(chosen) / len(of), 2) if of else None


def accuracy(episodes: Sequence[Trajectory]) -> float | None:
    return round(sum(each.correct or 0 for each in episodes) / len(episodes), 2) if episodes else None


def measured(policy: VisionPolicy, task: TinyTask) -> dict[str, float | None]:
    dataset = built_in(task.data, split="test", seed=SEED, length=QUESTIONS, easy=0, size=task.size, view=task.view)

    def played(first) -> tuple[list[Trajectory], list[Trajectory]]:
        settings = {"dataset": dataset, "frame": task.frame, "in_order": True, "num_envs": QUESTIONS}
        episodes = list(rollout(task.toolbox, Begun(policy, first), episodes=QUESTIONS, **settings).trajectories)
        return episodes, [each for each in episodes if each.results and each.results[0].regions]

    own, zoomed = played(lambda agent, episodes: agent.act(episodes))
    made, looked = played(without(policy, CAN_SEE))
    right = [each for each in looked if each.results[0].regions[0].image == each.sample.regions[0].image]
    good = [each for each in right if shows(each)]
    return {
        "zooms": share(zoomed, own),
        "accuracy": accuracy(own),
        "made to zoom: valid calls": share(looked, made),
        "made to zoom: into the right image": share(right, looked),
        "made to zoom: shows the pattern": share(good, looked),
        "made to zoom: accuracy": accuracy(made),
        "made to zoom: accuracy where the pattern is shown": accuracy(good),
        "made to answer: accuracy": accuracy(played(without(policy, TOO_SMALL))[0]),
        "good zoom given: accuracy": accuracy(played(good_zoom(task))[0]),
    }


if __name__ == "__main__":
    model = Path(sys.argv[1]) if len(sys.argv) > 1 else BASE
    torch.set_num_threads(1)
    policy = VisionPolicy.load(model)
    task = tiny_task(policy.model.config.model_type, *sys.argv[2:])
    print(json.dumps(measured(policy, task), indent=1))
