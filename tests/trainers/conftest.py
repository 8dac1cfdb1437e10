"""Training runs in tests draw no plots, which take longer than the runs, unless a test asks for them."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.trainers.grpo import ablate, run


@pytest.fixture
def plots():
    """Asks for plots."""


@pytest.fixture(autouse=True)
def no_plots(request, monkeypatch):
    if "plots" not in request.fixturenames:
        leave_plots_out(monkeypatch)


def leave_plots_out(monkeypatch):
    monkeypatch.setattr(run, "plot_curves", lambda metrics, out: out.touch())
    monkeypatch.setattr(ablate, "plot_bands", lambda arms, out: out.touch())
