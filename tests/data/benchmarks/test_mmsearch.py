import base64

import pytest

from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.errors import DataError
from deepeyes_env.judges import RuleJudge


def record(**fields):
    return {"question": "Who painted it?", "image": "a.jpg", "answer": "Ada Lovelace"} | fields


def test_lines_with_paths_and_golden_answers(put_lines, put_image):
    golden = ["Ada Lovelace", "Lady Lovelace", "Augusta Ada King"]
    path = put_lines(
        "search.jsonl",
        record(golden_answers=golden, area="news", subfield="arts", index=7),
        {"sample_id": "x1", "query": "When?", "query_image": "b.jpg", "gt_answer": 1843, "alternative_gt_answers": []},
    )
    put_image("a.jpg")
    put_image("images/b.jpg")
    bench, data = open_benchmark("MMSearch", path)
    first, second = data
    assert (bench.metric, bench.judge, bench.categories) == ("open", "rules", ("area", "subfield"))
    assert (first.id, first.question, first.answer) == ("search/0", "Who painted it?", "Ada Lovelace")
    assert first.metadata == {"index": 7, "area": "news", "subfield": "arts", "accepted_answers": golden[1:]}
    assert (second.id, second.answer, second.metadata) == ("search/x1", "1843", {})
    assert [sample.images[0].source.name for sample in data] == ["a.jpg", "b.jpg"]


def test_each_golden_answer_is_right(put_lines, put_image):
    put_image("a.jpg")
    _, (sample,) = open_benchmark("mmsearch", put_lines("s.jsonl", record(golden_answers=["Lady Lovelace"])))
    judge = RuleJudge()
    assert [judge(said, sample).score for said in ("ada lovelace.", "The answer is Lady Lovelace", "Babbage")] == [
        1,
        1,
        0,
    ]
    assert RuleJudge(abstain=True)("Babbage", sample) is None
    _, (number,) = open_benchmark("mmsearch", put_lines("n.jsonl", record(answer="12", golden_answers=["13"])))
    assert [judge(said, number).score for said in ("12", "13.0", "14")] == [1, 1, 0]


def test_urls(put_lines, make_jpeg, put_image, tmp_path):
    put_image("images/a.jpg")
    encoded = base64.b64encode(make_jpeg()).decode()
    inside = (tmp_path / "images" / "a.jpg").as_uri()
    _, data = open_benchmark(
        "mmsearch", put_lines("s.jsonl", record(image=f"data:image/jpeg;base64,{encoded}"), record(image=inside))
    )
    assert all(sample.images[0].size for sample in data)
    _, data = open_benchmark("mmsearch", put_lines("t.jsonl", record(image="https://example.com/a.jpg")))
    with pytest.raises(DataError, match="example.com"):
        data[0]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"golden_answers": "Ada"}, "'golden_answers' must be a list of texts"),
        ({"image": "gone.jpg"}, "there is no image 'gone.jpg'"),
        ({"answer": None}, "has no 'answer' or 'gt_answer'"),
        ({"image": "../../etc/passwd"}, "there is no image"),
    ],
)
def test_bad_rows_are_told(put_lines, put_image, fields, told):
    put_image("a.jpg")
    _, data = open_benchmark("mmsearch", put_lines("s.jsonl", record(), record(**fields)))
    with pytest.raises(DataError, match=told):
        data[1]


def test_another_form_is_refused(put_lines):
    with pytest.raises(DataError, match="image"):
        open_benchmark("mmsearch", put_lines("s.jsonl", {"question": "Who?", "answer": "Ada"}))
