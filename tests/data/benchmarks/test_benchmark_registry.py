import json

import numpy as np
import pytest

from deepeyes_env import Sample
from deepeyes_env.data import write_jsonl, write_tsv, write_vstar
from deepeyes_env.data.benchmarks import Benchmark, benchmarks, open_benchmark, register_benchmark
from deepeyes_env.data.benchmarks.records import find_image, read_json_records, read_parquet
from deepeyes_env.data.dataset import BUILT_IN
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.judges import make_judge


def samples(**rest):
    fields = {"question": "What colour?", "answer": "red", "options": ("red", "blue")} | rest
    return [
        Sample(
            id=f"s{i}", images=np.full((40, 60, 3), i, np.uint8), metadata={"category": "direct_attributes"}, **fields
        )
        for i in range(3)
    ]


def test_every_benchmark_is_named_once_and_has_a_judge():
    names = [bench.name for bench in benchmarks()]
    assert len(set(names)) == len(names)
    assert {"vstar", "hrbench_4k", "hrbench_8k", "mme_realworld_lite", "refcoco", "pope", "mathvista"} <= set(names)
    for bench in benchmarks():
        assert make_judge(bench.judge)
        assert bench.title
        assert bench.format


@pytest.mark.parametrize("name", ["hrbench_4k", "HR-Bench-4K", "HR Bench 4k", "hrbench4k"])
def test_names_are_read_kindly(name):
    assert open_benchmark(name, samples())[0].name == "hrbench_4k"


@pytest.mark.parametrize(("name", "near"), [("vstr", "vstar"), ("refcoc", "refcoco"), ("hrbench_4", "hrbench_4k")])
def test_an_unknown_name_is_told_the_nearest_and_all(name, near):
    with pytest.raises(ValueError, match=f"unknown benchmark '{name}'; did you mean '{near}'\\? known: code_search, "):
        open_benchmark(name, samples())


@pytest.mark.parametrize(("options", "metric"), [(("red", "blue"), "choice"), ((), "open")])
def test_a_benchmark_of_ones_own(tmp_path, options, metric):
    @register_benchmark(Benchmark("test_lines", "Lines", "a .txt file", "open", "rules"), suffixes=(".txt",))
    def lines(path):
        return samples(options=options)[: len(path.read_text().split())]

    (tmp_path / "two.txt").write_text("a b")
    bench, data = open_benchmark("Test-Lines", tmp_path / "two.txt")
    assert (bench.title, bench.metric, len(data)) == ("Lines", metric, 2)
    with pytest.raises(UsageError, match="Lines needs its data: a .txt file"):
        open_benchmark("test_lines")
    (tmp_path / "two.csv").write_text("a b")
    with pytest.raises(DataError, match="has the wrong kind '.csv'. Lines is read from a .txt file"):
        open_benchmark("test_lines", tmp_path / "two.csv")


def test_a_benchmark_of_ones_own_may_need_no_data(tmp_path):
    register_benchmark(Benchmark("test_made", "Made", "none", "choice", "rules"), samples)
    assert len(open_benchmark("test_made")[1]) == 3
    with pytest.raises(UsageError, match="reads no data"):
        open_benchmark("test_made", tmp_path)
    with pytest.raises(UsageError, match="the benchmark 'VStar' belongs to the package"):
        register_benchmark(Benchmark("VStar", "Mine", "none", "choice", "rules"), samples)


def test_vstar_folder_and_tsv(tmp_path):
    write_vstar(samples(), tmp_path / "vstar")
    write_tsv(samples(), tmp_path / "VStarBench.tsv")
    bench, folder = open_benchmark("vstar", tmp_path / "vstar")
    _, tsv = open_benchmark("vstar", str(tmp_path / "VStarBench.tsv"))
    assert (bench.metric, bench.judge, bench.categories) == ("choice", "rules", ("category",))
    assert [s.images[0].size for s in folder] == [s.images[0].size for s in tsv] == [(60, 40)] * 3
    assert {s.metadata["category"] for s in [*folder, *tsv]} == {"direct_attributes"}


@pytest.mark.parametrize(("options", "metric"), [(("red", "blue"), "choice"), ((), "open")])
def test_files_of_ones_own_are_choices_if_they_have_options(tmp_path, options, metric):
    write_jsonl(samples(options=options), tmp_path / "mine.jsonl")
    write_tsv(samples(options=options), tmp_path / "mine.tsv")
    assert open_benchmark("jsonl", tmp_path / "mine.jsonl")[0].metric == metric
    assert open_benchmark("tsv", tmp_path / "mine.tsv")[0].metric == metric


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_tasks_need_no_files(name):
    bench, data = open_benchmark(name)
    assert (bench.name, bench.metric) == (name, "choice")
    assert all(category in data[0].metadata for category in bench.categories)
    assert data[0].id.startswith(f"{data[0].data_source}/test/")  # no scene that a policy may have been trained on
    assert data[0].images[0].size[0] > 100
    assert open_benchmark(name.replace("_", "-"), rotated=True)[1].view == data.view


def test_the_built_in_task_takes_no_files(tmp_path):
    with pytest.raises(ValueError, match=r"Visual search is built in and reads no data; leave out .*mine\.jsonl"):
        open_benchmark("visual_search", tmp_path / "mine.jsonl")


TRUTH = {"question": "Is it?", "answer": "yes", "category": "popular"}
BOXED = {"question": "the cat", "answer": "[1, 2, 30, 40]"}
CHOICES = "(A) a\n(B) b\n(C) c\n(D) d\n(E) e"
MATHS = {"question": "?", "answer": "3", "question_type": "free_form", "answer_type": "integer", "choices": "[]"}


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("pope", TRUTH),
        ("refcoco", BOXED),
        ("mme_realworld_lite", {"question": "?", "answer": "A", "multi-choice options": CHOICES}),
        ("mathvista", MATHS),
        ("hrbench_4k", TRUTH),
        ("vstar", TRUTH),
        ("tsv", TRUTH),
    ],
)
def test_the_kind_of_a_file_is_told_in_capitals_too(put_tsv, name, row):
    one, other = open_benchmark(name, put_tsv("x.tsv", row))[1], open_benchmark(name, put_tsv("X.TSV", row))[1]
    assert [(sample.question, sample.answer) for sample in one] == [(s.question, s.answer) for s in other]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("pope", {**TRUTH, "image": "picture"}),
        ("refcoco", {"answer": ["the cat"], "bbox": [1.0, 2.0, 3.0, 4.0], "image": "picture"}),
        ("mathvista", {**MATHS, "choices": [], "decoded_image": "picture"}),
    ],
)
def test_parquet_in_capitals(put_parquet, make_jpeg, name, row):
    stored = {key: {"bytes": make_jpeg(), "path": None} if value == "picture" else value for key, value in row.items()}
    _, data = open_benchmark(name, put_parquet("X.PARQUET", [stored]))
    assert data[0].images[0].encoded() == make_jpeg()


def test_a_folder_of_splits_in_capitals(put_lines, put_image, tmp_path):
    put_image("a.jpg")
    put_lines("coco_pope_random.JSON", {"question_id": 1, "image": "a.jpg", "text": "Is it?", "label": "yes"})
    assert open_benchmark("pope", tmp_path)[1][0].id == "random/1"


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085"])
def test_only_a_line_feed_ends_a_line(tmp_path, mark):
    path = tmp_path / "x.jsonl"
    path.write_bytes(f'{{"text": "a{mark}b"}}\r\n\n{{"text": "c"}}'.encode())
    assert [(record.row, record.fields["text"]) for record in read_json_records(path)] == [(0, f"a{mark}b"), (2, "c")]


def test_a_tsv_that_lacks_a_column_is_told_those_it_has(put_tsv):
    with pytest.raises(DataError, match=r"lacks the columns answer; it has 'index', 'image', 'question'"):
        open_benchmark("hrbench_8k", put_tsv("hr_bench_8k.tsv", {"question": "?"}))


def test_what_is_missing_or_of_the_wrong_kind_is_named(tmp_path, put_tsv):
    put_tsv("hr_bench_4k.tsv", {"question": "?", "answer": "x"})
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"V\* Bench needs its data: the folder that holds direct_attributes/"):
        open_benchmark("vstar")
    with pytest.raises(DataError, match=r"nowhere: there is no such file or folder. V\* Bench is read from the folder"):
        open_benchmark("vstar", tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"has neither direct_attributes nor relative_position"):
        open_benchmark("vstar", tmp_path)
    with pytest.raises(DataError, match=r"is a folder; did you mean .*hr_bench_4k.tsv\? HR-Bench 4K is read from"):
        open_benchmark("hrbench_4k", tmp_path)
    with pytest.raises(DataError, match=r"wrong kind '.txt'. POPE is read from coco_pope_random.json"):
        open_benchmark("pope", tmp_path / "notes.txt")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match=r"empty.jsonl: has no samples"):
        open_benchmark("jsonl", tmp_path / "empty.jsonl")
    (tmp_path / "empty.json").write_text("[]")
    with pytest.raises(DataError, match=r"empty.json: holds no records"):
        open_benchmark("pope", tmp_path / "empty.json")


def test_circular_needs_options():
    with pytest.raises(ValueError, match="circular: POPE has no options to cycle"):
        open_benchmark("pope", samples(options=(), answer="yes"), circular=True)
    with pytest.raises(ValueError, match="circular: JSONL has no options"):
        open_benchmark("jsonl", samples(options=()), circular=True)


@pytest.mark.parametrize("value", [3, "text", [1, 2], {"a": 1, "b": {}}])
def test_json_of_other_shapes_is_refused_or_one_record(tmp_path, value):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(value))
    if isinstance(value, dict):
        assert [dict(record.fields) for record in read_json_records(path)] == [value]
    else:
        with pytest.raises(DataError, match="must hold an array of objects"):
            read_json_records(path)


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"bad.json: cannot be read"):
        read_json_records(tmp_path / "bad.json")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"bad.parquet: cannot be read as parquet"):
        read_parquet(tmp_path / "bad.parquet", "image")


def test_an_image_is_found_by_the_end_of_its_path(put_lines, put_image):
    (record,) = read_json_records(put_lines("x.jsonl", {"image": "/far/away/a/b.jpg"}))
    right = put_image("images/a/b.jpg")
    put_image("images/b.jpg")
    assert find_image(record, "/far/away/a/b.jpg", (".", "images")).source == right
    with pytest.raises(ValueError, match=r"there is no image ''"):
        find_image(record, "", (".", "images"))
    assert find_image(record, str(right), ("images",)).source == right
