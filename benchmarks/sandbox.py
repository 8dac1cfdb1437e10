"""The sandbox beside a Jupyter kernel an episode, and beside the original's way; interleaved, wall-clock, medians.

    python benchmarks/sandbox.py [--jupyter PYTHON] [--quick] [--out FILE]

PYTHON is an interpreter with ipykernel, jupyter_client and the sandbox's libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from deepeyes_env.sandbox import Session  # noqa: E402
from deepeyes_env.sandbox.local import LocalSandbox  # noqa: E402
from deepeyes_env.sandbox.local.memory import descendants  # noqa: E402

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2], [3, 4])\nplt.show()"
CROPS = [
    "a = image_1.crop((1000, 500, 1400, 900))\na.show()",
    "import numpy as np\nb = np.asarray(a).mean(axis=(0, 1))\nprint(b.round(1))",
    "a.resize((800, 800)).show()",
]
BUSY = "_end = _t.process_time() + 0.1\nwhile _t.process_time() < _end:\n    pass"
TIMED = "import time as _t\n_start = _t.process_time()\n{}\nprint('own', _t.process_time() - _start)"


class Jupyter:
    """The other side, in a process of its own."""

    def __init__(self, python: str) -> None:
        line = [python, str(ROOT / "benchmarks" / "jupyter_child.py")]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def __call__(self, order: str) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def photo(seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels = np.random.default_rng(seed).integers(0, 255, (2160, 3840, 3), np.uint8)
    pixels.flags.writeable = False
    return pixels


def new_session(sandbox: LocalSandbox, image: Any) -> float:
    started = time.perf_counter()
    with Session([image], sandbox=sandbox) as session:
        session.run("1 + 1")
        return time.perf_counter() - started


def speed(sandbox: LocalSandbox, jupyter: Jupyter | None, rounds: int) -> dict[str, float]:
    image, times = photo(), {}
    new_session(sandbox, image)
    kept = Session([image], sandbox=sandbox)
    kept.run("1 + 1")

    def cell() -> float:
        started = time.perf_counter()
        kept.run("1 + 1")
        return time.perf_counter() - started

    for _ in range(rounds):
        for name, one, count in (("session", lambda: new_session(sandbox, image), 5), ("cell", cell, 20)):
            times.setdefault(name, []).extend(one() for _ in range(count))
        for name, count in (("kernel", 1), ("cell", 20), ("original", 3)):
            if jupyter is not None:
                times.setdefault(f"jupyter {name}", []).extend(jupyter(name) for _ in range(count))
    kept.close()
    return {name: statistics.median(values) for name, values in times.items()}


def memory(sandbox: LocalSandbox, count: int) -> dict[str, float]:
    """Proportional memory of all sessions and the warm parent, each session after a cell that plots."""
    image = photo()
    sessions = [Session([image], sandbox=sandbox) for _ in range(count)]
    for session in sessions:
        assert len(session.run(PLOT).images) == 1
    total = 0
    for pid in descendants(sandbox.parent_pid):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += sum(map(int, re.findall(r"^Pss: +(\d+)", text, re.MULTILINE)))
    for session in sessions:
        session.close()
    return {f"GB of {count} sessions": total / 1e6}


def cpu(*pids: int) -> float:
    """CPU seconds of processes, all their threads together."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def rollouts(sandbox: LocalSandbox, count: int) -> dict[str, float]:
    """CPU time of a rollout of three cells beyond the programs' own, each on a 4K image of its own.

    It is what this process, the warm parent and the session take; only what the kernel does to end the session's
    processes cannot be asked for.
    """
    costs: dict[str, list[float]] = {"light": [], "busy": []}
    (warm,) = [pid for pid in descendants(sandbox.parent_pid) if pid != sandbox.parent_pid][:1]
    for number in range(count):
        image = photo(number)
        for kind, cells in (("light", CROPS), ("busy", [BUSY] * 3)):
            before, own, known = cpu(os.getpid(), warm), 0.0, sandbox.pids()
            with Session([image], sandbox=sandbox) as session:
                for code in cells:
                    result = session.run(TIMED.format(code))
                    assert result.error is None, result.stderr
                    own += float(result.stdout.rpartition("own ")[2])
                (pid,) = sandbox.pids() - known
                total = cpu(os.getpid(), warm) - before + cpu(*descendants(pid))
            costs[kind].append(total - own)
    light, busy = (statistics.median(costs[kind]) for kind in ("light", "busy"))
    return {"CPU s of a rollout beyond its programs": light, "share beyond programs of 100 ms": busy / 0.3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jupyter", default="", help="interpreter with ipykernel")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    few = options.quick
    jupyter = Jupyter(options.jupyter) if options.jupyter else None
    with LocalSandbox() as sandbox:
        sandbox.start()
        results: dict[str, Any] = {"load at start": os.getloadavg()[0], **speed(sandbox, jupyter, 2 if few else 6)}
        results |= memory(sandbox, 16 if few else 128)
        results |= rollouts(sandbox, 8 if few else 64)
        results["load at end"] = os.getloadavg()[0]
    if jupyter is not None:
        jupyter.close()
        results["session / kernel"] = results["session"] / results["jupyter kernel"]
        results["cell / original's"] = results["cell"] / results["jupyter original"]
    for name, value in results.items():
        print(f"{name:45} {value:.5f}")
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
