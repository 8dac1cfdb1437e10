"""Our result sheets, read by VLMEvalKit's own evaluators: its numbers are ours.

Needs a checkout of VLMEvalKit, named by ``VLMEVALKIT``, and a Python that has what its evaluators import (pandas,
openpyxl, pillow, matplotlib, tabulate, tqdm, validators, filelock, huggingface_hub, sty, rich), named by
``VLMEVALKIT_PYTHON`` if it is another one. See ``vlmevalkit_evaluators.py`` for what is a stand-in.
"""

import json
import logging
import os
import random
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deepeyes_env.agents.evaluation import Scoring, evaluate, open_run
from deepeyes_env.agents.evaluation.rows import read_rows
from deepeyes_env.cli.app import app
from deepeyes_env.data import tsv
from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.equal_options import right_options
from deepeyes_env.images.codec import encode
from deepeyes_env.images.frames import from_native
from deepeyes_env.judges import make_judge
from deepeyes_env.option_letters import option_letter

CHECKOUT = Path(os.environ.get("VLMEVALKIT", ""))
EVALUATORS = Path(__file__).with_name("vlmevalkit_evaluators.py")
COLOURS = ("red", "blue", "green", "black", "white", "pink", "brown", "grey")
KINDS = ("spatial", "attribute", "counting")
TASKS = ("Perception/Remote Sensing", "Perception/Monitoring", "Reasoning/Monitoring")
SPLITS = ("RefCOCO val", "RefCOCO testA", "RefCOCO+ testB", "RefCOCOg test")
POPE_SPLITS = ("adversarial", "popular,random", "adversarial,popular,random", "random")
MME = (
    *("OCR", "artwork", "celebrity", "color", "count", "existence", "landmark", "position", "posters", "scene"),
    *("code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation"),
)
BENCHMARKS = {
    "Choices": "tsv",
    "MME-RealWorld-Lite": "mme_realworld_lite",
    "POPE": "pope",
    "MME": "tsv",
    "RefCOCO": "refcoco",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHECKOUT / "vlmeval" / "dataset").is_dir(),
        reason="VLMEVALKIT does not name a checkout of github.com/open-compass/VLMEvalKit",
    ),
]


logger = logging.getLogger(__name__)


class Varied:
    """Answers right or wrong, in as many words as models do."""

    name = "varied"

    def act(self, episodes):
        return [f"<think>I look.</think><answer>{self._answer(episode)}</answer>" for episode in episodes]

    def _answer(self, episode):
        sample, draw = episode.sample, random.Random(episode.sample.id)
        if sample.boxes:
            return self._box(episode, draw)
        if not sample.options:
            said = draw.choice((sample.answer, sample.answer, "yes", "no"))
            return draw.choice(("{}", "{}.", "{}, there is one")).format(said.capitalize())
        right, *_ = right_options(sample.options, sample.answer, sample.metadata)
        place = draw.choice((right, right, draw.randrange(len(sample.options))))
        form = draw.choice(("{0}", "({0})", "{0}. {1}", "{1}", "The answer is {0}.", "it is not to be seen"))
        return form.format(option_letter(place), sample.options[place])

    def _box(self, episode, draw):
        x1, y1, x2, y2 = episode.sample.boxes[0]
        shift = draw.choice((0.0, 0.1, 0.3, 0.6)) * (x2 - x1)
        box = from_native((x1 + shift, y1, x2 + shift, y2), episode.frame, episode.native_size, episode.view_size)
        return json.dumps([round(x, 2) for x in box])


def rows_of(name, count=60):
    """Return the rows of a small file in the form in which VLMEvalKit has the data set."""
    draw = random.Random(name)
    images = [b64encode(encode(np.full((600 + 40 * i, 900, 3), 60 * i, np.uint8))).decode() for i in range(3)]
    for i in range(count):
        row = {"index": i, "image": images[i % 3], "question": f"Which {i}?"}
        options = draw.sample(COLOURS, 5)
        if i % 7 == 0:
            options[3] = options[1]  # equal texts: only the letter tells them apart
        if name == "Choices":
            yield (
                row
                | dict(zip("ABCD", options, strict=False))
                | {
                    "answer": draw.choice("ABCD"),
                    "category": draw.choice(KINDS),
                }
            )
        elif name == "MME-RealWorld-Lite":
            listed = [f"({letter}) {text}" for letter, text in zip("ABCDE", options, strict=True)]
            more = {"answer": draw.choice("ABCDE"), "category": TASKS[i % 3], "l2-category": f"color/{i % 2}"}
            yield row | {"multi-choice options": str(listed)} | more
        elif name == "POPE":
            more = {"answer": draw.choice(("Yes", "No")), "category": POPE_SPLITS[i % 4]}
            yield row | {"question": f"Is there a dog in image {i}?"} | more
        elif name == "MME":
            more = {"answer": ("Yes", "No")[i % 2], "category": MME[i // 2 % 14], "image_path": f"{i // 2}.png"}
            yield row | {"question": f"Is it {i}? Please answer yes or no."} | more
        else:
            x, y = draw.random() / 2, draw.random() / 2
            yield row | {"answer": str([x, y, x + 0.3, y + 0.2]), "category": SPLITS[i % 4]}


def played(name, folder):
    """Write a data set, play it, export it; return what we report of it, and which questions were answered right."""
    rows = list(rows_of(name, 84 if name == "MME" else 60))
    path = folder / f"{name}.tsv"
    path.write_bytes(b"".join(tsv.join_record(map(str, cells)) for cells in (rows[0], *(row.values() for row in rows))))
    benchmark, dataset = open_benchmark(BENCHMARKS[name], path)
    scoring = Scoring(make_judge(benchmark.judge), benchmark.judge)
    report = evaluate(benchmark, dataset, Varied(), scoring, out=folder / name, progress=False, num_envs=2)
    sheet = folder / f"m_{name}.xlsx"
    done = CliRunner().invoke(
        app, ["export", str(folder / name), "--format", "vlmevalkit", "--data", str(path), "--out", str(sheet)]
    )
    assert done.exit_code == 0, done.output
    return report.conditions[0], {row.sample_id: row.score == 1 for row in read_rows(open_run(folder / name))}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vlmevalkit")
    ours = {name: played(name, folder) for name in BENCHMARKS}
    python = os.environ.get("VLMEVALKIT_PYTHON", sys.executable)
    run = subprocess.run(
        [python, EVALUATORS, CHECKOUT.resolve(), folder], capture_output=True, text=True, cwd=folder, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    theirs = json.loads((folder / "scores.json").read_text())
    logger.info("VLMEvalKit: %s", theirs)  # shown by --log-cli-level=INFO
    return ours, theirs


def percent(estimate):
    return pytest.approx(100 * estimate.value)


def test_choices(both):
    (ours, _), theirs = (each["Choices"] for each in both)
    (row,) = theirs
    assert 0.3 < row["Overall"] < 0.8
    assert row["Overall"] == pytest.approx(ours.accuracy.value)
    assert {kind: row[kind] for kind in KINDS} == {
        kind: pytest.approx(estimate.value) for kind, estimate in ours.categories["category"].items()
    }


def test_mme_realworld(both):
    (ours, _), theirs = (each["MME-RealWorld-Lite"] for each in both)
    assert 0.3 < theirs["Overall"] < 0.8
    assert theirs["Overall"] == pytest.approx(ours.accuracy.value)
    for name in TASKS:
        task, subtask = name.split("/")
        assert theirs[task][subtask]["Avg"] == pytest.approx(ours.categories["subtask"][name].value), theirs[task]


def test_pope(both):
    (ours, _), theirs = (each["POPE"] for each in both)
    found = {row["split"]: row for row in theirs}
    assert set(found) == {"Overall", "adversarial", "popular", "random"} == {"Overall", *(set(ours.yes_no) - {""})}
    for split in ("adversarial", "popular", "random"):
        mine, row = ours.yes_no[split], found[split]
        assert 0 < row["Overall"] < 100
        assert row["Overall"] == pytest.approx(100 * mine.f1)
        assert row["precision"] == pytest.approx(100 * mine.precision)
        assert row["recall"] == pytest.approx(100 * mine.recall)
        assert row["acc"] == pytest.approx(100 * mine.accuracy)


def test_mme(both):
    (ours, right), (theirs,) = (each["MME"] for each in both)
    for place, name in enumerate(MME):
        images = range(place, len(right) // 2, len(MME))
        plus = np.mean([right[str(2 * image)] and right[str(2 * image + 1)] for image in images])
        assert theirs[name] == pytest.approx(100 * (ours.categories["category"][name].value + plus)), name
    assert len({theirs[name] for name in MME}) >= 3


def test_refcoco(both):
    (ours, _), theirs = (each["RefCOCO"] for each in both)
    found = {row["Split"]: row for row in theirs}
    assert {name.replace(" ", "_") for name in SPLITS} == set(found) - {"Average"}
    assert 0 < found["Average"]["Precision@1"] < 100
    assert found["Average"]["Precision@1"] == percent(ours.accuracy)  # as many questions in each split
    assert found["Average"]["Average IoU"] == pytest.approx(ours.answer_iou.value, abs=1e-4)
    for name in SPLITS:
        row = found[name.replace(" ", "_")]
        assert row["Precision@1"] == percent(ours.categories["category"][name])
