"""The README's Python runs as it stands."""

import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_ten_lines_of_python(capsys):
    exec(compile(BLOCKS[0], "README.md", "exec"), {})
    assert "ok" in capsys.readouterr().out


def test_a_tool_and_its_variant_in_at_most_ten_lines(sample):
    source = BLOCKS[1]
    assert len([line for line in source.splitlines() if line.strip()]) <= 10
    exec(compile(source, "README.md", "exec"), {"__name__": "readme"})
    env = gym.make("FlipToolbox-v0", dataset=[sample], view=None)
    env.reset(seed=0)
    flip = '<tool_call>{"name": "image_flip_tool", "arguments": {"axis": "horizontal"}}</tool_call>'
    obs, *_ = env.step(flip)
    assert np.array_equal(obs["images"][0], sample.images[0].pixels()[:, ::-1])
    obs, *_, info = env.step(flip.replace("horizontal", "diagonal"))
    assert info["calls"][0].status == "bad_arguments"


def test_bring_your_data(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    from deepeyes_env import Sample
    from deepeyes_env.data import write_parquet

    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 48), "green").save("street.jpg")
    write_parquet([Sample("1", "What?", "a", "street.jpg")], Path("train.parquet"))
    scope = {}
    exec(compile(BLOCKS[2], "README.md", "exec"), scope)
    obs, _ = scope["env"].reset(seed=0)
    assert "What does the sign say?" in obs["text"]


def test_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / target).exists(), target
