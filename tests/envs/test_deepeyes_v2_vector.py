"""DeepEyesV2-v0 many times at once: each episode has a session of its own, in threads, and in Ray's actors."""

import os
import signal

import pytest

from deepeyes_env import Sample
from deepeyes_env.envs.vector import make_vector_env
from deepeyes_env.sandbox import get_sandbox
from tests.envs.test_deepeyes_v2 import code, squares
from tests.sandbox.conftest import local_sandbox

ROWS = [
    Sample(f"q{count}", "How many red squares are there?", str(count), (squares(count),)) for count in (3, 7, 11, 2)
]
COUNT = """\
import numpy as np
from scipy import ndimage
found = ndimage.label(np.asarray(image_1)[..., 0] > 200)[1]"""
PRINT = "print(image_1.size, found)"


def begun(envs):
    """Reset, let each count in its first program, and return the right answers."""
    observations, infos = envs.reset(seed=3)
    assert len(observations["images"]) == 4
    *_, infos = envs.step([code(COUNT)] * 4)
    assert [calls[0].status for calls in infos["calls"]] == ["ok"] * 4
    return [trajectory.sample.answer for trajectory in envs.call("trajectory")]


def finish(envs, answers):
    """Each prints what it counted itself, in the second program, and answers it."""
    observations, *_ = envs.step([code(PRINT)] * 4)
    printed = [text.split("```")[1].split()[-1] for text in observations["text"]]
    assert printed == answers
    assert len(set(printed)) > 1
    _, rewards, terminated, *_ = envs.step([f"<think>So.</think>\n<answer>{each}</answer>" for each in printed])
    assert all(terminated)
    assert set(rewards) == {1.0}


def test_in_threads_each_has_its_own_session():
    sandbox = local_sandbox(get_sandbox())
    envs = make_vector_env("threads", "DeepEyesV2-v0", 4, dataset=ROWS)
    answers = begun(envs)
    assert len(sandbox.pids()) == 4
    finish(envs, answers)
    envs.close()
    assert sandbox.pids() == set()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_in_rays_actors_also_when_one_dies():
    sandbox = local_sandbox(get_sandbox())
    envs = make_vector_env("ray", "DeepEyesV2-v0", 4, workers=1, dataset=ROWS)
    answers = begun(envs)
    assert sandbox.pids() == set(), "sessions open where the environments are"
    os.kill(envs.actor_pids()[0], signal.SIGKILL)
    finish(envs, answers)  # the new actor has run the first programs again
    envs.close()
