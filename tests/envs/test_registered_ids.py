"""What Gymnasium makes of our ids: the version that a bare name means, and specs that become JSON and back."""

import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from deepeyes_env import ViewBudget
from deepeyes_env.data import load
from deepeyes_env.data.visual_search import VisualSearch, pattern_search
from deepeyes_env.envs.wrappers import FixedSizeObservation, FlatAction, StructuredAction
from deepeyes_env.errors import UnknownNameError

SETTINGS = {
    "nothing": {},
    "a view": {"view": ViewBudget(56 * 56, 256 * 28 * 28)},
    "a data set": {"dataset": VisualSearch(seed=3, size=(672, 448), shapes=("circle", "square"), objects=(2, 3))},
    "another one": {"dataset": pattern_search(length=5), "frame": "norm1000", "max_turns": 2},
}


def test_a_name_without_a_version_is_the_default_variant():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = gym.make("VisualToolbox")
    assert env.spec.id == env.unwrapped.toolbox.name == "VisualToolbox-v2"
    assert ["`VisualToolbox-v2` instead of" in str(warning.message) for warning in caught] == [True]


def test_every_variant_keeps_its_own_version():
    for version in range(1, 6):
        env = gym.make(f"VisualToolbox-v{version}")
        assert (env.spec.id, env.spec.version) == (f"VisualToolbox-v{version}", version)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_spec_becomes_json_and_an_environment_again(settings, wrapped):
    env = gym.make("VisualToolbox-v3", **settings)
    if wrapped:
        env = FixedSizeObservation(FlatAction(StructuredAction(env)), 48)
    other = EnvSpec.from_json(env.spec.to_json()).make()
    assert other.unwrapped.view == env.unwrapped.view
    assert other.unwrapped.dataset == env.unwrapped.dataset
    ours, theirs = (np.asarray(e.reset(seed=4)[1]["trajectory"].prompt.images[0].pixels()) for e in (env, other))
    assert (ours == theirs).all()
    assert other.spec.to_json() == env.spec.to_json()


def test_a_folder_of_photographs_survives_json(tmp_path):
    from PIL import Image

    Image.new("RGB", (900, 900), "teal").save(tmp_path / "photo.png")
    env = gym.make("VisualToolbox-v2", dataset=VisualSearch(backgrounds=tmp_path))
    other = EnvSpec.from_json(json.dumps(json.loads(env.spec.to_json()))).make()
    assert other.unwrapped.dataset == env.unwrapped.dataset


def test_settings_that_are_none_are_refused():
    with pytest.raises(UnknownNameError, match="setting of VisualSearch 'sizes'; did you mean 'size'"):
        load({"sizes": [224, 224]})


@pytest.mark.parametrize("index", [1.7, "3", True, np.float64(1), None.__class__])
def test_reset_takes_no_index_that_is_no_integer(index):
    env = gym.make("VisualToolbox-v2")
    with pytest.raises(TypeError, match="is not an integer"):
        env.reset(options={"index": index})


def test_reset_takes_an_index_or_a_sample():
    env = gym.make("VisualToolbox-v2")
    sample = env.unwrapped.dataset[3]
    with pytest.raises(ValueError, match="give one of them"):
        env.reset(options={"index": 1, "sample": sample})
    assert env.reset(options={"index": None, "sample": sample})[1]["sample_id"] == sample.id
    assert env.reset(options={"index": np.int64(2)})[1]["sample_id"] == env.unwrapped.dataset[2].id
    envs = gym.make_vec("VisualToolbox-v2", 2)
    with pytest.raises(ValueError, match="give one of them"):
        envs.reset(options={"index": [None, 1], "sample": [None, sample]})
    envs.close()
