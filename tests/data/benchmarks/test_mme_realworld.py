import json

import pytest

from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.errors import DataError
from deepeyes_env.judges import RuleJudge

RECORD = {
    "Question_id": "perception/ocr_cc/book/0913",
    "Image": "a.jpg",
    "Text": "What dish is it?",
    "Question Type": "Multiple Choice",
    "Answer choices": ["(A) Ribs", "(B) Sweet & Sour: (hot)", "(C) 1. Rice", "(D) Soup", "(E) Not in the image."],
    "Ground truth": "B",
    "Category": "book_map_poster",
    "Subtask": "OCR with Complex Context",
    "Task": "Perception",
}
OPTIONS = ("Ribs", "Sweet & Sour: (hot)", "1. Rice", "Soup", "Not in the image.")
LISTED = "The choices are listed below:\n" + "\n".join(RECORD["Answer choices"]) + "\n"


@pytest.mark.parametrize("folder", ["data/imgs", "imgs", "."])
def test_its_own_json(put_json, put_image, folder):
    put_image(f"{folder}/a.jpg", width=90)
    bench, data = open_benchmark("mme-realworld-lite", put_json("MME-RealWorld-Lite.json", [RECORD]))
    (sample,) = data
    assert (bench.metric, bench.judge, bench.categories) == ("choice", "rules", ("task", "subtask", "category"))
    assert (sample.id, sample.question, sample.answer) == (RECORD["Question_id"], RECORD["Text"], OPTIONS[1])
    assert sample.options == OPTIONS
    assert sample.images[0].size == (90, 40)
    assert sample.metadata == {
        "category": "book_map_poster", "subtask": "Perception/OCR with Complex Context", "task": "Perception"
    }  # fmt: skip
    assert RuleJudge()("(B)", sample).score == 1
    assert RuleJudge()("(A)", sample).score == 0


def test_letters_may_be_left_out(put_json, put_image):
    put_image("imgs/a.jpg")
    record = RECORD | {"Answer choices": ["(A) Left", "(C) Right", "(E) None"], "Ground truth": "E"}
    (sample,) = open_benchmark("mme_realworld_lite", put_json("m.json", [record]))[1]
    assert (sample.options, sample.answer) == (("Left", "Right", "None"), "None")


def test_vlmevalkits_tsv(put_tsv):
    row = {"question": "What dish is it?", "multi-choice options": LISTED, "answer": "B",
           "category": "Perception/OCR with Complex Context", "l2-category": "book_map_poster"}  # fmt: skip
    _, data = open_benchmark("mme_realworld_lite", put_tsv("MME-RealWorld-Lite.tsv", row, row | {"answer": "E"}))
    first, second = data
    assert first.options == second.options == OPTIONS
    assert (first.answer, second.answer) == (OPTIONS[1], OPTIONS[4])
    assert first.metadata == {
        "category": "book_map_poster", "task": "Perception", "subtask": "Perception/OCR with Complex Context"
    }  # fmt: skip
    assert first.images[0].size == (60, 40)
    assert data[1].id == second.id == "1"


def test_options_as_json_hold_any_character(put_tsv):
    row = {"question": "Which?", "answer": "B", "multi-choice options": json.dumps(["(A) \U0001f600", "(B) no"])}
    (sample,) = open_benchmark("mme_realworld_lite", put_tsv("MME-RealWorld-Lite.tsv", row))[1]
    assert sample.options == ("\U0001f600", "no")


def test_options_as_they_are_published(put_tsv):
    """The published file holds the list as Python writes it."""
    row = {"question": "What dish is it?", "answer": "B", "category": "Reasoning/Autonomous Driving"}
    cells = (repr(RECORD["Answer choices"]), "['(A) Ribs', 5]")
    rows = [row | {"multi-choice options": cell} for cell in cells]
    _, data = open_benchmark("mme_realworld_lite", put_tsv("MME-RealWorld-Lite.tsv", *rows))
    assert (data[0].options, data[0].answer) == (OPTIONS, OPTIONS[1])
    with pytest.raises(DataError, match="multi-choice options must be a list of texts"):
        data[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Ground truth": "F"}, "answer 'F' is not the letter of an option; there are A, B, C, D, E"),
        ({"Answer choices": ["Ribs"]}, r"option 'Ribs' is not written as '\(A\) text'"),
        ({"Answer choices": "(A) Ribs"}, "must be a list of texts"),
        ({"Image": "b.jpg"}, r"no image 'b.jpg'; put it into one of: .*imgs"),
    ],
)
def test_a_bad_record_is_named(put_json, put_image, change, message):
    put_image("imgs/a.jpg")
    data = open_benchmark("mme_realworld_lite", put_json("m.json", [RECORD, RECORD | change]))[1]
    assert data[0].answer == OPTIONS[1]
    with pytest.raises(DataError, match=f"m.json, row 1: .*{message}"):
        data[1]


def test_other_files_are_refused_with_what_they_have(put_json, put_tsv):
    with pytest.raises(DataError, match=r"has no 'Answer choices'; it has 'Text'. Expected: .*Ground truth"):
        open_benchmark("mme_realworld_lite", put_json("m.json", [{"Text": "?"}]))
    with pytest.raises(
        DataError, match=r"lacks the column 'multi-choice options' .*it has 'index', 'image', 'question'"
    ):
        open_benchmark("mme_realworld_lite", put_tsv("m.tsv", {"question": "?", "answer": "A"}))
    data = open_benchmark(
        "mme_realworld_lite", put_tsv("n.tsv", {"question": "?", "answer": "A", "multi-choice options": "none"})
    )[1]
    with pytest.raises(DataError, match=r"n.tsv.*sample '0': answer 'A' is not the letter of an option"):
        data[0]
