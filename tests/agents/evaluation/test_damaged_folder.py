"""Evaluations whose files were damaged: told by name, with the remedy, by everything that reads them."""

import json
import shutil

import pytest

from deepeyes_env import agents
from deepeyes_env.agents.evaluation import compare, open_run, rescore
from deepeyes_env.agents.evaluation.score_file import judge_of
from deepeyes_env.errors import DataError
from tests.agents.evaluation.small_evaluations import RULES, run, samples


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder, dataset=samples(2))
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def changed(name, **values):
    """The settings of an evaluation with some values changed, or without those that are None."""

    def change(text):
        settings = json.loads(text) | values
        return json.dumps({key: value for key, value in settings.items() if value is not None}).encode()

    return name, change


DAMAGED = [
    ("plan.json", lambda text: text[:20]),
    ("plan.json", lambda text: b""),
    ("plan.json", lambda text: b"\xff\xfe{}"),
    ("plan.json", lambda text: b"[1]"),
    ("plan.json", lambda text: b"[" * 100_000),
    changed("plan.json", samples="2"),
    changed("plan.json", samples=2.5),
    changed("plan.json", samples=0),
    changed("plan.json", samples=None),
    changed("plan.json", seed="0"),
    changed("plan.json", tools=[]),
    ("run.json", lambda text: text[:20]),
    ("run.json", lambda text: b"null"),
    changed("run.json", benchmark=None),
    changed("run.json", benchmark="mine"),
    changed("run.json", benchmark={"name": "mine"}),
    changed("run.json", benchmark={"name": "m", "title": 5, "format": "", "metric": "choice", "judge": "rules"}),
    changed("run.json", policy=None),
    changed("run.json", policy=["oracle"]),
]


@pytest.mark.parametrize(("name", "change"), DAMAGED)
def test_damaged_settings_are_told_with_the_remedy(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    message = rf"{name}: is damaged \(.+\); put a copy of it back, or play the run anew \(--overwrite\)$"
    for read in (open_run, lambda folder: rescore(folder, RULES), lambda folder: compare(folder, folder)):
        with pytest.raises(DataError, match=message):
            read(folder)


@pytest.mark.parametrize(("name", "text"), [("plan.json", b"{"), ("run.json", b"{"), ("run.json", b"[]")])
def test_a_damaged_run_is_not_resumed_but_overwritten(folder, name, text):
    (folder / name).write_bytes(text)
    with pytest.raises(DataError, match=f"{name}: is damaged"):
        run(folder, dataset=samples(2), if_exists="resume")
    assert run(folder, dataset=samples(2), if_exists="overwrite").complete


def test_a_damaged_rollout_is_not_resumed(tmp_path):
    def rollout(**options):
        return agents.rollout("VisualToolbox-v2", "oracle", episodes=1, out=tmp_path, progress=False, **options)

    rollout()
    (tmp_path / "run.json").write_text("[")
    with pytest.raises(DataError, match=r"run\.json: is damaged"):
        rollout(if_exists="resume")


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b'{"number": "one", "error": ""}', b'{"error": ""}', b'{"number": 1}', b"\xff{}"]
)
def test_a_damaged_list_of_failures_is_told_with_its_line(folder, line):
    (folder / "failures.jsonl").write_bytes(b'{"number": 0, "error": "no"}\n' + line + b"\n")
    with pytest.raises(DataError, match=r"failures\.jsonl, line 2: is no failed episode \(.+\); delete the line, and"):
        rescore(folder, RULES)


@pytest.mark.parametrize("number", [None, "0", 0.5])
def test_a_record_without_its_number_is_told(folder, number):
    path = folder / "trajectories.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    record = json.loads(lines[0])
    record["metadata"]["episode"] = number
    path.write_text(json.dumps(record) + "\n" + lines[1])
    with pytest.raises(DataError, match=r"'s0'.*metadata\['episode'\] is"):
        rescore(folder, RULES)


@pytest.mark.parametrize("line", [b"[]", b"{", b'{"scored_by": 5}', b"null"])
def test_a_damaged_line_about_the_judge_names_nobody(folder, line):
    (folder / "scores.jsonl").write_bytes(line + b"\n")
    assert judge_of(folder) == {}
