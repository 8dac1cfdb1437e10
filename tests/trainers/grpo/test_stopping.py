"""Signals: where a run stops for them, and where they wait."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.trainers.grpo.stopping import defer_signals  # noqa: E402


def test_a_close_that_hangs_can_be_left_at_the_third_signal():
    before = signal.getsignal(signal.SIGINT)
    with defer_signals() as came:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert len(came) == 3
    assert signal.getsignal(signal.SIGINT) is before
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: defer_signals().__enter__()).result() == []
