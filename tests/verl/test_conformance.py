"""The recorded episodes inside verl: our agent loop as verl makes it, and the tokens that verl's own loops build."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from deepeyes_env.trainers.tiny import BASE
from tests import realistic
from tests.verl.runs import SITE

pytestmark = pytest.mark.slow

MEANT = {"cut messages": "verl's own tool loop and TRL's (`environment_factory`) put none"}
"""Recordings that verl's own loops write otherwise, with what docs/conformance.md says of it."""

CHILD = Path(__file__).with_name("conformance_child.py")


def directory(kind, temporary):
    if kind == "tiny":
        return BASE
    if (file := realistic.resource()) is None:
        pytest.skip("dashscope, which brings Qwen's tokenizer, is not installed")
    kept = Path(os.environ.get("DEEPEYES_REALISTIC", temporary / "realistic"))
    return kept if (kept / "config.json").is_file() else realistic.build(kept, file)


@pytest.fixture(scope="module", params=["tiny", "realistic"])
def rows(request, tmp_path_factory):
    temporary = tmp_path_factory.mktemp("conformance")
    folder, out = directory(request.param, temporary), temporary / "rows.json"
    path = os.pathsep.join([str(CHILD.parents[2]), str(SITE)])
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(CHILD), str(folder), str(out)],
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(out.read_text(encoding="utf-8"))


def runs(ids, pad):
    return [len(list(group)) for token, group in groupby(ids) if token == pad]


def test_our_loop_hands_verl_what_our_trainer_has(rows):
    for name, row in rows.items():
        assert row["verl"]["ids"] == row["ours"]["ids"], name
        assert row["verl"]["mask"] == row["ours"]["mask"], name


def test_each_message_is_asked_for_with_the_tokens_before_it(rows):
    for name, row in rows.items():
        mask = row["ours"]["mask"]
        starts = [place for place in range(1, len(mask)) if mask[place] and not mask[place - 1]]
        assert [len(ids) for ids in row["verl"]["asked"]] == starts, name
        assert all(ids == row["ours"]["ids"][: len(ids)] for ids in row["verl"]["asked"]), name


def test_verls_processor_counts_as_many_image_tokens(rows):
    for name, row in rows.items():
        assert row["verl"]["images"] == runs(row["ours"]["ids"], row["ours"]["pad"]), name


def test_verls_own_token_builder_writes_the_same(rows):
    for name, row in rows.items():
        if name not in MEANT:
            assert row["verl"]["built"] == row["ours"]["ids"], name


def test_where_verls_own_token_builder_differs_is_documented(rows):
    for name, said in MEANT.items():
        assert rows[name]["verl"]["built"] != rows[name]["ours"]["ids"], name
        assert said in (CHILD.parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
