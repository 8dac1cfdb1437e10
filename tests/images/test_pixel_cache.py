import gc

import gymnasium as gym
import numpy as np
import pytest

from deepeyes_env import ImageStore
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.envs.vector import ThreadVectorEnv
from deepeyes_env.images import ImageRef, ViewBudget, codec

NBYTES = 30 * 40 * 3
BUDGET = ViewBudget(min_pixels=28 * 28, max_pixels=28 * 28)


class Recipe:
    size = (40, 30)

    def __init__(self, number):
        self.key = f"recipe {number}"
        self.number = number

    def render(self):
        return np.full((30, 40, 3), self.number, np.uint8)


class Player:
    """Somebody who plays."""


def refs(count, start=0):
    return [ImageRef(Recipe(number)) for number in range(start, start + count)]


def test_of_recipes_nobody_plays_with_the_last_ones_are_kept():
    store = ImageStore(max_idle_recipe_bytes=3 * NBYTES)
    asked = refs(10)
    first = store.pixels(asked[0])
    for ref in asked[1:]:
        store.pixels(asked[0])  # so that it is never the oldest
        store.pixels(ref)
    assert (len(store), store.nbytes, store.decodes) == (3, 3 * NBYTES, 10)
    assert store.pixels(asked[0]) is first
    store.pixels(asked[-1])
    assert store.decodes == 10
    store.pixels(asked[1])
    assert store.decodes == 11


@pytest.mark.integration
def test_recipes_in_play_are_kept_and_dropped_when_the_play_is_over():
    store, player, other = ImageStore(max_idle_recipe_bytes=NBYTES), Player(), Player()
    mine = refs(5)
    store.play(player, mine[:4])
    store.play(other, mine[3:])
    for ref in mine + refs(20, start=5):
        store.pixels(ref)
    assert len(store) == 5 + 1
    for ref in mine:
        store.pixels(ref)
    assert store.decodes == 25
    store.play(player, ())
    store.pixels(*refs(1, start=30))
    assert len(store) == 2 + 1
    del other
    gc.collect()
    store.pixels(*refs(1, start=31))
    assert len(store) == 1


def test_views_of_recipes_count_and_encoded_images_do_not():
    store = ImageStore(max_idle_recipe_bytes=0)
    encoded = ImageRef(codec.encode(np.zeros((30, 40, 3), np.uint8)))
    kept = store.view(encoded, BUDGET), store.pixels(encoded)
    for ref in refs(5):
        assert store.view(ref, BUDGET).shape == (28, 28, 3)
    assert len(store) == 2
    assert store.view(encoded, BUDGET) is kept[0]
    assert store.pixels(encoded) is kept[1]


def test_what_is_in_play_does_not_exceed_the_whole_budget():
    store, player = ImageStore(max_bytes=2 * NBYTES, max_idle_recipe_bytes=0), Player()
    mine = refs(5)
    store.play(player, mine)
    for ref in mine:
        store.pixels(ref)
    assert store.nbytes == 2 * NBYTES


@pytest.mark.parametrize("ending", ["answer", "close"])
def test_an_environment_keeps_its_scene_as_long_as_it_plays(ending):
    store = ImageStore(max_idle_recipe_bytes=0)
    env = gym.make("VisualToolbox-v2", dataset=VisualSearch(size=(672, 672)), store=store)
    other = gym.make("VisualToolbox-v2", dataset=VisualSearch(size=(672, 672), seed=1), store=store)
    scene = env.reset(seed=0)[1]["trajectory"].sample.images[0]
    for seed in range(3):
        other.reset(seed=seed)
    pixels = store.pixels(scene)
    assert store.decodes == 4
    env.step("<answer>A</answer>") if ending == "answer" else env.close()
    other.reset(seed=3)
    assert store.pixels(scene) is not pixels


@pytest.mark.integration
def test_many_episodes_of_the_built_in_task_keep_few_scenes_and_each_scene_is_drawn_once():
    scene = 672 * 672 * 3
    store = ImageStore(max_idle_recipe_bytes=4 * scene)
    envs = ThreadVectorEnv(8, group_size=4, dataset=VisualSearch(size=(672, 672)), store=store)
    envs.reset(seed=0)
    for _ in range(19):
        envs.step(["<answer>A</answer>"] * 8)
        envs.step([None] * 8)
    envs.close()
    assert store.decodes == 2 * 20
    assert store.nbytes < (4 + 2) * 1.2 * scene  # each scene with its view
