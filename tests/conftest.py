"""Fixtures that several packages' tests share."""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from deepeyes_env import Sample
from tests import browser

# Timing never decides a test. CI draws the same examples every time; everyone else explores.
settings.register_profile("project", deadline=None, max_examples=50, derandomize=bool(os.environ.get("CI")))
settings.load_profile("project")

# By default Ray gives way to whatever else runs; here that is the other tests.
os.environ.setdefault("RAY_worker_niceness", "0")

# A model's name that no test has planted is not asked of a hub somewhere else.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# What can be made again is not put into the user's own folder.
os.environ.setdefault("DEEPEYES_CACHE", str(Path(tempfile.gettempdir()) / "deepeyes_env-tests"))


def pytest_collection_modifyitems(items):
    """Tests with Ray come first, and those of them that want none to be there first of all: it is started once."""
    items.sort(key=lambda item: (item.get_closest_marker("ray") is None, "no_ray" not in item.fixturenames))


GOLDEN = Path(__file__).parent / "golden"


def pattern(width, height):
    """The image of the golden records: R = 7x + 13y, G = 3x + 5y, B = x xor y, each modulo 256."""
    x, y = (np.arange(side).astype(np.uint8) for side in (width, height))  # whose sums are modulo 256 by themselves
    y = y[:, None]
    return np.stack([7 * x + 13 * y, 3 * x + 5 * y, x ^ y], axis=-1)


def read_golden(name):
    return [json.loads(line) for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines()]


def zoom_text(box, name="image_zoom_in_tool"):
    call = json.dumps({"name": name, "arguments": {"bbox_2d": list(box)}})
    return f"<think>Look closer.</think>\n<tool_call>\n{call}\n</tool_call>"


@pytest.fixture
def sample():
    """One question about a 1000 x 800 image with four options."""
    return Sample(
        id="s1",
        question="What colour is the flag?",
        answer="red",
        images=(pattern(1000, 800),),
        options=("red", "green", "blue", "white"),
        boxes=((100, 100, 300, 260),),
        data_source="vstar",
    )


@pytest.fixture(scope="module")
def chromium():
    """A context of a browser, not of the session: while it is open, ``asyncio`` cannot run in the same thread."""
    with browser.chromium() as context:
        yield context


@pytest.fixture(scope="module")
def pages_of_module(chromium):
    return browser.Pages(chromium)


@pytest.fixture
def pages(pages_of_module):
    """Blank pages of a browser."""
    yield pages_of_module
    pages_of_module.close()


@pytest.fixture(scope="session")
def ray_of_session():
    """Function that starts Ray if it is not there; it ends with the session."""

    def start():
        ray = pytest.importorskip("ray")
        if not ray.is_initialized():
            ray.init(include_dashboard=False)

    yield start
    stop_ray()


@pytest.fixture
def shared_ray(ray_of_session):
    """Ray, which the tests of a process share: starting it takes seconds."""
    ray_of_session()


@pytest.fixture
def no_ray():
    """For a test that starts Ray itself."""
    pytest.importorskip("ray")
    stop_ray()


def stop_ray():
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        sys.modules["ray"].shutdown()


@pytest.fixture
def one_torch_thread():
    """For a test of many small operations, which are slower in two threads than in one."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
