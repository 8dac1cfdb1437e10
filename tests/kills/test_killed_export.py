"""``deepeyes export`` killed twenty-five times: a file is there whole, or the one that was there before."""

import itertools
import shutil

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("openpyxl")

from deepeyes_env import agents
from deepeyes_env.trajectories.export import check
from deepeyes_env.trajectories.export.vlmevalkit import read_vlmevalkit
from tests.agents.evaluation.served import write_questions
from tests.kills.killing import Killer, tell, unfinished

KILLS, COUNT = 25, 30
FORMATS = {
    "sharegpt": "cold.jsonl",
    "messages": "cold.json",
    "openai": "cold.jsonl",
    "huggingface": "cold.parquet",
    "vlmevalkit": "cold.xlsx",
}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_an_export_survives_twenty_five_kills(tmp_path):
    data = write_questions(tmp_path, COUNT)
    run, made = tmp_path / "run", {"dataset": str(data), "in_order": True, "episodes": COUNT, "progress": False}
    agents.rollout("VisualToolbox-v2", agents.make_agent("noisy", noise=0.6), out=run, **made)

    def command(format, folder, *more):
        sheet = ("--data", data) if format == "vlmevalkit" else ()
        out = folder / FORMATS[format]
        return list(map(str, ("export", run, "--format", format, "--out", out, *sheet, *more)))

    killers = {}
    for format in FORMATS:
        (tmp_path / format).mkdir()
        for name, some in (("part", ["--right"]), ("whole", [])):
            folder = tmp_path / format / name
            killers[format] = Killer(format, command(format, folder, *some), folder, seed=len(format))
    for number in itertools.count():
        done = sum(killer.total for killer in killers.values())
        if done >= KILLS:
            break
        format = min(killers, key=lambda format: killers[format].total)
        killed_until_done(killers[format], command, format, tmp_path / format, number)
    for format, killer in killers.items():
        tell(f"export to {format}", [killer])
    tell("export", killers.values())


def killed_until_done(killer, command, format, folder, number):
    """Kill an export three times and let it end, where there was one of other episodes before, or none."""
    out = folder / f"run{number}" / FORMATS[format]
    if before := number // len(FORMATS) % 2 == 0:
        shutil.copytree(folder / "part", out.parent)
    wanted = {content(format, folder / name / out.name) for name in (["part", "whole"] if before else ["whole"])}
    for run in (killer.strike, killer.strike, killer.strike, killer.spare):
        run(command(format, out.parent, *["--overwrite"] * out.exists()), out.parent)
        assert out.exists() or not before, "what was there before was destroyed"
        if out.exists():
            assert check(out, format).rows
            assert content(format, out) in wanted
    assert content(format, out) == content(format, folder / "whole" / out.name)
    expected = names(folder / "whole") | (names(folder / "part") if before else set())
    assert names(out.parent) == expected
    assert unfinished(out.parent) == []


def content(format, path):
    """The bytes of a file; of a sheet, whose archive has times in it, the rows."""
    return repr(list(read_vlmevalkit(path))).encode() if format == "vlmevalkit" else path.read_bytes()


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
