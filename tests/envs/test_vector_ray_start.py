"""RayVectorEnv where there is no Ray: it starts one, or says what to install."""

import os
import re
import subprocess
import sys

import pytest

from deepeyes_env.envs.vector import RayVectorEnv
from deepeyes_env.errors import MissingExtraError
from deepeyes_env.extras import install_command
from tests.envs.vector_helpers import VIEW, alive, samples, wait_until_dead


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
