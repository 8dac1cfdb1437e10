"""What Gymnasium's own vector environments can do, ours can."""

import os
import signal

import gymnasium as gym
import pytest

from deepeyes_env.envs.vector import RayVectorEnv, Step, ThreadVectorEnv
from tests.conftest import zoom_text
from tests.envs.vector_helpers import ANSWER, FAILS_ON_BAD, VIEW, make_sample, samples, wait_until_dead

ZOOM = zoom_text([5, 5, 70, 60])
EXTRA = {"num_actors": 1, "actor_options": {"num_cpus": 0}}
SETTINGS = {"dataset": samples(), "view": VIEW}


def make_vec(num_envs=3, **kwargs):
    return gym.make_vec("VisualToolbox-v2", num_envs, vectorization_mode="vector_entry_point", **SETTINGS | kwargs)


@pytest.fixture(params=["threads", pytest.param("ray", marks=pytest.mark.ray)])
def make(request):
    """Make environments of either kind."""
    if request.param == "threads":
        return lambda num_envs=3, **kwargs: ThreadVectorEnv(num_envs, **SETTINGS | kwargs)
    request.getfixturevalue("shared_ray")
    return lambda num_envs=3, **kwargs: RayVectorEnv("VisualToolbox-v2", num_envs, **EXTRA | SETTINGS | kwargs)


@pytest.mark.parametrize("steps", [1, 2])
def test_max_episode_steps_truncates_as_max_turns_does_and_scores(steps):
    envs = make_vec(max_episode_steps=steps)
    envs.reset(seed=0)
    for step in range(1, steps + 1):
        *_, truncated, infos = envs.step([ZOOM] * 3)
        assert truncated.tolist() == [step == steps] * 3
    assert infos["stop_reason"].tolist() == ["max_turns"] * 3
    assert infos["reward_terms"].keys() >= {"acc", "format", "tool"}
    again = gym.make_vec(envs.spec)
    assert again.get_attr("limits")[0].max_turns == steps


def test_max_episode_steps_raises_no_limit():
    assert make_vec(max_turns=2, max_episode_steps=5).get_attr("limits")[0].max_turns == 2
    assert make_vec(max_episode_steps=-1).get_attr("limits")[0].max_turns == 6
    for wrong in (0, 1.5, "3"):
        with pytest.raises(ValueError, match="max_episode_steps="):
            make_vec(max_episode_steps=wrong)


def test_attributes_are_read_and_set_until_it_is_closed(make):
    envs = make(max_episode_steps=4)
    envs.reset(seed=0)
    assert [limits.max_turns for limits in envs.get_attr("limits")] == [4] * 3
    assert envs.call("get_wrapper_attr", "frame") == ("view",) * 3
    envs.set_attr("note", "same")
    assert envs.get_attr("note") == ("same",) * 3
    envs.set_attr("note", [1, 2, 3])
    assert envs.get_attr("note") == (1, 2, 3)
    with pytest.raises(ValueError, match="got 2 values of 'note' for 3 environments"):
        envs.set_attr("note", (1, 2))
    assert envs.get_attr("note") == (1, 2, 3)
    envs.close()
    with pytest.raises(gym.error.ClosedEnvironmentError, match="reset"):
        envs.reset(seed=0)


def test_attributes_stay_when_an_environment_fails_and_is_made_anew():
    envs = ThreadVectorEnv(2, dataset=[make_sample(0, id="bad")], rubric=FAILS_ON_BAD, view=VIEW)
    envs.set_attr("note", ["a", "b"])
    envs.reset(seed=0)
    *_, infos = envs.step([ANSWER, None])
    assert infos["error"][0]
    assert envs.get_attr("note") == (None, "b")
    envs.step([None, None])
    assert envs.get_attr("note") == ("a", "b")


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_attributes_stay_when_an_actor_is_replaced():
    envs = RayVectorEnv("VisualToolbox-v2", 2, **EXTRA | SETTINGS)
    envs.reset(seed=0)
    envs.set_attr("note", ["a", "b"])
    (pid,) = envs.actor_pids()
    os.kill(pid, signal.SIGKILL)
    wait_until_dead([pid])
    envs.step([ZOOM] * 2)
    assert envs.actor_pids() != (pid,)
    assert envs.get_attr("note") == ("a", "b")
    envs.close()


def test_lists_of_frames():
    envs = make_vec(2, render_mode="rgb_array_list")
    envs.reset(seed=0)
    envs.step([ZOOM, ANSWER])
    first, second = envs.render()
    assert [len(first), len(second)] == [2, 2]
    assert first[0].shape == (720, 1280, 3)
    assert envs.render() == ([], [])


@pytest.mark.parametrize(
    "use",
    [
        lambda envs: envs.reset(),
        lambda envs: envs.step([ANSWER] * 3),
        lambda envs: envs.send({0: Step(ANSWER)}),
        lambda envs: envs.recv(),
        lambda envs: envs.call("render"),
        lambda envs: envs.render(),
        lambda envs: envs.get_attr("frame"),
        lambda envs: envs.set_attr("frame", "view"),
    ],
)
def test_closed_environments_say_so(use):
    envs = make_vec()
    envs.reset(seed=0)
    envs.close()
    envs.close()
    assert envs.closed
    with pytest.raises(gym.error.ClosedEnvironmentError, match="closed"):
        use(envs)
