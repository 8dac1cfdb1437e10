"""Every block of docs/extending.md is a plugin that works from a file outside the package, with its command."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from deepeyes_env.agents import FAMILIES
from deepeyes_env.cli.app import app
from deepeyes_env.registry import load_plugins
from deepeyes_env.trajectories import read_trajectories
from tests.servers.faulty import FaultyServer

ROOT = Path(__file__).parent.parent
MAX_LINES = 25
URL = "http://127.0.0.1:8000/v1"
SMALL = (
    "rollout.backend=threads", "rollout.prompts=2", "rollout.group_size=2", "evaluation.samples=0",
    "checkpoint.every=0", "scenes.objects=[2, 2]",
)  # fmt: skip


def sections():
    """Title, plugin and commands of each section that has a plugin."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for section in text.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        (plugin,) = re.findall(r"```python\n(.*?)```\n", section, re.DOTALL)
        rest = section.partition(plugin)[2]
        yield title, plugin, re.findall(r"^    (deepeyes .*)$", rest, re.MULTILINE)


SECTIONS = {title: (plugin, commands) for title, plugin, commands in sections()}


def written(title, folder):
    """Write the plugin of a section into a folder."""
    plugin = SECTIONS[title][0]
    name = re.match(r"# (my_\w+\.py)\n", plugin)[1]
    (folder / name).write_text(plugin, encoding="utf-8")
    return name


def runs_of(title, folder, monkeypatch, *more, url=URL, commands=slice(None)):
    """Run the commands of a section, or some, in a folder that holds its plugin; returns what they printed."""
    monkeypatch.chdir(folder)
    name = written(title, folder)
    printed = []
    for command in SECTIONS[title][1][commands]:
        program, *arguments = shlex.split(command.replace(URL, url))
        assert program == "deepeyes"
        result = CliRunner().invoke(app, [*arguments, *more])
        assert result.exit_code == 0, result.output
        printed.append(result.stdout)
    assert any(f"--plugin {name}" in command for command in SECTIONS[title][1])
    return printed


def table(printed):
    return dict(re.split(r"  +", line.strip(), maxsplit=1) for line in printed.splitlines() if "  " in line.strip())


def report_of(folder):
    (path,) = folder.glob("runs/*/report.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_there_is_a_section_for_each_kind_and_the_table_has_them_all():
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    assert len(SECTIONS) == 12
    for title, (plugin, _) in SECTIONS.items():
        registers = re.findall(r"\bregister_\w+", plugin)
        anchor = title.lower().replace(" ", "-")
        (row,) = re.findall(rf"^\| \[{title.lower()}\]\(#{anchor}\) \| `(\w+)` \| `([\w.]+)` \|", text, re.MULTILINE)
        assert row[0] in registers
        assert re.search(rf"^from {re.escape(row[1])} import .*\b{row[0]}\b", plugin, re.MULTILINE)


@pytest.mark.parametrize("title", SECTIONS)
def test_a_plugin_is_short(title):
    assert len(SECTIONS[title][0].splitlines()) <= MAX_LINES


@pytest.mark.parametrize("title", ["Toolbox", "Protocol", "Rubric", "Vector backend"])
def test_an_oracle_is_right(title, tmp_path, monkeypatch):
    (printed,) = runs_of(title, tmp_path, monkeypatch)
    assert table(printed)["episodes"] == "8"
    assert table(printed)["accuracy"] == "1.000"
    assert ("brief" in table(printed)) == (title == "Rubric")


def test_a_tool(tmp_path, monkeypatch):
    (printed,) = runs_of("Tool", tmp_path, monkeypatch, "--out", "run")
    assert table(printed)["episodes"] == "8"
    results = [result for trajectory in read_trajectories(tmp_path / "run") for result in trajectory.results]
    assert any(re.fullmatch(r"mean brightness \d+ of 255", result.text) for result in results)


@pytest.mark.integration
def test_a_judge(tmp_path, monkeypatch):
    runs_of("Judge", tmp_path, monkeypatch)
    report = report_of(tmp_path)
    assert report["judge"]["judge"] == "letter_by_letter"
    assert report["conditions"][0]["accuracy"]["value"] == 1.0


@pytest.mark.integration
def test_a_benchmark(tmp_path, monkeypatch):
    Image.new("RGB", (64, 48), "green").save(tmp_path / "street.png")
    (tmp_path / "signs.csv").write_text("image,question,answer\nstreet.png,What does it say?,stop\n")
    runs_of("Benchmark", tmp_path, monkeypatch)
    report = report_of(tmp_path)
    assert (report["title"], report["conditions"][0]["accuracy"]["value"]) == ("Signs", 1.0)


@pytest.mark.integration
def test_an_agent(tmp_path, monkeypatch):
    runs_of("Agent", tmp_path, monkeypatch)
    assert report_of(tmp_path)["policy"] == "parrot"


@pytest.mark.integration
def test_a_model_family_gives_frame_and_view(tmp_path, monkeypatch):
    with FaultyServer(models=["Looker-7B"]) as server:
        runs_of("Model family", tmp_path, monkeypatch, "--no-stop", url=server.url, commands=slice(1))
    (path,) = tmp_path.glob("runs/*/run.json")
    settings = json.loads(path.read_text(encoding="utf-8"))
    assert settings["frame"] == "unit"
    assert "factor=32" in str(settings["view"])
    for trajectory in read_trajectories(path.parent):
        width, height = trajectory.prompt.images[0].size
        assert width % 32 == height % 32 == 0


def test_an_export(tmp_path, monkeypatch):
    _, printed = runs_of("Export format", tmp_path, monkeypatch)
    lines = (tmp_path / "turns.jsonl").read_text(encoding="utf-8").splitlines()
    assert (len(lines), "8 episodes" in printed) == (8, True)
    assert [turn["role"] for turn in json.loads(lines[0])["turns"]][:2] == ["user", "assistant"]
    checked = CliRunner().invoke(
        app, ["export", "--check", "turns.jsonl", "--format", "turns", "--plugin", "my_export.py"]
    )
    assert "format turns has no reader, so that its files cannot be checked" in checked.stderr


@pytest.fixture(autouse=True)
def plugins_are_forgotten():
    """Those of other tests' folders, as a new process knows none; a family would stand for every model of its name."""
    with FAMILIES.restored():
        yield
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


@pytest.fixture
def looker(tmp_path, monkeypatch):
    """A folder with a random model of the family that the plugin registers."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from deepeyes_env.agents.transformers.policy import VisionPolicy
    from tests.small_model import byte_tokenizer, random_model

    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    load_plugins([written("Model family", tmp_path)])
    tokenizer = byte_tokenizer()
    made = random_model(tokenizer, family="qwen3_vl", model_class=FAMILIES["looker"].architecture().model_class)
    VisionPolicy(made, tokenizer).save(tmp_path / "models" / "looker")
    assert json.loads((tmp_path / "models" / "looker" / "config.json").read_text())["model_type"] == "looker"
    return tmp_path


@pytest.mark.integration
def test_a_model_family_plays(looker, monkeypatch):
    runs_of("Model family", looker, monkeypatch, commands=slice(1, 2))
    (path,) = looker.glob("runs/*/run.json")
    assert json.loads(path.read_text(encoding="utf-8"))["frame"] == "unit"
    assert report_of(looker)["conditions"][0]["episodes"] == 2


@pytest.mark.slow
def test_a_model_family_is_trained(looker, monkeypatch):
    from deepeyes_env.agents.transformers.policy import VisionPolicy

    more = (*SMALL, "rollout.max_new_tokens=8", "checkpoint.every=1", "optim.threads=1")
    runs_of("Model family", looker, monkeypatch, *more, commands=slice(2, 3))
    (folder,) = looker.glob("runs/looker/checkpoints/step_*")
    assert VisionPolicy.load(folder).model.config.model_type == "looker"


@pytest.mark.integration
@pytest.mark.parametrize("title", ["Advantage estimator", "Policy loss"])
def test_an_algorithm(title, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    runs_of(title, tmp_path, monkeypatch, *SMALL)
    (path,) = tmp_path.glob("runs/*/config.yaml")
    assert any(name.endswith(written(title, tmp_path)) for name in recorded_plugins(path))


def recorded_plugins(path):
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))["plugins"]


@pytest.mark.slow  # tests/envs/test_vector_plugins.py has plugins in actors of this process, the rest here the command
@pytest.mark.ray
def test_a_new_process_and_its_actors_load_a_plugin_by_its_file(tmp_path):
    pytest.importorskip("ray")
    name = written("Protocol", tmp_path)
    command = [
        sys.executable,
        "-m",
        "deepeyes_env.cli",
        "rollout",
        "--plugin",
        str(tmp_path / name),
        "--env",
        "Fenced-v0",
    ]
    ended = subprocess.run([*command, "--backend", "ray", "--episodes", "2"], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert table(ended.stdout)["accuracy"] == "1.000"
