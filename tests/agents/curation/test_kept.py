"""What a condition keeps, as a data set in any format that is written."""

import pytest
from typer.testing import CliRunner

from deepeyes_env import Sample
from deepeyes_env.agents.curation import PRESETS, begin_curation, label_format, parse_keep, write_kept
from deepeyes_env.agents.curation.label_file import LABELS, Labelled, label_path, write_labels
from deepeyes_env.cli.app import app
from deepeyes_env.data import load, write_jsonl
from deepeyes_env.errors import DataError, UsageError

COLOURS = ("red", "green", "blue")


@pytest.fixture
def curation(tmp_path, png):
    """Four questions; the third is the first again, the last needs its options."""
    questions = ["What color is the hat?", "What color is the bag?", "What color is the hat?", "What is the best word?"]
    samples = [
        Sample(f"s{row}", question, "red", png, options=COLOURS, metadata={"kind": "a"}, boxes=((1, 2, 8, 9),))
        for row, question in enumerate(questions)
    ]
    write_jsonl(samples, tmp_path / "data.jsonl")
    begun = begin_curation(tmp_path / "out", tmp_path / "data.jsonl")
    label_format(begun.dataset, begun.folder)
    return begun


@pytest.fixture(scope="module")
def png():
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "tsv"])
def test_what_is_kept_is_written_in_any_format(curation, tmp_path, kind):
    out = tmp_path / f"kept.{kind}"
    kept = write_kept(curation, parse_keep("not duplicate"), out)
    assert (kept.rows, kept.of) == ((0, 1, 3), 4)
    samples = list(load(out))
    assert [each.id for each in samples] == ["s0", "s1", "s3"]
    assert [each.options for each in samples] == [(), (), COLOURS]
    assert samples[0].question == "What color is the hat?"
    assert [each.answer for each in samples] == ["red"] * 3
    assert samples[0].metadata["kind"] == "a"
    if kind != "tsv":
        assert samples[2].metadata["curation"] == {"open": 0.0, "duplicate": 0.0, "near_image": 1.0}
        assert samples[0].boxes == ((1, 2, 8, 9),)


def test_questions_stay_as_they_are_on_request(curation, tmp_path):
    as_is = begin_curation(tmp_path / "as-is", tmp_path / "data.jsonl", {"open": False})
    label_format(as_is.dataset, as_is.folder)
    write_kept(as_is, parse_keep("open"), tmp_path / "kept.jsonl")
    assert [each.options for each in load(tmp_path / "kept.jsonl")] == [COLOURS] * 3


def test_each_filter_is_counted(curation, tmp_path):
    kept = write_kept(curation, parse_keep("open and not duplicate"), tmp_path / "kept.jsonl")
    assert kept.filters == (("open", 3, 3), ("not duplicate", 3, 2))


def test_labels_that_were_not_made_are_told_with_the_stage(curation, tmp_path):
    with pytest.raises(DataError, match=r"no labels difficulty, utility yet; --stages difficulty,utility"):
        write_kept(curation, parse_keep("0 < difficulty < 1 and utility > 0"), tmp_path / "kept.jsonl")
    assert not (tmp_path / "kept.jsonl").exists()


def test_a_question_without_the_label_is_not_kept(curation, tmp_path):
    lines = [Labelled(0, "s0", {"difficulty": 0.5}), Labelled(1, "s1", reason="the server was down", again=True)]
    write_labels(label_path(curation.folder, "difficulty"), lines)
    for condition in ("difficulty < 1", "not difficulty > 0.9"):
        assert write_kept(curation, parse_keep(condition), tmp_path / "kept.jsonl").rows == (0,)
    with pytest.raises(DataError, match=r"no question is left to write: of 4, difficulty > 0.9 keeps 0"):
        write_kept(curation, parse_keep("difficulty > 0.9"), tmp_path / "none.jsonl")


def test_neither_the_data_nor_another_kind_of_file_is_written(curation, tmp_path):
    with pytest.raises(UsageError, match="is the data itself"):
        write_kept(curation, parse_keep("open"), tmp_path / "data.jsonl")
    with pytest.raises(UsageError, match=r"'.csv'; name a file that ends in .jsonl, .parquet, .tsv"):
        write_kept(curation, parse_keep("open"), tmp_path / "kept.csv")


def test_rows_that_share_an_id_are_told_apart(tmp_path, png):
    samples = [Sample("same", "What color is the hat?", "red", png), Sample("same", "How many?", "2", png)]
    begun = begin_curation(tmp_path / "out", "pattern_search")
    begun = type(begun)(begun.folder, samples, begun.settings)
    label_format(begun.dataset, begun.folder)
    write_kept(begun, parse_keep("open"), tmp_path / "kept.jsonl")
    assert [each.id for each in load(tmp_path / "kept.jsonl")] == ["same", "same (sample 1)"]


def test_presets_are_conditions():
    assert all(parse_keep(name).names for name in PRESETS)


def run(*arguments):
    return CliRunner().invoke(app, ["curate", *map(str, arguments)])


@pytest.mark.integration
def test_on_the_command_line(curation, tmp_path):
    out = tmp_path / "new"
    made = run(tmp_path / "data.jsonl", "--out", out, "--stages", "format")
    assert made.exit_code == 0, made.output
    assert (out / LABELS / "format.jsonl").is_file()
    kept = run("--out", out, "--keep", "open and not duplicate", "--write", tmp_path / "kept.tsv")
    assert kept.exit_code == 0, kept.output
    assert "2 of 4 questions" in kept.output
    assert len(load(tmp_path / "kept.tsv")) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--keep", "opne", "--write", "k.jsonl"], "character 1: unknown label 'opne'; did you mean 'open'"),
        (["--keep", "open"], "give --write FILE"),
        (["--preset", "deepeye", "--write", "k.jsonl"], "unknown preset 'deepeye'; did you mean 'deepeyes'"),
        (["--preset", "deepeyes", "--keep", "open"], "give one"),
        (["--keep", "open", "--write", "k.xlsx"], "unknown kind '.xlsx'"),
        (["--stages", "formt"], "unknown stage 'formt'; did you mean 'format'"),
    ],
)
def test_mistakes_on_the_command_line(curation, arguments, told):
    result = run("--out", curation.folder, *arguments)
    assert result.exit_code != 0
    assert told in " ".join(result.output.split())
