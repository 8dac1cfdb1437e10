"""One warm parent for all tests of a process: starting it takes seconds."""

import os
import sys

import numpy as np
import pytest

from deepeyes_env.sandbox import IsolationError, Limits, Session
from tests.conftest import pattern


def local_sandbox(sandbox=None):
    """A started sandbox, or the one given; where there can be none, a test is skipped, but not in CI."""
    from deepeyes_env.sandbox.local import LocalSandbox

    sandbox = sandbox or LocalSandbox()
    try:
        sandbox.start()
    except IsolationError as error:
        if os.environ.get("CI") == "true" and sys.platform.startswith("linux"):
            raise
        pytest.skip(str(error))
    return sandbox


@pytest.fixture(scope="session")
def sandbox():
    with local_sandbox() as started:
        yield started


@pytest.fixture
def make_session(sandbox):
    """Function that makes sessions, which are closed after the test."""
    made = []

    def make(*images, **limits):
        made.append(Session(images, sandbox=sandbox, limits=Limits(**limits)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def session(make_session):
    return make_session(frozen(pattern(64, 48)), cell_seconds=30)


def frozen(pixels):
    pixels = np.ascontiguousarray(pixels)
    pixels.flags.writeable = False
    return pixels
