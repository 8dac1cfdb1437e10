"""pytest plugin for Gymnasium's own tests: they get this package's spaces and environments, and run with those only.

It is loaded beside a copy of Gymnasium's tests, whose package is called ``tests`` as well.
"""

import copy

import gymnasium as gym
import pytest

import deepeyes_env  # noqa: F401  registers the environments
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.envs.wrappers import (
    DiscreteAction,
    FixedSizeObservation,
    FlatAction,
    PlainInfo,
    QuestionNumbers,
    StructuredAction,
)
from deepeyes_env.spaces import RGBImage, UnicodeText

IDS = [
    *(f"VisualToolbox-v{n}" for n in range(1, 6)),
    *(f"VisualToolbox{name}-v0" for name in ("Native", "Qwen3VL", "MiniO3", "Named")),
]


def _numbers(env):
    return FixedSizeObservation(FlatAction(StructuredAction(env)), 32)


def _choices(env):
    return DiscreteAction(StructuredAction(QuestionNumbers(FixedSizeObservation(PlainInfo(env), 32))))


STACKS = {"bare": lambda env: env, "numbers": _numbers, "choices": _choices}


def _environments():
    for id in IDS:
        for name, wrap in STACKS.items():
            env = wrap(gym.make(id, dataset=VisualSearch(length=4)))
            env.reset(seed=0)
            yield f"{id}-{name}", env


ENVS = dict(_environments())
SPACES = {
    "text": UnicodeText(),
    "short text": UnicodeText(9, min_length=3),
    "image": RGBImage(max_side=64),
    "observation": ENVS["VisualToolbox-v2-bare"].observation_space,
    "discrete": ENVS["VisualToolbox-v2-choices"].action_space,
    "image and question": ENVS["VisualToolbox-v2-choices"].observation_space,
    "structured": StructuredAction(gym.make("VisualToolbox-v2")).action_space,
}


FLAT_DIMENSIONS = (None, None, None, None, 9 + 4, 32 * 32 * 3 + 32 * 512, 1 + 4)
"""What Gymnasium's ``flatdim`` says of them; ``None`` where it raises."""

MADE_WITH = ({"max_length": 5}, {})
"""Arguments with which the two new classes among them can be made."""


def pytest_configure():
    """Put ours beside Gymnasium's own, before the modules that read the lists are imported."""
    level, gym.logger.min_level = (
        gym.logger.min_level,
        gym.logger.ERROR,
    )  # or it says of each environment of its own what is not installed
    from tests.spaces import utils as spaces

    from tests.envs import utils as envs

    gym.logger.min_level = level

    spaces.TESTING_SPACES.extend(SPACES.values())
    spaces.TESTING_SPACES_IDS.extend(SPACES)
    envs.all_testing_initialised_envs[:] = ENVS.values()
    envs.all_testing_env_specs[:] = [_named(name, env) for name, env in ENVS.items()]


def _named(name, env):
    spec = copy.deepcopy(env.spec)
    spec.ours = name
    return spec


def pytest_collection_modifyitems(config, items):
    """Leave out what has nothing of ours in it."""
    ours = [item for item in items if any(map(_is_ours, getattr(item, "callspec", _Nothing).params.values()))]
    config.hook.pytest_deselected(items=[item for item in items if item not in ours])
    items[:] = ours


class _Nothing:
    params = {}  # noqa: RUF012


def _is_ours(value):
    spaces = (value, getattr(value, "observation_space", None), getattr(value, "action_space", None))
    if any(space is mine for space in spaces for mine in SPACES.values()):
        return True
    return (
        any(value is kind for kind in (UnicodeText, RGBImage))
        or hasattr(value, "ours")
        or any(value is env for env in ENVS.values())
    )


@pytest.fixture(autouse=True)
def _seeded():
    """Gymnasium's own spaces are seeded by whoever samples first."""
    for space in SPACES.values():
        space.seed(0)
