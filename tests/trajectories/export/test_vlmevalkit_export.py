"""VLMEvalKit's result sheet: letters of the benchmark, not of the episode; and what a reader finds wrong."""

import json
from base64 import b64encode
from dataclasses import replace

import numpy as np
import pytest

from deepeyes_env import agents
from deepeyes_env.core import Sample, Turn
from deepeyes_env.data import load, tsv
from deepeyes_env.data.benchmarks.transforms import box_text
from deepeyes_env.data.vlmevalkit import write_tsv
from deepeyes_env.errors import DataError
from deepeyes_env.images.codec import encode
from deepeyes_env.trajectories.export import export
from deepeyes_env.trajectories.export.vlmevalkit import Prediction, prediction_of, read_vlmevalkit, write_vlmevalkit

openpyxl = pytest.importorskip("openpyxl")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A benchmark file, and what an agent that is often wrong answered to it."""
    path = tmp_path_factory.mktemp("bench") / "bench.tsv"
    samples = load("visual_search")
    rows = [replace(samples[i], id=str(100 + i), boxes=(), metadata={"category": f"c{i % 3}"}) for i in range(24)]
    write_tsv(rows, path)
    settings = {"dataset": str(path), "in_order": True, "episodes": 24, "progress": False, "num_envs": 2}
    run = agents.rollout("VisualToolbox-v2", agents.make_agent("blind", seed=3), **settings)
    return load(str(path)), run.trajectories


@pytest.mark.integration
@pytest.mark.parametrize("suffix", ["xlsx", "tsv"])
def test_letters_are_those_of_the_benchmark(bench, tmp_path, suffix):
    dataset, trajectories = bench
    done = export(trajectories, tmp_path / f"m_bench.{suffix}", "vlmevalkit", dataset=dataset)
    rows = {row.index: row for row in read_vlmevalkit(tmp_path / f"m_bench.{suffix}")}
    assert done.written == len(rows) == 24
    moved = 0
    for trajectory in trajectories:
        original = next(sample for sample in dataset if sample.id == trajectory.sample.id)
        row = rows[original.id]
        right = "ABCDEFGH"[original.options.index(original.answer)]
        assert row.others["answer"] == right
        assert (row.prediction == right) == trajectory.right
        assert [row.others[letter] for letter in "ABCDEFGH"[: len(original.options)]] == list(original.options)
        assert row.others["category"] == original.metadata["category"]
        moved += row.prediction != trajectory.answer
    assert moved > 5


@pytest.mark.integration
def test_indices_are_numbers_and_columns_in_order(bench, tmp_path):
    dataset, trajectories = bench
    export(trajectories, tmp_path / "sheet.xlsx", "vlmevalkit", dataset=dataset)
    header, *rows = openpyxl.load_workbook(tmp_path / "sheet.xlsx").active.iter_rows(values_only=True)
    assert header[:4] == ("index", "question", "A", "B")
    assert header[-1] == "prediction"
    assert {"answer", "category"} < set(header)
    assert sorted(row[0] for row in rows) == list(range(100, 124))


def test_options_need_the_data_set_that_was_played(bench, oracle, tmp_path):
    dataset, trajectories = bench
    with pytest.raises(ValueError, match="sample '100' has options, .* give the data set that was played"):
        export(trajectories, tmp_path / "sheet.tsv", "vlmevalkit")
    with pytest.raises(ValueError, match="is not in the data set"):
        export(oracle, tmp_path / "sheet.tsv", "vlmevalkit", dataset=dataset)
    others = [replace(sample, question="Another?") for sample in dataset]
    with pytest.raises(ValueError, match="sample '100' of the data set is not the question that was played"):
        export(trajectories, tmp_path / "sheet.tsv", "vlmevalkit", dataset=others)
    assert list(tmp_path.iterdir()) == []


def test_one_row_a_question(bench, tmp_path):
    dataset, trajectories = bench
    again = [
        replace(t, metadata={"episode": 99}, turns=(Turn("<answer>later</answer>", answer="later"),))
        for t in trajectories
    ]
    done = export([*again, *trajectories], tmp_path / "sheet.tsv", "vlmevalkit", dataset=dataset)
    assert (done.written, done.left_out) == (24, {"another answer to the same question": 24})
    assert "later" not in {row.prediction for row in read_vlmevalkit(tmp_path / "sheet.tsv")}
    without = [replace(trajectory, toolbox="") for trajectory in trajectories]
    with pytest.raises(ValueError, match="sample '100' was answered with tools and without; select tools"):
        export([*trajectories, *without], tmp_path / "other.tsv", "vlmevalkit", dataset=dataset)


def test_open_answers_stand_as_they_are_and_none_is_said(oracle):
    sample = replace(oracle[0].sample, options=(), answer="a cat")
    episode = replace(oracle[0], sample=sample, turns=(Turn("<answer>A dog.</answer>", answer="A dog."),))
    assert prediction_of(episode).prediction == "A dog."
    assert prediction_of(episode).others["answer"] == "a cat"
    assert prediction_of(replace(episode, turns=())).prediction == "no answer given"


def test_letters_of_a_file_with_gaps_are_kept(tmp_path):
    image = b64encode(encode(np.zeros((40, 40, 3), np.uint8))).decode()
    rows = [["index", "image", "question", "A", "B", "C", "D", "answer"]]
    rows += [[str(i), image, "Which?", "red", "", "green", "blue", "C"] for i in range(6)]
    (tmp_path / "gap.tsv").write_bytes(b"".join(map(tsv.join_record, rows)))
    dataset = load(tmp_path / "gap.tsv")
    run = agents.rollout("VisualToolbox-v2", "oracle", dataset=dataset, episodes=6, in_order=True, progress=False)
    assert len({trajectory.answer for trajectory in run.trajectories}) > 1
    export(run.trajectories, tmp_path / "sheet.tsv", "vlmevalkit", dataset=dataset)
    for row in read_vlmevalkit(tmp_path / "sheet.tsv"):
        assert row.prediction == "C"
        assert row.others == {"A": "red", "C": "green", "D": "blue", "answer": "C"}
    write_tsv(dataset, tmp_path / "again.tsv")
    assert load(tmp_path / "again.tsv")[0].metadata == {}


def test_boxes_are_fractions_of_the_sides_under_the_index_that_vlmevalkit_knows():
    box = (1000.0, 900.0, 1400.0, 1300.0)
    image = np.zeros((1800, 2400, 3), np.uint8)
    metadata = {"category": "RefCOCO testA"}
    asked = Sample("7", "Where?", box_text(box), image, boxes=[box], data_source="refcoco", metadata=metadata)
    run = agents.rollout("VisualToolbox-v2", "oracle", dataset=[asked], episodes=1, progress=False, rubric=None)
    (episode,) = run.trajectories
    assert episode.view_size != episode.native_size
    row = prediction_of(episode)
    assert row.index == "RefCOCO_testA_7"
    assert np.allclose(json.loads(row.prediction), [1000 / 2400, 0.5, 1400 / 2400, 1300 / 1800], atol=1e-4)
    other = replace(episode, sample=replace(asked, data_source="", metadata={"option_letters": "z"}))
    assert json.loads(prediction_of(other).prediction)[0] < 500  # as it was said


def test_a_yes_is_written_as_vlmevalkit_compares_it(oracle):
    asked = replace(oracle[0].sample, options=(), answer="yes", data_source="pope")
    episode = replace(oracle[0], sample=asked)
    assert prediction_of(episode).others["answer"] == "Yes"


def test_column_names_are_no_formulas(tmp_path):
    write_vlmevalkit([Prediction("1", "Question?", "A", {"=1+1": "x"})], tmp_path / "s.xlsx")
    (book,) = openpyxl.load_workbook(tmp_path / "s.xlsx").worksheets
    assert {cell.data_type for cell in next(book.iter_rows())} == {"s"}


NASTY = ["=1+1", "+A", "tab\tand\nline", 'quote " inside', "NA", "tail ", "ünï 猫", "00123"]


@pytest.mark.parametrize("suffix", ["xlsx", "tsv"])
def test_texts_come_back_as_they_are(tmp_path, suffix):
    rows = [Prediction(f"x{i}", "Question?", text, {"A": text}) for i, text in enumerate(NASTY)]
    write_vlmevalkit(rows, tmp_path / f"s.{suffix}")
    assert list(read_vlmevalkit(tmp_path / f"s.{suffix}")) == rows


def test_what_a_cell_cannot_hold(tmp_path, caplog):
    rows = [Prediction("1", "Question?", "a\x00b" + "c" * 40_000)]
    write_vlmevalkit(rows, tmp_path / "s.xlsx")
    (read,) = read_vlmevalkit(tmp_path / "s.xlsx")
    assert read.prediction == "a?b" + "c" * 32_764
    assert "index 1: prediction cut to 32767 characters" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the columns index, question, prediction; it has none"),
        ("index\tquestion\n1\tWhat?\n", "lacks the columns prediction; it has 'index', 'question'"),
        ("index\tquestion\tprediction\n", "has no rows"),
        ("index\tquestion\tprediction\n1\tq\tA\n2\tq\t \n", "row 3, column 'prediction': is blank"),
        ("index\tquestion\tprediction\n1\tq\tA\n1\tq\tB\n", "row 3: index '1' is that of row 2 already"),
        ("index\tquestion\tprediction\n1\tq\tA\tB\n", "row 2 has 4 cells, the header has 3"),
        ('index\tquestion\tprediction\n1\tq\t"A\n', "a quoted field is never closed"),
    ],
)
def test_a_wrong_sheet_is_found(tmp_path, text, message):
    (tmp_path / "s.tsv").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        list(read_vlmevalkit(tmp_path / "s.tsv"))
    assert str(tmp_path / "s.tsv") in str(error.value)


def test_another_file_is_found(tmp_path):
    (tmp_path / "s.xlsx").write_text("index,question")
    with pytest.raises(DataError, match=r"is not an .xlsx file"):
        list(read_vlmevalkit(tmp_path / "s.xlsx"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_vlmevalkit(tmp_path / "gone.tsv"))
    book = openpyxl.Workbook()
    book.active.append(["index", "answer"])
    book.save(tmp_path / "s.xlsx")
    with pytest.raises(DataError, match="lacks the columns question, prediction; it has 'index', 'answer'"):
        list(read_vlmevalkit(tmp_path / "s.xlsx"))
