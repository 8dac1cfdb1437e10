"""verl's own constraints say what the project's say, but for what cannot be."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[3]
DIFFERENT = {"antlr4-python3-runtime", "hydra-core", "packaging", "torchvision", "virtualenv"}


def pins(path):
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return dict(line.split("==") for line in lines if line)


def test_they_differ_only_where_verl_does_not_resolve():
    theirs, ours = pins(ROOT / "tests" / "verl" / "constraints.txt"), pins(ROOT / "constraints.txt")
    assert theirs["verl"] == "0.9.1"
    assert {name for name in theirs if theirs[name] != ours.get(name)} == DIFFERENT
    assert set(ours) <= set(theirs)
