import json
import pickle
from collections import Counter, defaultdict

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deepeyes_env import Sample
from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.data.benchmarks.transforms import Turned, turned_box
from deepeyes_env.errors import DataError
from deepeyes_env.images import ImageRef
from deepeyes_env.images.frames import iou
from deepeyes_env.images.ref import Renderable
from deepeyes_env.judges import RuleJudge

sizes = st.tuples(st.integers(1, 30), st.integers(1, 30))


@st.composite
def boxed_images(draw):
    width, height = draw(sizes)
    x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    box = (x1, y1, draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height)))
    return (width, height), box


def sample(number, pixels=None, **rest):
    pixels = np.full((40, 60, 3), number, np.uint8) if pixels is None else pixels
    rest = {"question": f"Question {number}?", "answer": "red", "options": ("red", "green", "blue")} | rest
    return Sample(id=f"s{number}", images=pixels, **rest)


@given(boxed_images(), st.integers(1, 3))
def test_a_box_turns_with_the_image(case, quarters):
    (width, height), box = case
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    recipe = Turned(ImageRef(pixels), quarters)
    turned = recipe.render()
    assert (turned.shape[1], turned.shape[0]) == recipe.size
    ys, xs = np.nonzero(turned[:, :, 0])
    assert turned_box(box, quarters, (width, height)) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert (turned == 255).sum() == (pixels == 255).sum()


@given(boxed_images(), st.integers(1, 3))
def test_turning_on_to_a_full_turn_gives_the_box_back(case, quarters):
    size, box = case
    turned = turned_box(box, quarters, size)
    size_then = size[::-1] if quarters % 2 else size
    assert turned_box(turned, 4 - quarters, size_then) == box
    assert iou(turned_box(box, 4, size), box) == 1


def test_a_turned_image_is_a_recipe_that_pickles_and_is_named_by_its_content(make_jpeg):
    one, same = (Turned(ImageRef(make_jpeg()), 1) for _ in range(2))
    assert isinstance(one, Renderable)
    assert ImageRef(one) == ImageRef(same) == pickle.loads(pickle.dumps(ImageRef(one)))
    assert len({Turned(one.image, quarters).key for quarters in (1, 2, 3)}) == 3
    assert one.size == (40, 60)
    clockwise = np.rot90(one.image.pixels(), -1)
    assert (one.render() == clockwise).all()


def test_rotated():
    data = [sample(i, boxes=((10, 5, 30, 25),), metadata={"category": "c"}) for i in range(60)]
    bench, rotated = open_benchmark("vstar", data, rotated=True)
    assert bench.tools == ("image_rotate_tool",)
    assert len(rotated) == 60
    angles = Counter(sample.metadata["angle"] for sample in rotated)
    assert set(angles) == {90, 180, 270}
    assert min(angles.values()) > 8
    for before, after in zip(data, rotated, strict=True):
        quarters = after.metadata["angle"] // 90
        assert after.boxes == (turned_box(before.boxes[0], quarters, (60, 40)),)
        assert after.images[0].size == ((40, 60) if quarters % 2 else (60, 40))
        assert (after.id, after.options, after.metadata["category"]) == (before.id, before.options, "c")


def test_angles_depend_on_the_seed_and_the_id_alone():
    data = [sample(i) for i in range(30)]

    def angles(samples, seed):
        return [s.metadata["angle"] for s in open_benchmark("vstar", samples, rotated=True, seed=seed)[1]]

    assert angles(data, 0) == angles(data, 0) == angles(data[::-1], 0)[::-1]
    assert angles(data, 0) != angles(data, 1)


def test_a_turned_image_can_be_played_and_turned_back():
    pixels = np.random.default_rng(0).integers(0, 255, (56, 84, 3)).astype(np.uint8)
    _, data = open_benchmark("vstar", [sample(1, pixels)], rotated=True)
    env = gym.make("VisualToolbox-v2", dataset=data, view=None, rubric=None)
    observation, _ = env.reset(seed=0)
    assert not np.array_equal(observation["images"][0], pixels)
    angle = 360 - data[0].metadata["angle"]
    call = f'<tool_call>{{"name": "image_rotate_tool", "arguments": {{"angle": {angle}}}}}</tool_call>'
    observation, *_ = env.step(call)
    assert np.array_equal(observation["images"][0], pixels)


def test_circular():
    data = [sample(0), sample(1, options=("red", "green")), sample(2, options=())]
    bench, circular = open_benchmark("hrbench_4k", data, circular=True)
    assert bench.grouped
    assert len(circular) == 6
    assert [s.id for s in circular] == ["s0#0", "s0#1", "s0#2", "s1#0", "s1#1", "s2#0"]
    assert list(circular) == [circular[i] for i in range(6)]
    assert circular[1].options == ("green", "blue", "red")
    groups = defaultdict(set)
    for s in circular:
        groups[s.metadata["group"]].add(s.options.index(s.answer) if s.options else 0)
    assert groups == {"s0": {0, 1, 2}, "s1": {0, 1}, "s2": {0}}


def test_circular_asks_what_has_options_and_leaves_bad_rows_to_be_listed(tmp_path):
    rows = [{"question": "q", "answer": "a", "images": "x.png"} for _ in range(3)]
    rows[1] |= {"options": ["a", "b"]}
    rows[2] |= {"options": ["b", "c"]}
    Image.new("RGB", (40, 40)).save(tmp_path / "x.png")
    (tmp_path / "mixed.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    bench, circular = open_benchmark("jsonl", tmp_path / "mixed.jsonl", circular=True)
    assert bench.grouped
    assert [circular[i].metadata["cycle"] for i in range(3)] == [0, 0, 1]
    assert len(circular) == 4
    with pytest.raises(DataError, match="not one of the options"):
        circular[3]
    (tmp_path / "worse.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[::-1]))
    bench, circular = open_benchmark("jsonl", tmp_path / "worse.jsonl", circular=True)
    assert bench.metric == "choice"
    assert len(circular) == 4


@pytest.mark.parametrize("seed", range(3))
def test_the_environment_keeps_the_order_of_cycled_options(seed):
    _, circular = open_benchmark("hrbench_4k", [sample(0)], circular=True)
    env = gym.make("VisualToolbox-v2", dataset=circular)
    for index, letter in enumerate("ACB"):
        observation, info = env.reset(seed=seed, options={"index": index})
        assert info["trajectory"].sample.options == circular[index].options
        assert f"({letter}) red" in observation["text"]


def test_rows_that_are_cycled_already_are_grouped_as_they_are(put_tsv):
    texts = ["red", "green", "blue", "white"]
    rows = [
        {"question": f"Colour of {thing}?", "answer": "ABCD"[shift], "category": "single", "cycle_category": shift,
         **dict(zip("ABCD", texts[-shift:] + texts[:-shift], strict=True))}
        for thing in ("cup", "hat")
        for shift in range(4)
    ]  # fmt: skip
    rows[1]["image"] = rows[2]["image"] = rows[3]["image"] = 0
    rows[5]["image"] = rows[6]["image"] = rows[7]["image"] = 4
    bench, data = open_benchmark("HR-Bench 4K", put_tsv("hr_bench_4k.tsv", *rows), circular=True)
    samples = list(data)
    assert len(data) == len(samples) == 8
    assert bench.grouped
    assert len({s.metadata["group"] for s in samples[:4]}) == 1
    assert len({s.metadata["group"] for s in samples}) == 2
    assert all(s.metadata["fixed_options"] and s.answer == "red" for s in samples)
    assert [s.options.index("red") for s in samples] == [0, 1, 2, 3] * 2
    assert data[5].id == "5"
    assert RuleJudge()("C", samples[2]).score == 1


def test_circular_and_rotated_together():
    bench, data = open_benchmark("vstar", [sample(0), sample(1)], circular=True, rotated=True)
    assert bench.grouped
    assert bench.tools
    assert len(data) == 6
    assert all({"angle", "group", "cycle"} <= s.metadata.keys() for s in data)
    angles = {s.id: s.metadata["angle"] for s in open_benchmark("vstar", [sample(0), sample(1)], rotated=True)[1]}
    assert all(s.metadata["angle"] == angles[s.metadata["group"]] for s in data)  # one question, one image
