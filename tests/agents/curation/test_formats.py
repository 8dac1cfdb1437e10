"""A curation of each kind of file: DeepEyes-47k and DeepEyesV2 parquet, VLMEvalKit TSV, JSONL."""

import pytest

pytest.importorskip("pyarrow", reason="needs the extra data")

import pyarrow
import pyarrow.parquet

from deepeyes_env.agents import make_agent
from deepeyes_env.agents.curation import (
    Asking,
    LabelTable,
    begin_curation,
    label_answers,
    label_by_model,
    label_format,
    parse_keep,
    write_kept,
)
from deepeyes_env.agents.curation.label_file import label_path, read_labels
from deepeyes_env.data import load, write
from tests.agents.evaluation.small_evaluations import RULES, samples


def rows_of(env_name, *extra):
    """Rows as those data sets have them: no options, no boxes of ours."""
    for i, sample in enumerate(samples(3)):
        question = ("What color is the hat?", "Which of the following is red? A. hat B. bag", "Is there a hat?")[i]
        answer = ("red", "A", "yes")[i]
        yield {
            "data_source": "vstar",
            "prompt": [{"role": "system", "content": "Think."}, {"role": "user", "content": f"<image>\n{question}"}],
            "images": [{"bytes": sample.images[0].encoded(), "path": None}],
            "ability": "vl_chat",
            "env_name": env_name,
            "reward_model": {"ground_truth": answer, "style": "model"},
            "extra_info": {
                "question": question,
                "answer": answer,
                **dict.fromkeys(extra, f"row_{i}"),
            },
        }


def deepeyes_47k(path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows_of("visual_toolbox_v2", "index"))), path)
    return path


def deepeyes_v2(path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows_of("", "id"))), path)
    return path


def ours(path):
    write(samples(3), path)
    return path


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (deepeyes_47k, "deepeyes.parquet"),
        (deepeyes_v2, "perception_all_1.parquet"),
        (ours, "bench.tsv"),
        (ours, "mine.jsonl"),
    ],
)
def test_each_kind_of_file(tmp_path, make, name):
    path = make(tmp_path / name)
    begun = begin_curation(tmp_path / "out", path)
    label_format(begun.dataset, begun.folder, progress=False)
    label_answers(begun)
    asking = Asking(make_agent("blind"), RULES, k=1, episodes=False, progress=False)
    for stage in ("difficulty", "utility"):
        label_by_model(begun, stage, asking)
    table = LabelTable(begun.folder, 3)
    assert not table.reasons("difficulty")
    assert not table.reasons("label")
    if name.endswith(".tsv"):
        assert all("no true box" in why for why in table.reasons("utility").values())
    if make is not ours:
        assert [table.of(row)["open"] for row in range(3)] == [1, 0, 1]
        why = [each.found["why"] for each in read_labels(label_path(begun.folder, "format"))]
        assert why[1] == "it speaks of its options (following)"
    write_kept(begun, parse_keep("difficulty >= 0"), tmp_path / "kept.parquet")
    again = list(load(tmp_path / "kept.parquet"))
    assert [each.env_name for each in again] == [each.env_name for each in load(path)]
    assert [each.images[0].encoded() for each in again] == [each.images[0].encoded() for each in load(path)]
