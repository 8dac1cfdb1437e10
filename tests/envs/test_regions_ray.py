"""An actor that dies between a zoom and a zoom into its crop: the replayed episode knows the same images."""

import os
import signal

import numpy as np
import pytest

from deepeyes_env import Sample, VisualToolboxEnv
from deepeyes_env.envs.looking import image_argument, look_at, look_on
from deepeyes_env.envs.vector import RayVectorEnv
from deepeyes_env.images.regions import Region
from deepeyes_env.shown import shown_images
from tests.conftest import pattern


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_regions_survive_the_death_of_an_actor():
    sample = Sample("two", "Which?", "A", [pattern(640, 480), pattern(480, 640)], boxes=[(0, 0, 9, 9)], box_images=[1])
    settings = {"view": None, "frame": "unit"}
    alone = VisualToolboxEnv("VisualToolboxMiniO3-v0", [sample], **settings)
    actors = {"num_actors": 1, "actor_options": {"num_cpus": 0}}
    envs = RayVectorEnv("VisualToolboxMiniO3-v0", 2, dataset=[sample], **actors, **settings)
    alone.reset(seed=0)
    envs.reset(seed=0)
    steps = [
        lambda episode: look_at(episode, Region(1, (100, 200, 420, 600))),
        lambda episode: look_on(episode, shown_images(episode)[2], (80, 40, 240, 200)),
        lambda episode: look_on(episode, shown_images(episode)[3], (0, 0, 80, 60)),
    ]
    for step, call in enumerate(steps):
        if step:
            os.kill(envs.actor_pids()[0], signal.SIGKILL)
        message = alone.toolbox.protocol.format_message("Look.", call(alone.trajectory))
        expected, *_, info = alone.step(message)
        observation, *_, infos = envs.step([message] * 2)
        for i in range(2):
            assert infos["calls"][i] == info["calls"]
            assert np.array_equal(observation["images"][i][0], expected["images"][0])
    assert [look.image for look in envs.call("trajectory")[0].looks] == [1, 1, 1]
    assert image_argument(alone.trajectory, 3) == {"source": "observation_2"}
    envs.close()
