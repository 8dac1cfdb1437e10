"""Commands that are killed at moments drawn by a seed, all their processes at once, and what they left is looked at."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from deepeyes_env.files import is_temporary

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]
PLAIN = (sys.executable, "-m", "deepeyes_env.cli")
DYING = """
import sys
from tests.dying import die_at_write
die_at_write(int(sys.argv.pop(1)), sys.argv.pop(1), sys.argv.pop(1))
from deepeyes_env.cli import main
main()
"""
"""The same command, told before which of its writes it is killed."""

KINDS = ("write", "stir", "write", "clock")
"""Moments: before a write; some time after the folder has changed; some time after the start."""

LONGEST = 900


class Killer:
    """Runs one command of ``deepeyes`` again and again, and kills it.

    Attributes:
        kills: How many kills have hit while the process was alive, by the kind of their moments.
        missed: How often the command was done before.

    Args:
        name: What is killed, for the log.
        whole: The command.
        folder: The folder that it writes to; moments are drawn from how long this takes, and how many writes.
        seed: Decides the moments.
    """

    def __init__(self, name: str, whole: Sequence[str], folder: Path, seed: int) -> None:
        self.name = name
        self.kills: Counter[str] = Counter()
        self.missed = 0
        self._dice = random.Random(seed)
        told = folder.with_name(f"{folder.name}.told")
        began = time.monotonic()
        assert self._ended(started(whole, folder, 0, told)) == 0
        self._seconds = time.monotonic() - began
        writes, first = told.read_text().split()
        self._writes, self._first = int(writes), float(first)
        assert self._writes > 3, "nothing to be killed in"

    @property
    def total(self) -> int:
        """How many kills have hit."""
        return self.kills.total()

    def strike(self, command: Sequence[str], folder: Path) -> bool:
        """Run a command and kill it at a moment; returns whether it was alive then. One that was done ended well."""
        kind = KINDS[(self.total + self.missed) % len(KINDS)]
        number = self._dice.randint(1, max(2, self._writes // 2)) if kind == "write" else 0
        before = stirred(folder)
        process = started(command, folder, number)
        if kind == "stir":
            while process.poll() is None and stirred(folder) == before:
                time.sleep(0.002)
            self._wait(process, self._dice.uniform(0, self._seconds - self._first))
        elif kind == "clock":
            self._wait(process, self._dice.uniform(0, self._seconds))
        if kind != "write":
            process.poll() is None and os.killpg(process.pid, signal.SIGKILL)
        ended = self._ended(process)
        assert ended in (0, -signal.SIGKILL), f"ended with {ended}: {' '.join(command)}"
        if ended == 0:
            self.missed += 1
        else:
            self.kills[kind] += 1
        logger.info("%s: %s %s", self.name, kind, "done before" if ended == 0 else f"killed, {self.total} by now")
        return ended != 0

    def spare(self, command: Sequence[str], folder: Path) -> None:
        """Let a command run to its end."""
        assert self._ended(started(command, folder, 0)) == 0

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        try:
            _, errors = process.communicate(timeout=LONGEST)
        finally:
            process.poll() is None and os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()[-3000:]
        return process.returncode


def tell(name: str, killers: Iterable[Killer], more: str = "") -> None:
    """Log how many kills there were."""
    kills = sum((killer.kills for killer in killers), start=Counter())
    kinds = ", ".join(f"{count} by {kind}" for kind, count in sorted(kills.items()))
    logger.warning("%s: survived %d kills (%s)%s", name, kills.total(), kinds, more)


def started(command: Sequence[str], folder: Path, number: int, told: Path | str = "") -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own; ``number``: it is killed before that write in the folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    program = (sys.executable, "-c", DYING, str(number), str(folder), str(told)) if number or told else PLAIN
    return subprocess.Popen(
        [*program, *map(str, command)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def stirred(folder: Path) -> set[tuple[str, int]]:
    """What changes when something is written in a folder: its files, with their sizes."""
    found = set()
    for root, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):  # it was a temporary one
                found.add((f"{root}/{name}", Path(root, name).stat().st_size))
    return found


def lines(path: Path) -> list[dict]:
    """The lines of a file of which every one is whole."""
    written = path.read_text(encoding="utf-8")
    assert written.endswith("\n")
    return [json.loads(line) for line in written.splitlines()]


def timeless(value):
    """A JSON value without times, in which equal runs differ."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if not key.endswith("seconds")}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def unfinished(folder: Path) -> list[str]:
    """Files that a killed writer left."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return [name for name in names if is_temporary(name) or name.endswith(".old")]
