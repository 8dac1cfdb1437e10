"""What many rollouts cost: 4,096 at once against a simulated server, and rollouts over 1 to 8 Ray workers.

    python benchmarks/scaling.py concurrent [--images N] [--frame native|view] [--out FILE]
    python benchmarks/scaling.py workers [--rounds N] [--out FILE]

Images are one 4K photograph under as many digests, so each is read, decoded and kept as if it were another. The policy
looks at a crop of a megapixel in each of three turns and then answers.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import deepeyes_env  # noqa: E402, F401 - registers the environments
from benchmarks.sources import SIZES, jpeg, noisy_photo  # noqa: E402
from deepeyes_env import Sample, ViewBudget  # noqa: E402
from deepeyes_env.agents.play import Episode, Failure  # noqa: E402
from deepeyes_env.agents.play_async import env_maker, play_async  # noqa: E402
from deepeyes_env.core import Trajectory  # noqa: E402
from deepeyes_env.extras import import_extra  # noqa: E402
from deepeyes_env.images.frames import BBox, Frame, Size  # noqa: E402
from deepeyes_env.images.store import ImageStore  # noqa: E402

GROUP = 16
LOOKS = 3
TURNS = LOOKS + 1
CROP = (1008, 980)
"""Multiples of 28 native pixels within the view budget: shown as it is cut, without a copy."""

VIEW = ViewBudget(max_pixels=1280 * 28 * 28)
PROBE = 0.01
THOUGHT = "The sign that the question asks about is small; I look at that part of the picture more closely. " * 3

GB, GIB = 1e9, 2**30

logger = logging.getLogger("scaling")


def make_samples(number: int, folder: Path) -> list[Sample]:
    """Write 4K images to a folder, equal but for what follows the end of each, and ask a question about each."""
    data = jpeg(noisy_photo(SIZES["4K"]))
    samples = []
    for i in range(number):
        path = folder / f"{i}.jpg"
        path.write_bytes(data + i.to_bytes(4, "big"))
        options = ("red", "green", "blue", "yellow")
        samples.append(Sample(f"scaling-{i}", "Which colour is the sign?", "red", path, options=options))
    return samples


def random_crop(rng: random.Random, scene: Size) -> BBox:
    """Choose a box of ``CROP`` native pixels."""
    x, y = rng.randrange(scene[0] - CROP[0]), rng.randrange(scene[1] - CROP[1])
    return (x, y, x + CROP[0], y + CROP[1])


def message(turn: int, rng: random.Random, scale: float = 1.0) -> str:
    """Write what a policy might: a thought and a zoom, or a thought and an answer."""
    if turn == LOOKS:
        return f"<think>{THOUGHT}</think><answer>{rng.choice('ABCD')}</answer>"
    box = [round(side * scale) for side in random_crop(rng, SIZES["4K"])]
    call = {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": box, "label": "sign"}}
    return f"<think>{THOUGHT}</think><tool_call>{json.dumps(call)}</tool_call>"


class SimulatedServer:
    """A policy behind a server that is asked for all its messages at once, and measures how late its event loop is.

    No first message is written before every rollout waits for one: then all are under way at the same time.

    Attributes:
        concurrency: How many conversations there are.
        lags: By how many seconds each of its short sleeps was too long.
    """

    name = "simulated"

    def __init__(self, concurrency: int, frame: Frame) -> None:
        self.concurrency = concurrency
        self.lags: list[float] = []
        self._frame = frame
        self._waiting = 0
        self._all_wait = asyncio.Event()
        self._probe: asyncio.Task[None] | None = None

    async def reply(self, episode: Trajectory) -> str:
        """Write a message, in about the time of 60 to 200 tokens of a busy server."""
        if self._probe is None:
            self._probe = asyncio.create_task(self._measure())
        turn = len(episode.turns)
        if not turn:
            self._waiting += 1
            if self._waiting == self.concurrency:
                self._all_wait.set()
            await self._all_wait.wait()
        rng = random.Random(repr((episode.metadata["episode"], turn)))
        await asyncio.sleep(0.3 + rng.randint(60, 200) * 0.03)
        width, _ = episode.prompt.images[0].size
        return message(turn, rng, 1.0 if self._frame == "native" else width / SIZES["4K"][0])

    async def _measure(self) -> None:
        while True:
            self.lags.append(await late())


async def late() -> float:
    """Sleep for a moment; returns by how many seconds that was too long."""
    due = time.perf_counter() + PROBE
    await asyncio.sleep(PROBE)
    return time.perf_counter() - due


class IdleLoop:
    """The same measurement in a process that does nothing else: what the machine itself adds meanwhile."""

    def __enter__(self) -> IdleLoop:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "idle"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.lags: list[float] = json.loads(self._process.communicate()[0])

    @staticmethod
    async def run() -> None:
        """Measure until the standard input is closed."""
        over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        lags = []
        while not over.done():
            lags.append(await late())
        print(json.dumps(lags))


class Collections:
    """How long the garbage collector took, in seconds of its thread's CPU time."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0
        gc.callbacks.append(self)

    def __call__(self, phase: str, _: Any) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            self.seconds.append(time.thread_time() - self._began)


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """Return some percentiles."""
    ordered = sorted(seconds)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
    return {name: 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in shares.items()}


def concurrent(images: int, frame: Frame) -> Mapping[str, Any]:
    """Play 16 rollouts of each image, all at once, and keep all trajectories to the end."""
    rollouts = images * GROUP
    with tempfile.TemporaryDirectory() as folder:
        server = SimulatedServer(rollouts, frame)
        make = env_maker(
            "VisualToolbox-v2",
            **{"dataset": make_samples(images, Path(folder)), "store": ImageStore(max_bytes=12 * GIB)},
            **{"frame": frame, "view": VIEW, "max_turns": TURNS},
        )
        before, began, cpu = _resident(), time.perf_counter(), time.process_time()
        episodes = (Episode(i, seed=i // GROUP, index=i // GROUP) for i in range(rollouts))
        collections = Collections()
        with IdleLoop() as idle:
            ended = list(play_async(make, server, episodes))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    failed = [end.error for end in ended if isinstance(end, Failure)]
    played = [end for end in ended if isinstance(end, Trajectory)]
    return {
        "rollouts": rollouts,
        "frame": frame,
        "failed": len(failed),
        "errors": failed[:3],
        "stop_reasons": Counter(episode.stop_reason for episode in played),
        "crops": sum(len(episode.results) for episode in played),
        "failed_calls": sum(not result.ok for episode in played for result in episode.results),
        "seconds": seconds,
        "cpu_ms_per_rollout": 1000 * cpu / rollouts,
        "decoded_images_gb": images * SIZES["4K"][0] * SIZES["4K"][1] * 3 / GB,
        "resident_before_gib": before / GIB,
        "peak_resident_gib": _peak(resource.RUSAGE_SELF) + _peak(resource.RUSAGE_CHILDREN),
        "threads": threading.active_count(),
        "lag_ms": milliseconds(server.lags),
        "lag_of_an_idle_loop_ms": milliseconds(idle.lags),
        "garbage_collection_cpu_ms": milliseconds(collections.seconds),
        "probes": len(server.lags),
        "load": os.getloadavg(),
    }


def _peak(who: int) -> float:
    return resource.getrusage(who).ru_maxrss * 1024 / GIB


def _resident() -> int:
    return int(import_extra("psutil", "bench").Process().memory_info().rss)


# --- Ray workers -----------------------------------------------------------------------------------------------------


def workers(rounds: int, counts: tuple[int, ...] = (1, 2, 4, 8)) -> Mapping[str, Any]:
    """Play eight groups over different numbers of Ray workers, in random order, several times."""
    ray = import_extra("ray", "ray")
    ray.init(num_cpus=max(counts), object_store_memory=3 * GIB, include_dashboard=False, logging_level="ERROR")
    seen: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory() as folder:
        samples = make_samples(max(counts), Path(folder))
        for number in range(rounds):
            for count in random.Random(number).sample(counts, len(counts)):
                seen[count].append(_over_workers(samples, count))
                logger.info("%d workers: %s", count, seen[count][-1])
    ray.shutdown()
    medians = {
        str(count): {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        for count, runs in seen.items()
    }
    return {"rollouts": max(counts) * GROUP, "rounds": rounds, "per_rollout": medians, "load": os.getloadavg()}


def _over_workers(samples: list[Sample], count: int) -> dict[str, float]:
    """Play one episode in each environment; returns what that cost, divided by the rollouts."""
    from deepeyes_env.envs.vector import RayVectorEnv

    psutil = import_extra("psutil", "bench")
    rollouts = len(samples) * GROUP
    settings = {"dataset": samples, "frame": "native", "view": VIEW, "max_turns": TURNS}
    envs = RayVectorEnv("VisualToolbox-v2", rollouts, group_size=GROUP, num_actors=count, **settings)
    try:
        actors = [psutil.Process(pid) for pid in envs.actor_pids()]
        here = psutil.Process()
        idle = sum(actor.memory_info().rss for actor in actors) / count
        with _counted_bytes() as moved:
            began = [_cpu(process) for process in (here, *actors)]
            envs.reset(seed=0)
            for turn in range(TURNS):
                rngs = [random.Random(repr((i, turn))) for i in range(rollouts)]
                envs.step([message(turn, rng) for rng in rngs])
            spent = [_cpu(process) - before for process, before in zip((here, *actors), began, strict=True)]
        private = sum(actor.memory_full_info().uss for actor in actors)
        return {
            "env_cpu_ms": 1000 * sum(spent[1:]) / rollouts,
            "driver_cpu_ms": 1000 * spent[0] / rollouts,
            "moved_mb": sum(moved) / 1e6 / rollouts,
            "worker_idle_mb": idle / 1e6,
            "worker_private_mb": private / count / 1e6,
        }
    finally:
        envs.close()


class _counted_bytes:  # noqa: N801 - used as a function
    """Count the bytes of every answer that comes back from a worker."""

    def __enter__(self) -> list[int]:
        from deepeyes_env.envs.vector import ray

        self._unpack, counts = ray.unpack, list[int]()

        def counted(packed: Any) -> Any:
            counts.append(len(packed[0]) + packed[1].nbytes)
            return self._unpack(packed)

        ray.unpack = counted
        return counts

    def __exit__(self, *_: object) -> None:
        from deepeyes_env.envs.vector import ray

        ray.unpack = self._unpack


def _cpu(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    """Measure, and write down what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["concurrent", "workers", "idle"])
    parser.add_argument("--images", type=int, default=256, help="images of which 16 rollouts each are played at once")
    parser.add_argument("--frame", choices=["native", "view"], default="native", help="whose pixels boxes are in")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each number of workers")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    if args.what == "idle":
        asyncio.run(IdleLoop.run())
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    measured = concurrent(args.images, args.frame) if args.what == "concurrent" else workers(args.rounds)
    text = json.dumps({"python": platform.python_version(), "cpus": os.cpu_count(), **measured}, indent=2)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")
    logger.info("%s", text)


if __name__ == "__main__":
    main()
