from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deepeyes_env  # noqa: F401  registers the environments
from deepeyes_env import Sample
from deepeyes_env.images import ViewBudget
from deepeyes_env.images.frames import FRAMES, from_native, iou
from deepeyes_env.judges.boxes import BoxJudge, read_boxes

SIZE = (800, 600)
VIEW = (400, 300)


def sample(box=(100, 100, 300, 200), size=SIZE):
    return Sample(id="s", question="?", answer="box", images=np.zeros((size[1], size[0], 3), np.uint8), boxes=(box,))


boxes = st.tuples(st.integers(0, 700), st.integers(0, 500), st.integers(1, 100), st.integers(1, 100)).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
)


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2, 3.5, 4]",
        "(1,2,3.5,4)",
        "The box is [1, 2, 3.5, 4].",
        "<box>(1,2),(3.5,4)</box>",
        "(1, 2), (3.5, 4)",
        '{"bbox_2d": [1, 2, 3.5, 4], "label": "vase"}',
        '```json\n[{"bbox_2d": [1, 2, 3.5, 4]}]\n```',
        "[[1, 2, 3.5, 4]]",
        "<|box_start|>(1,2),(3.5,4)<|box_end|>",
        "1, 2, 3.5, 4",
        "1 2 3.5 4.",
        "[3.5, 4, 1, 2]",
        "+1e0 2 35e-1 4",
        "(1, 2) to (3.5, 4)",
        "from (1, 2) to (3.5, 4)",
        "(1, 2) -> (3.5, 4)",
        "(1, 2) and (3.5, 4)",
        "top left (1, 2), bottom right (3.5, 4)",
        "The top-left corner is (1, 2) and the bottom-right corner is (3.5, 4).",
        "[1px, 2px, 3.5px, 4px]",
        "[1 pixels, 2 pixels, 3.5 pixels, 4 pixels]",
        "Bounding box: 1, 2, 3.5, 4",
        "**Bounding box:** 1, 2, 3.5, 4",
        "The box is 1, 2, 3.5, 4.",
        "I zoomed in.\nbbox_2d = 1 2 3.5 4",
        "<bbox>1, 2, 3.5, 4</bbox>",
        "［1，2，3.5，4］",
        "【1、2、3.5、4】",
        "（1，2，3.5，4）",
        "x1=1, y1=2, x2=3.5, y2=4",
        "[x1=1, y1=2, x2=3.5, y2=4]",
        '{"xmin": 1, "ymin": 2, "xmax": 3.5, "ymax": 4}',
        "left: 1, top: 2, right: 3.5, bottom: 4",
        "left 1, top 2, right 3.5, bottom 4",
        "The coordinates are: 1, 2, 3.5 and 4.",
        "y1=2, x1=1, y2=4, x2=3.5",
        "x=1, y=2, w=2.5, h=2",
        '["1", "2", "3.5", "4"]',
        "\\boxed{[1, 2, 3.5, 4]}",
        "$\\left[1, 2, 3.5, 4\\right]$",
        "[1, 2, 3.5, 4]<|im_end|>",
        "\ufeff[1,\u200b2, 3.5, 4]",
    ],
)
def test_ways_to_write_a_box(text):
    assert read_boxes(text) == ((1.0, 2.0, 3.5, 4.0),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no box",
        "[1, 2, 3]",
        "[a, b, c, d]",
        "1 2 3 4 5",
        "[NaN, 1, 2, 3]",
        "room 1, floor 2, no 3 or 4",
        "[12, 345, 678]",
        "The sign reads (2041)",
        "call (555-123-4567-89)",
        "[2024-01-02-03]",
        "[1.2.3.4]",
        "[1e123, 2, 3]",
        "[1e123 2e123]",
        "x1=1, y1=2, x2=3",
        "x: 1-3, y: 2-4",
        "it is between 1, 2 and 3, 4",
        "the box of 1, 2, 3, 4 or 5 eggs",
        "max=1, min=2, left=3, right=4",
        "x" * 2000,
    ],
)
def test_what_is_no_box(text):
    assert read_boxes(text) == ()


def test_a_long_answer_holds_no_box():
    assert read_boxes("[1, 2, 3, 4]" + " " * 1000) == ()


@pytest.mark.integration
@given(st.text(alphabet="[](){}<>,; \n0123456789.-+eE", max_size=300))
def test_nothing_that_is_written_raises(text):
    for box in read_boxes(text):
        assert box[0] <= box[2]
        assert box[1] <= box[3]
    assert BoxJudge()(text, sample()).score in (0, 1)


numbers = st.one_of(st.integers(-9999, 9999), st.floats(-9999, 9999).map(lambda x: round(x, 3))).map(str)
separators = st.sampled_from([",", ", ", " , ", ";", "; ", " ", "\n", ",\n\t"])
brackets = st.sampled_from(["[]", "()", "{}", "<>"])
FORMS = (
    "{o}{a}{s}{b}{s}{c}{s}{d}{e}",
    "{o}{a}{s}{b}{e}{s}{o}{c}{s}{d}{e}",
    "{o}{a}{s}{b}{e}{o}{c}{s}{d}{e}",
    "<box>({a}{s}{b}),({c}{s}{d})</box>",
    '{{"bbox_2d": [{a}{s}{b}{s}{c}{s}{d}], "label": "vase"}}',
    "It is at {o} {a}{s}{b}{s}{c}{s}{d} {e}, I think.",
)


@pytest.mark.integration
@given(st.lists(numbers, min_size=4, max_size=4), separators, brackets, st.sampled_from(FORMS))
def test_four_numbers_in_any_form_are_read_back(written, separator, pair, form):
    text = form.format(**dict(zip("abcd", written, strict=True)), s=separator, o=pair[0], e=pair[1])
    x1, y1, x2, y2 = map(float, written)
    assert read_boxes(text) == ((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)),)


@given(st.lists(numbers, min_size=4, max_size=4), separators, st.sampled_from(["", " ", ".", "\n"]))
def test_four_bare_numbers_are_read_back(written, separator, end):
    (box,) = read_boxes(separator.join(written) + end)
    assert sorted(box) == sorted(map(float, written))


@given(st.lists(numbers, max_size=3), separators, brackets, st.text(alphabet="[](){}<>,; \n", max_size=20))
def test_three_numbers_are_never_a_box(written, separator, pair, around):
    listed = separator.join(written)
    for text in (listed, pair[0] + listed + pair[1], around + listed + around[::-1], around.join(written)):
        assert read_boxes(text) == ()


@pytest.mark.parametrize(
    ("start", "filler", "end"),
    [
        ("[1", " ", "x"),
        ("[1", "]", "x"),
        ("[1", " ]", "x"),
        ("[1 ", "[", "x"),
        ("[1,", " [", "x"),
        ("", "[", ""),
        ("[", "1", "x"),
        ("[", "1.", "x"),
        ("[", "1 ", "x"),
        ("", "[1 ", "x"),
        ("", " [1 ", "x"),
        ("", "[1 2 3 4", ""),
        ("1", " ", "x"),
        ("", "1 ", ""),
        ("", " ", "x"),
        ("[1e", "1", "x"),
        ("[-", "1-", "x"),
        ("box: 1", " ", "x"),
        ("", "box: 1 ", "x"),
        ("", "x=1,", ""),
        ("top (1, 2)", "(1 ", "x"),
        ("[1", " to", "x"),
    ],
)
def test_no_text_keeps_the_judge_busy(start, filler, end):
    # Tried again at each of its gaps, any of these would take minutes.
    text = (start + filler * 990)[: 990 - len(end)] + end
    assert all(len(box) == 4 for box in read_boxes(text))


@given(boxes, st.sampled_from(FRAMES))
def test_the_right_box_is_right_in_every_frame(box, frame):
    written = from_native(box, frame, SIZE, VIEW)
    judge = BoxJudge(frame, VIEW)
    answer = str(list(written))
    assert judge.iou(answer, sample(box)) == pytest.approx(1)
    assert judge(answer, sample(box)).score == 1


@given(boxes, boxes, st.sampled_from(FRAMES))
def test_overlap_is_measured_in_native_pixels(box, truth, frame):
    answer = str(list(from_native(box, frame, SIZE, VIEW)))
    expected = iou(box, truth)
    assert BoxJudge(frame, VIEW).iou(answer, sample(truth)) == pytest.approx(expected)
    if abs(expected - 0.5) > 1e-6:
        assert BoxJudge(frame, VIEW)(answer, sample(truth)).score == float(expected > 0.5)


def test_a_box_in_another_frame_is_wrong():
    assert BoxJudge("view", VIEW)("[100, 100, 300, 200]", sample()).score == 0
    assert BoxJudge("native")("[100, 100, 300, 200]", sample()).score == 1


def test_half_an_overlap_is_right():
    assert BoxJudge("native")("[0, 0, 10, 10]", sample((0, 0, 10, 20))).score == 1
    assert BoxJudge("native")("[0, 0, 10, 9]", sample((0, 0, 10, 20))).score == 0
    assert BoxJudge("native", threshold=0.4)("[0, 0, 10, 9]", sample((0, 0, 10, 20))).score == 1


def test_several_boxes_are_a_guess_and_one_box_twice_is_one():
    verdict = BoxJudge("native")("[100, 100, 300, 200] or [0, 0, 5, 5]", sample())
    assert (verdict.score, verdict.reason) == (0, "2 boxes; one is asked for")
    assert BoxJudge("native")("[100, 100, 300, 200], I say [100, 100, 300, 200]", sample()).score == 1
    assert "no boxes" in BoxJudge()("here", sample()).reason


def test_the_best_of_several_true_boxes_counts_and_none_means_no_verdict():
    both = replace(sample(), boxes=((0, 0, 10, 10), (100, 100, 300, 200)))
    assert BoxJudge("native")("[100, 100, 300, 200]", both).score == 1
    assert BoxJudge()("[1, 2, 3, 4]", replace(sample(), boxes=())) is None


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="unknown coordinate frame 'pixels'"):
        BoxJudge("pixels")
    with pytest.raises(ValueError, match="threshold=0"):
        BoxJudge(threshold=0)


@pytest.mark.parametrize("frame", FRAMES)
def test_the_judge_of_an_episode_knows_how_the_image_was_shown(frame):
    env = gym.make(
        "VisualToolbox-v2", dataset=[sample()], frame=frame, rubric=None, view=ViewBudget(max_pixels=300 * 28 * 28)
    )
    env.reset(seed=0)
    shown = env.unwrapped.view.fit(SIZE)
    assert shown != SIZE
    answer = str([round(x, 4) for x in from_native((100, 100, 300, 200), frame, SIZE, shown)])
    *_, info = env.step(f"<answer>{answer}</answer>")
    trajectory = info["trajectory"]
    assert BoxJudge.of(trajectory).iou(trajectory.answer, trajectory.sample) == pytest.approx(1, abs=1e-3)
