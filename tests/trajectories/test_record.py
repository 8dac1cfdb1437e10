"""What is written is what is read."""

import hashlib
import io
import json
import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from deepeyes_env.core import Message, PolicyTokens, RewardTerm, Sample, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.errors import DataError, ImageError
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trajectories import TrajectoryWriter, read_trajectories


def tiny_png(shade: int) -> bytes:
    file = io.BytesIO()
    PILImage.new("RGB", (3, 2), (shade, 0, 0)).save(file, "png")
    return file.getvalue()


IMAGES = [ImageRef(np.full((2, 3, 3), 7, np.uint8)), ImageRef(tiny_png(1)), ImageRef(tiny_png(2))]

# Every code point, lone surrogates and null bytes too. A high surrogate directly before a low one is the one thing
# that JSON cannot tell from the character that the two mean.
any_char = st.characters(codec=None, exclude_categories=[])
texts = st.text(any_char, max_size=12).map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
)
numbers = st.floats(allow_nan=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
mappings = st.dictionaries(texts, json_values, max_size=3)
images = st.lists(st.sampled_from(IMAGES), max_size=2).map(tuple)
boxes = st.tuples(numbers, numbers, numbers, numbers)
ordered = st.tuples(*[st.floats(0, 99)] * 2, *[st.floats(100, 1e5)] * 2)
statuses = st.sampled_from(["ok", "malformed", "unknown_tool", "bad_arguments", "failed", "skipped"])
messages = st.builds(Message, texts, images)
results = st.builds(
    ToolResult,
    st.builds(ToolCall, texts, mappings, texts),
    status=statuses,
    error=texts,
    text=texts,
    images=images,
    box=st.none() | boxes,
    seconds=numbers,
)
tokens = st.integers(0, 4).flatmap(
    lambda n: st.builds(
        PolicyTokens,
        st.tuples(*[st.integers(0, 1 << 17)] * n),
        st.tuples(*[numbers] * n),
        st.tuples(*[st.integers(0, 1)] * n),
    )
)
turns = st.builds(
    Turn,
    action=texts,
    answer=st.none() | texts,
    results=st.lists(results, max_size=2).map(tuple),
    skipped=st.integers(0, 9),
    observation=st.none() | messages,
    tokens=st.none() | tokens,
)
samples = st.lists(texts, unique=True, min_size=1, max_size=3).flatmap(
    lambda options: st.builds(
        Sample,
        id=texts,
        question=texts,
        answer=st.sampled_from(options),
        images=st.lists(st.sampled_from(IMAGES), min_size=1, max_size=2),
        options=st.sampled_from([(), tuple(options)]),
        boxes=st.lists(ordered, max_size=2),
        env_name=st.none() | texts,
        data_source=texts,
        metadata=mappings,
    )
)
trajectories = st.builds(
    Trajectory,
    sample=samples,
    prompt=messages,
    system_prompt=texts,
    toolbox=texts,
    frame=st.sampled_from(["native", "view", "norm1000", "unit"]),
    native_size=st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
    turns=st.lists(turns, max_size=2).map(tuple),
    reward=numbers,
    reward_terms=st.dictionaries(texts, st.builds(RewardTerm, numbers, numbers), max_size=2),
    terminated=st.booleans(),
    truncated=st.booleans(),
    stop_reason=st.sampled_from(
        ["", "answer", "format_error", "max_turns", "image_budget", "token_budget", "tool_timeout", "error"]
    ),
    metadata=mappings,
)


def simple(**changes: object) -> Trajectory:
    sample = Sample("s", "What?", "red", (IMAGES[1],))
    return Trajectory(**{"sample": sample, "prompt": Message("<image>What?", (IMAGES[0],)), **changes})  # type: ignore[arg-type]


def write(folder: Path, *episodes: Trajectory) -> Path:
    with TrajectoryWriter(folder) as writer:
        for episode in episodes:
            writer.write(episode)
    return folder / "trajectories.jsonl"


@pytest.mark.integration
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(trajectory=trajectories)
def test_round_trip(tmp_path: Path, trajectory: Trajectory) -> None:
    file = write(tmp_path, trajectory)
    assert file.read_bytes().isascii()
    assert list(read_trajectories(tmp_path)) == [trajectory]
    file.unlink()


def test_not_a_number_survives(tmp_path: Path) -> None:
    call = ToolCall("zoom", {"bbox_2d": [float("nan"), float("inf"), -float("inf"), 0]})
    turn = Turn("x", results=(ToolResult(call),), tokens=PolicyTokens((1,), (-float("inf"),), (1,)))
    write(tmp_path, simple(turns=(turn,), reward=float("nan")))
    (read,) = read_trajectories(tmp_path)
    assert repr(read.results[0].call.arguments) == "{'bbox_2d': [nan, inf, -inf, 0]}"
    assert np.isnan(read.reward)
    assert read.turns[0].tokens == turn.tokens


def test_numpy_numbers_and_arrays_are_numbers_and_lists(tmp_path: Path) -> None:
    term = RewardTerm(np.float32(0.5), np.float64(2))  # type: ignore[arg-type]
    episode = simple(reward_terms={"acc": term}, metadata={"seed": np.int64(3), "box": np.arange(2)})
    write(tmp_path, episode)
    (read,) = read_trajectories(tmp_path)
    assert read.reward_terms["acc"].weighted == 1.0
    assert read.metadata == {"seed": 3, "box": [0, 1]}


def test_arguments_no_reader_could_parse_are_left_out(tmp_path: Path) -> None:
    nested: dict[str, object] = {}
    for _ in range(900):
        nested = {"a": nested}
    calls = (
        ToolResult(ToolCall("a", nested)),
        ToolResult(ToolCall("b", {"n": 10**5000})),
        ToolResult(ToolCall("c", {})),
    )
    write(tmp_path, simple(turns=(Turn("as written", results=calls),)))
    (read,) = read_trajectories(tmp_path)
    assert [set(result.call.arguments) for result in read.results] == [{"unwritable"}, {"unwritable"}, set()]
    assert read.turns[0].action == "as written"


def test_metadata_that_json_cannot_hold_names_the_sample(tmp_path: Path) -> None:
    with TrajectoryWriter(tmp_path) as writer:
        with pytest.raises(TypeError, match="sample 's'.*set"):
            writer.write(simple(metadata={"tags": {1}}))
        writer.write(simple())
    assert len(list(read_trajectories(tmp_path))) == 1


class Recipe:
    """Draws an image and counts how often."""

    key, size = "recipe-1", (5, 4)

    def __init__(self) -> None:
        self.drawn = 0

    def render(self) -> np.ndarray:
        self.drawn += 1
        return np.full((4, 5, 3), 99, np.uint8)


def test_images_are_stored_once_as_they_are(tmp_path: Path) -> None:
    jpeg = io.BytesIO()
    PILImage.new("RGB", (8, 8), (9, 9, 9)).save(jpeg, "jpeg")
    photo = tmp_path / "photo.with.a.lying.name.png"
    photo.write_bytes(jpeg.getvalue())
    recipe = Recipe()
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    group = [
        simple(sample=Sample("s", "?", "a", (photo, tiny_png(5), recipe)), prompt=Message("", (ImageRef.of(pixels),)))
        for _ in range(3)
    ]
    run = tmp_path / "run"
    write(run, *group)
    write(run, *group)  # continued later
    files = sorted(path for path in (run / "images").rglob("*") if path.is_file())
    assert [file.suffix for file in sorted(files, key=lambda file: file.suffix)] == [".jpg", ".png", ".png", ".png"]
    assert all(file.parent.name == file.name[:2] for file in files)
    assert recipe.drawn == 1
    read = list(read_trajectories(run))
    assert read == group + group
    stored_photo, stored_png, stored_recipe = read[0].sample.images
    assert stored_photo.encoded() == jpeg.getvalue()
    assert stored_png.encoded() == tiny_png(5)
    assert (stored_recipe.pixels() == 99).all()
    assert (read[0].prompt.images[0].pixels() == pixels).all()


def test_images_are_hashed_once_for_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    original = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda *data: (hashed.append(1), original(*data))[1])
    sample = Sample("s", "?", "a", (np.zeros((4, 4, 3), np.uint8),))
    prompt = Message("<image>", sample.images)
    write(tmp_path, *[simple(sample=sample, prompt=prompt) for _ in range(16)])
    assert len(hashed) == 1
    list(read_trajectories(tmp_path))
    assert len(hashed) == 1


def test_images_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path, simple())
    for file in (tmp_path / "images").rglob("*.png"):
        file.unlink()
    (read,) = read_trajectories(tmp_path)
    with pytest.raises(ImageError, match=r"images/.*\.png"):
        read.sample.images[0].encoded()


def test_threads_share_a_writer(tmp_path: Path) -> None:
    def play(writer: TrajectoryWriter, worker: int) -> None:
        for i in range(20):
            shared = ImageRef(np.full((9, 9, 3), i, np.uint8))
            writer.write(simple(prompt=Message("", (shared,)), metadata={"worker": worker, "i": i}))

    with TrajectoryWriter(tmp_path) as writer:
        threads = [threading.Thread(target=play, args=(writer, worker)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    read = list(read_trajectories(tmp_path))
    assert sorted((t.metadata["worker"], t.metadata["i"]) for t in read) == [
        (w, i) for w in range(4) for i in range(20)
    ]
    assert all((t.prompt.images[0].pixels() == t.metadata["i"]).all() for t in read)


def test_an_image_that_cannot_be_stored_is_tried_again(tmp_path: Path) -> None:
    source = tmp_path / "late.png"
    episode = simple(sample=Sample("s", "?", "a", (source,)))
    with TrajectoryWriter(tmp_path / "run") as writer:
        with pytest.raises(ImageError, match="sample 's'"):
            writer.write(episode)
        source.write_bytes(tiny_png(3))
        writer.write(episode)
    assert len(list(read_trajectories(tmp_path / "run"))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("sample"), "sample is missing"),
        (lambda r: r.update(version=2), "version is 2"),
        (lambda r: r.pop("version"), "has no version, so it is no trajectory"),
        (lambda r: r.update(turns=[{"action": 5}]), r"turns\[0\].action is 5; expected str"),
        (lambda r: r.update(turns=[{}]), r"turns\[0\].action is missing"),
        (lambda r: r.update(frame="inches"), "frame is 'inches'; expected one of"),
        (lambda r: r.update(native_size=[1, 2, 3]), "native_size .* expected a list of 2"),
        (lambda r: r.update(terminated=1), "terminated is 1; expected bool"),
        (lambda r: r["sample"].update(boxes=[[5, 5, 1, 1]]), "sample: .* needs x1 < x2"),
        (lambda r: r["sample"].update(images=["../../secret.png"]), r"sample.images\[0\]: image '../../secret.png'"),
        (lambda r: r.update(reward_terms={"acc": 1}), "reward_terms.acc is 1; expected dict"),
    ],
)
def test_what_is_wrong_with_a_line(tmp_path: Path, change: object, message: str) -> None:
    file = write(tmp_path, simple(), simple())
    first, second = file.read_text().splitlines()
    record = json.loads(second)
    change(record)  # type: ignore[operator]
    file.write_text(f"{first}\n{json.dumps(record)}\n")
    reading = read_trajectories(tmp_path)
    assert next(reading) == simple()
    with pytest.raises(DataError, match=rf"trajectories\.jsonl, line 2: {message}"):
        next(reading)


@pytest.mark.parametrize("garbage", ["\n", "null\n", "[1]\n", "{\n", "[" * 5000 + "\n"])
def test_garbage_that_is_not_torn(tmp_path: Path, garbage: str) -> None:
    file = write(tmp_path, simple())
    file.write_text(garbage + file.read_text())
    with pytest.raises(DataError, match="line 1"):
        list(read_trajectories(file))


def test_absent_fields_take_defaults_and_unknown_ones_are_ignored(tmp_path: Path) -> None:
    file = write(tmp_path, simple())
    record = json.loads(file.read_text())
    del record["turns"], record["sample"]["metadata"]
    record["colour"] = "green"
    file.write_text(json.dumps(record) + "\n")
    assert list(read_trajectories(tmp_path)) == [simple()]


def test_no_run_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file; give a run folder"):
        read_trajectories(tmp_path / "typo")
    for name in ("after", "before"):
        with TrajectoryWriter(tmp_path / name) as writer:
            writer.write(simple())
    with pytest.raises(DataError, match=r"there are runs in .*after, .*before"):
        read_trajectories(tmp_path)


@pytest.mark.integration
def test_torn_at_every_byte(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path, simple(), simple(reward=1.0))
    whole = file.read_bytes()
    start = whole.index(b"\n") + 1
    for end in range(start, len(whole) + 1):
        file.write_bytes(whole[:end])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            read = list(read_trajectories(tmp_path))
        complete = end >= len(whole) - 1  # all but the line feed is there
        assert [t.reward for t in read] == ([0.0, 1.0] if complete else [0.0])
        assert ("line 2: torn" in caplog.text) == (start < end and not complete)

        write(tmp_path, simple(reward=2.0))
        assert [t.reward for t in read_trajectories(tmp_path)] == ([0.0, 1.0, 2.0] if complete else [0.0, 2.0])


def test_a_torn_first_line_and_a_line_longer_than_a_block(tmp_path: Path) -> None:
    file = write(tmp_path, simple(system_prompt="x" * 200_000))
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    write(tmp_path, simple())
    assert list(read_trajectories(tmp_path)) == [simple()]
    file.write_bytes(whole + whole[:150_000])
    write(tmp_path, simple())
    assert [len(t.system_prompt) for t in read_trajectories(tmp_path)] == [200_000, 0]


def test_images_of_a_strangers_run_are_those_in_its_folder(tmp_path, make_episode):
    with TrajectoryWriter(tmp_path / "run") as writer:
        writer.write(make_episode())
    image = next((tmp_path / "run" / "images").rglob("*.png"))
    image.rename(tmp_path / "private.png")
    image.symlink_to(tmp_path / "private.png")
    with pytest.raises(DataError, match=r"line 1: .*lies outside of .*run, the folder"):
        list(read_trajectories(tmp_path / "run"))


def test_a_file_replaced_before_it_is_recorded_is_not_stored_under_the_old_digest(tmp_path):
    file = tmp_path / "scene.png"
    file.write_bytes(tiny_png(1))
    scene = ImageRef(file)
    assert scene.digest
    file.write_bytes(tiny_png(2))
    changed = simple(sample=Sample("a", "What colour?", "red", (scene,)))
    with TrajectoryWriter(tmp_path / "run") as writer:
        with pytest.raises(ImageError, match=r"scene.png: the file has changed since it was read"):
            writer.write(changed)
        writer.write(simple())
    assert len(list(read_trajectories(tmp_path / "run"))) == 1
