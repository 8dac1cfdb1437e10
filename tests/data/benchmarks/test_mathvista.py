import pytest

from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.errors import DataError
from deepeyes_env.judges import make_judge

FLOAT = {
    "pid": "7", "question": "How long is it?", "image": "images/7.jpg", "choices": None, "unit": "cm", "precision": 1.0,
    "answer": "1.2", "question_type": "free_form", "answer_type": "float", "query": "Hint: ...",
    "metadata": {"task": "geometry problem solving", "skills": ["geometry reasoning", "arithmetic reasoning"],
                 "category": "math-targeted-vqa", "context": "diagram", "grade": "high school", "source": "UniGeo"},
}  # fmt: skip
CHOICE = FLOAT | {
    "pid": "8", "question": "Is x longer than y?", "choices": ["longer", "equal", "shorter"], "unit": None,
    "precision": None, "answer": "equal", "question_type": "multi_choice", "answer_type": "text",
}  # fmt: skip
LIST = FLOAT | {"pid": "9", "answer": "[1, 2]", "answer_type": "list", "unit": "", "precision": None}
INTEGER = LIST | {"pid": "10", "answer": "4", "answer_type": "integer"}


def check(samples):
    number, choice, many, whole = samples
    assert number.question == "How long is it? (Unit: cm)\nAnswer with a number with 1 decimal places."
    assert (number.options, number.answer) == ((), "1.2")
    assert number.metadata["precision"] == 1
    assert number.metadata["task"] == "geometry problem solving"
    assert number.metadata["skills"] == ["geometry reasoning", "arithmetic reasoning"]
    assert (choice.question, choice.options) == ("Is x longer than y?", ("longer", "equal", "shorter"))
    assert choice.answer == "equal"
    assert many.question == "How long is it?\nAnswer with a list, such as [1, 2, 3]."
    assert whole.question == "How long is it?\nAnswer with a whole number."
    assert "precision" not in whole.metadata
    judge = make_judge("math")
    rights = zip(samples, ["1.23 cm", "B", "[1, 2]", "four"], strict=True)
    assert [judge(answer, sample).score for sample, answer in rights] == [1, 1, 1, 1]
    wrongs = zip(samples, ["1.26", "A", "[2, 1]", "4.5"], strict=True)
    assert [judge(answer, sample).score for sample, answer in wrongs] == [0, 0, 0, 0]


def test_parquet(put_parquet, make_jpeg):
    rows = [
        {**row, "decoded_image": {"bytes": make_jpeg(color=int(row["pid"])), "path": None}}
        for row in (FLOAT, CHOICE, LIST, INTEGER)
    ]
    bench, data = open_benchmark("MathVista", put_parquet("testmini-00000.parquet", rows))
    samples = list(data)
    assert (bench.metric, bench.judge) == ("math", "math")
    assert {"task", "skills"} <= set(bench.categories)
    assert [sample.id for sample in samples] == ["7", "8", "9", "10"]
    assert [sample.images[0].encoded() for sample in samples] == [row["decoded_image"]["bytes"] for row in rows]
    check(samples)


def test_json_by_pid(put_json, put_image):
    put_image("images/7.jpg")
    records = {row["pid"]: row for row in (FLOAT, CHOICE, LIST, INTEGER)}
    check(list(open_benchmark("mathvista", put_json("testmini.json", records))[1]))


def test_vlmevalkits_tsv(put_tsv):
    rows = []
    for row in (FLOAT, CHOICE, LIST, INTEGER):
        flat = {k: v for k, v in row.items() if k not in ("pid", "image", "metadata", "query")} | row["metadata"]
        flat = {k: "" if v is None else v for k, v in flat.items()}
        choices = row["choices"] or []
        listed = "".join(f"\n({letter}) {text}" for letter, text in zip("ABC", choices, strict=False))
        flat["question"] = f"Hint: Please answer so.\nQuestion: {row['question']}" + (
            f"\nChoices:{listed}" if choices else ""
        )
        flat["choices"] = str(choices)
        flat["answer_option"] = "B" if choices else ""
        rows.append(flat)
    check(list(open_benchmark("mathvista", put_tsv("MathVista_MINI.tsv", *rows))[1]))


def test_a_question_that_is_not_hinted_is_kept_whole(put_tsv):
    row = {"question": "Line one?\nLine two", "answer": "4", "question_type": "free_form", "answer_type": "integer",
           "choices": "[]"}  # fmt: skip
    (sample,) = open_benchmark("mathvista", put_tsv("m.tsv", row))[1]
    assert sample.question == "Line one?\nLine two\nAnswer with a whole number."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": ""}, "has no answer; MathVista's test split has none"),
        ({"choices": []}, "multi_choice question without 'choices'"),
        ({"answer": "blue"}, "answer 'blue' is not one of the options"),
        ({"image": "images/9.jpg"}, "there is no image 'images/9.jpg'"),
    ],
)
def test_bad_records(put_json, put_image, change, message):
    put_image("images/7.jpg")
    data = open_benchmark("mathvista", put_json("t.json", {"7": FLOAT, "8": CHOICE | change}))[1]
    assert data[0].answer == "1.2"
    with pytest.raises(DataError, match=f"t.json, row 1: .*{message}"):
        data[1]


def test_other_files_are_refused(put_json, put_tsv, put_parquet):
    with pytest.raises(DataError, match=r"has no 'question_type'; it has 'question', 'answer'. Expected: MathVista"):
        open_benchmark("mathvista", put_json("t.json", [{"question": "?", "answer": "1"}]))
    with pytest.raises(
        DataError, match=r"lacks the columns question_type, answer_type, choices; it has 'index', 'image'"
    ):
        open_benchmark("mathvista", put_tsv("t.tsv", {"question": "?", "answer": "1"}))
    with pytest.raises(DataError, match="lacks the column decoded_image; it has 'question'"):
        open_benchmark("mathvista", put_parquet("t.parquet", [{"question": "?"}]))
