"""Gymnasium's own check of every registered environment, bare and wrapped, with every warning an error."""

import warnings

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env, check_step_determinism

from deepeyes_env.envs.wrappers import FixedSizeObservation, FlatAction, StructuredAction

VARIANTS = [
    *(f"VisualToolbox-v{n}" for n in range(1, 6)),
    *(f"VisualToolbox{name}-v0" for name in ("Native", "Qwen3VL", "MiniO3", "Named")),
]
WRAPPED = {
    "structured": StructuredAction,
    "flat": lambda env: FlatAction(StructuredAction(env)),
    "image": lambda env: FixedSizeObservation(env, (48, 64)),
    "flat and image": lambda env: FixedSizeObservation(FlatAction(StructuredAction(env)), 48),
}


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Gymnasium takes v1 to v4 for outdated versions of v5, and a wrapped environment for a mistake.
        warnings.filterwarnings("ignore", message=".*is out of date")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        yield


@pytest.mark.parametrize("render_mode", [None, "rgb_array", "ansi"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_registered_environments(variant, render_mode):
    env = gym.make(variant, render_mode=render_mode).unwrapped
    check_env(env)
    env.close()


@pytest.mark.parametrize("settings", [{"view": None}, {"max_turns": 2, "frame": "norm1000"}, {"rubric": None}])
def test_settings(settings):
    check_env(gym.make("VisualToolbox-v2", **settings).unwrapped)


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("variant", VARIANTS)
def test_wrapped_environments(variant, wrap):
    env = wrap(gym.make(variant, render_mode="rgb_array"))
    check_env(env)
    env.close()


def test_every_kind_of_action_is_deterministic():
    env = FlatAction(StructuredAction(gym.make("VisualToolbox-v2")))
    kinds = set()
    for seed in range(12):
        check_step_determinism(env, seed)
        env.action_space.seed(seed)
        kinds.add(env.action(env.action_space.sample())[0])
    assert kinds == {0, 1, 2}


def test_an_image_is_shared_until_someone_holds_it():
    env = gym.make("VisualToolbox-v2").unwrapped
    other = gym.make("VisualToolbox-v2").unwrapped
    pixels = env.reset(seed=1)[1]["trajectory"].prompt.images[0].pixels()
    address = pixels.ctypes.data
    held, _ = env.reset(seed=1)
    again, _ = env.reset(seed=1)
    elsewhere, _ = other.reset(seed=1)
    assert [o["images"][0].ctypes.data == address for o in (held, again, elsewhere)] == [True, False, True]
    assert (held["images"][0] == again["images"][0]).all()
    assert not any(o["images"][0].flags.writeable for o in (held, again, elsewhere))
    del held, again
    assert env.reset(seed=1)[0]["images"][0].ctypes.data == address


def test_changing_the_schemas_of_one_episode_leaves_the_next_alone():
    env = gym.make("VisualToolbox-v2").unwrapped
    _, info = env.reset(seed=1)
    info["tools"][0]["function"].clear()
    assert env.reset(seed=1)[1]["tools"][0]["function"]["name"] == "image_zoom_in_tool"
