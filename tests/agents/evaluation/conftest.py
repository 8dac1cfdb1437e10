"""Evaluations in tests draw no plots, which take longer than all the rest, unless a test asks for them."""

import pytest

from deepeyes_env.agents.evaluation import report


@pytest.fixture
def plots():
    """Asks for plots."""


@pytest.fixture(autouse=True)
def no_plots(request, monkeypatch):
    if "plots" not in request.fixturenames:
        monkeypatch.setattr(report, "draw", lambda *arguments: [])
