"""The examples of tools that people ask for: a ruler and OCR, each an environment in a few lines."""

import json
import os
import re
import subprocess
from pathlib import Path

import gymnasium as gym
import pytest

from deepeyes_env import Sample, ToolCall
from deepeyes_env.registry import load_plugins
from tests.environments import environment
from tests.examples.test_examples import EXAMPLES, code_lines
from tests.libraries.recipes import OCR

data = pytest.importorskip("skimage.data")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["ocr", "ruler"])
def test_it_takes_few_lines(name):
    assert code_lines(name) <= 10


# --- ruler.py --------------------------------------------------------------------------------------------------------


def measured(frame, start, end):
    """What the ruler says of a line on scikit-image's page, whose ends are given as shares of its sides."""
    load_plugins([str(EXAMPLES / "ruler.py")])
    env = gym.make("Ruler-v0", dataset=[Sample("page", "How long?", "", [data.page()])], frame=frame)
    observation, _ = env.reset(seed=0)
    height, width, _ = observation["images"][0].shape
    right, bottom = {"view": (width, height), "norm1000": (1000, 1000), "unit": (1, 1), "native": (384, 191)}[frame]
    ends = [[x * right, y * bottom] for x, y in (start, end)]
    *_, info = env.step(ToolCall("measure", {"start": ends[0], "end": ends[1]}))
    return info["calls"][0].text


@pytest.mark.parametrize("frame", ["view", "norm1000", "unit", "native"])
def test_the_ruler_measures_in_pixels_of_the_original(frame):
    """The page has 384 x 191 pixels, and is shown at another size."""
    assert measured(frame, (0, 1), (1, 1)) == "384.0 pixels, 0.0 degrees"
    assert measured(frame, (0.5, 1), (0.5, 0)) == "191.0 pixels, 90.0 degrees"
    assert measured(frame, (0, 1), (1, 0)) == "428.9 pixels, 26.4 degrees"


# --- ocr.py ----------------------------------------------------------------------------------------------------------

UPPER = """
Region-based segmentation
Let us first determine markers of the coins and the
background. These markers are pixels that we can label
unambiguously as either object or background. Here,
"""
LOWER = """
the markers are found at the two extreme parts of the
histogram of grey values:
>>> markers = np.zeros_like(coins)
"""
"""What scikit-image's page says: bright in the upper half, and darker in the lower one."""


def letters_and_digits(text):
    return re.sub(r"[\W_]", "", text)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ocr_reads_the_page(tmp_path):
    """The whole page at once is read well where it is bright; the rest needs a closer look."""
    python = environment(OCR, tmp_path / "environments") / "bin" / "python"
    offline = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
    command = [str(python), str(Path(__file__).with_name("read_page.py")), str(EXAMPLES / "ocr.py")]
    done = subprocess.run(command, env=os.environ | offline, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    read = json.loads(done.stdout.strip().splitlines()[-1])
    assert letters_and_digits(read["page"]).startswith(letters_and_digits(UPPER))
    assert letters_and_digits(read["lower half"]) == letters_and_digits(LOWER)
    assert read["margin"] == "no text found"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ocr_leaves_headless_opencv_alone(tmp_path):
    python = environment(OCR, tmp_path / "environments") / "bin" / "python"
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, check=True).stdout
    names = {each["name"] for each in json.loads(listed)}
    assert {name for name in names if name.startswith("opencv")} == {"opencv-python-headless"}
