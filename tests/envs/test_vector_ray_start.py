"""RayVectorEnv where there is no Ray: it starts one, or says what to install."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from deepeyes_env.envs.vector import RayVectorEnv
from deepeyes_env.errors import MissingExtraError, RayLostError
from deepeyes_env.extras import install_command
from tests.envs.vector_helpers import VIEW, alive, play, raylet_of, samples, wait_until_dead


@pytest.mark.ray
@pytest.mark.usefixtures("no_ray")
def test_it_starts_ray_with_an_actor_for_each_cpu_and_ends_both():
    envs = RayVectorEnv("VisualToolbox-v2", 4, dataset=samples(), view=VIEW, actor_options={"num_cpus": 0})
    pids = envs.actor_pids()
    assert len(pids) == min(4, os.cpu_count() or 1)
    assert all(map(alive, pids))
    envs.close()
    wait_until_dead(pids)
    assert not sys.modules["ray"].is_initialized()


@pytest.mark.ray
@pytest.mark.usefixtures("no_ray")
def test_the_end_of_ray_s_own_process_is_told_and_ends_nothing_else(caplog):
    envs = RayVectorEnv("VisualToolbox-v2", 2, dataset=samples(), view=VIEW, actor_options={"num_cpus": 0})
    observation, _ = envs.reset(seed=0)
    image = observation["images"][0][0]
    before = image.copy()
    os.kill(raylet_of(os.getpid()), signal.SIGKILL)
    with pytest.raises(RayLostError, match="raylet"):
        play(envs, 100)
    assert caplog.text.count("(raylet) has ended") == 1
    with pytest.raises(RayLostError):
        envs.reset(seed=1)
    envs.close()
    assert not sys.modules["ray"].is_initialized()
    assert np.array_equal(image, before)


def test_without_ray_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=re.escape(install_command("ray"))):
        RayVectorEnv("VisualToolbox-v2", 2, dataset=samples())


@pytest.mark.ray
def test_a_home_that_cannot_be_written_is_named():
    command = "from deepeyes_env.envs.vector import RayVectorEnv; RayVectorEnv('VisualToolbox-v2', 2)"
    environment = {**os.environ, "HOME": os.devnull + "/home"}
    ended = subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "UsageError: Ray cannot be started" in ended.stderr
    assert "set HOME to a folder that can be written" in ended.stderr
