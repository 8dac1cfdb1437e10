"""Cost of an environment step, compared with the image operations that it cannot avoid.

    python benchmarks/env_step.py [--quick] [--verl PYTHON] [--out FILE]

One process unless a section says otherwise; candidates interleaved; CPU time; medians. Ratios are what counts:
milliseconds differ from machine to machine and from minute to minute.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

import deepeyes_env  # noqa: E402, F401 - registers the environments
from benchmarks import pipelines  # noqa: E402
from benchmarks.pipelines import EnvironmentBatch, random_boxes, zoom_text  # noqa: E402
from benchmarks.sources import SIZES, all_sources, jpeg, noisy_photo  # noqa: E402
from benchmarks.timing import interleaved  # noqa: E402
from deepeyes_env import Sample, ViewBudget  # noqa: E402
from deepeyes_env.extras import import_extra  # noqa: E402
from deepeyes_env.images.codec import decode  # noqa: E402

import_extra("psutil", "bench")  # what a process of its own measures memory with, minutes later

STEPS = 200
"""Zooms of an episode without views, so that both sides of the comparison run in a warm loop."""


@dataclass(frozen=True)
class Measurement:
    """One line of the table.

    Attributes:
        name: What is measured, and on what.
        value: The ratio, or steps per second.
        unit: Of what to what.
        limit: The project's target; ``None`` where it has none.
        detail: The measured medians.
    """

    name: str
    value: float
    unit: str
    limit: str | None = None
    detail: str = ""


def zoom_rows(name: str, data: bytes, rounds: int) -> list[Measurement]:
    """Zoom steps on a box of 25 % of the image, without and with a view budget."""
    pixels = decode(data)
    height, width = pixels.shape[:2]
    box = (width // 4, height // 4, width // 4 + width // 2, height // 4 + height // 2)
    sample = Sample("s", "What?", "a", data)
    call = json.dumps({"name": "image_zoom_in_tool", "arguments": {"bbox_2d": list(box)}})
    pil = Image.fromarray(pixels)
    x1, y1, x2, y2 = box
    crop = pil.crop(box)
    shown = ViewBudget().fit(crop.size)

    def parse_and_slice() -> np.ndarray:
        a, b, c, d = json.loads(call)["arguments"]["bbox_2d"]
        return pixels[b:d, a:c]

    candidates: dict[str, Callable[[], object]] = {
        "pillow crop": lambda: pil.crop(box).load(),
        "json + slice": parse_and_slice,
        "pillow resize": lambda: Image.fromarray(pixels[y1:y2, x1:x2]).resize(shown, Image.Resampling.BICUBIC),
        "resize of a ready PIL crop": lambda: crop.resize(shown, Image.Resampling.BICUBIC),
    }
    before: dict[str, Callable[[], object]] = {}
    modes = ["exact", "fast"] if _torch_threads() else ["exact"]
    limits = {"max_turns": STEPS + 1, "max_images": STEPS + 2}
    kinds = {"native step": {"view": None}} | {f"{mode} step": {"view": ViewBudget(), "resize": mode} for mode in modes}
    for kind, kwargs in kinds.items():
        env = gym.make("VisualToolbox-v2", dataset=[sample], frame="native", rubric=None, **limits, **kwargs)
        action = zoom_text(box)
        candidates[kind] = lambda env=env, action=action: env.step(action)
        before[kind] = lambda env=env: env.reset(seed=0)
    if "fast" in modes:
        candidates["torch resize"] = _torch_resize(pixels[y1:y2, x1:x2], shown)
    repeats = {"json + slice": 2000, "native step": STEPS, "fast step": 5, "torch resize": 5}
    times = interleaved(candidates, rounds=rounds, repeats=repeats, before=before)
    ms = {key: timing.median for key, timing in times.items()}

    def row(what: str, ours: str, theirs: str, limit: str | None) -> Measurement:
        detail = f"{ms[ours]:.4f} ms / {ms[theirs]:.4f} ms"
        return Measurement(f"{what}, {name}", ms[ours] / ms[theirs], f"x {theirs}", limit, detail)

    first = "<= 0.1" if name.endswith("4K") else None
    rows = [
        row("zoom step, view=None", "native step", "pillow crop", first),
        row("zoom step, view=None", "native step", "json + slice", "<= 20"),
        row("zoom step, view budget, exact", "exact step", "pillow resize", "<= 1.2"),
        row("zoom step, view budget, exact", "exact step", "resize of a ready PIL crop", None),
    ]
    if "fast" in modes:
        rows.append(row("zoom step, view budget, fast", "fast step", "torch resize", "<= 1.2"))
    return rows


def _torch_threads() -> bool:
    try:
        import torch
    except ImportError:
        return False
    torch.set_num_threads(1)
    return True


def _torch_resize(pixels: np.ndarray, size: tuple[int, int]) -> Callable[[], object]:
    import torch

    tensor = torch.from_dlpack(pixels)[None].permute(0, 3, 1, 2)  # channels last, the faster layout
    return lambda: torch.nn.functional.interpolate(tensor, size=size[::-1], mode="bicubic", antialias=True)


def batch_rows(rounds: int, naive_rollouts: int) -> list[Measurement]:
    """8 prompts x 16 rollouts x 2 zooms to uint8 views."""
    budget = ViewBudget()
    encoded = [jpeg(noisy_photo(SIZES["4K"], seed)) for seed in range(8)]
    n = pipelines.ROLLOUTS * pipelines.ZOOMS
    boxes = [random_boxes(SIZES["4K"], n, seed) for seed in range(8)]
    ours = EnvironmentBatch(encoded, boxes, budget)
    if ours() != pipelines.floor(encoded, boxes, budget):
        raise AssertionError("the pipelines do not make the same views")
    times = interleaved({"ours": ours, "floor": lambda: pipelines.floor(encoded, boxes, budget)}, rounds=rounds)
    ms = {key: timing.median for key, timing in times.items()}
    start = time.process_time()
    pipelines.naive(encoded, boxes, budget, naive_rollouts)
    naive_ms = (time.process_time() - start) * 1e3 * pipelines.ROLLOUTS / naive_rollouts
    note = f"naive measured on {naive_rollouts} of {pipelines.ROLLOUTS} rollouts of each prompt"
    return [
        Measurement(
            "batch of 8 x 16 x 2, 4K",
            ms["ours"] / ms["floor"],
            "x floor",
            "<= 1.2",
            f"{ms['ours']:.0f} ms / {ms['floor']:.0f} ms",
        ),
        Measurement(
            "batch of 8 x 16 x 2, 4K",
            naive_ms / ms["ours"],
            "x faster than naive",
            ">= 20",
            f"{naive_ms:.0f} ms; {note}",
        ),
    ]


def memory_rows() -> list[Measurement]:
    """Resident memory of 64 rollouts of one 4K image against 1, each in a process of its own."""

    def resident(rollouts: int, view: str) -> int:
        command = [sys.executable, "-m", "benchmarks.memory_child", str(rollouts), view]
        return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)

    rows = []
    for view, limit in (("native", "<= 1.05"), ("budget", None)):
        one, many = (statistics.median(resident(n, view) for _ in range(3)) for n in (1, 64))
        name = "memory, 64 rollouts of one 4K image" + ("" if view == "native" else ", views of 1 MP kept")
        rows.append(Measurement(name, many / one, "x 1 rollout", limit, f"{many / 1e6:.1f} MB / {one / 1e6:.1f} MB"))
    return rows


def vector_rows(steps: int) -> list[Measurement]:
    """Steps per second of wall-clock time on the built-in task: zoom, zoom, answer, with autoreset."""
    actions = [zoom_text([10, 10, 120, 120]), zoom_text([60, 40, 200, 180]), "<answer>A</answer>", ""]
    rows = []
    for kind in ("sync", "thread", "ray"):
        for n in (1, 8, 64):
            envs = _vector_env(kind, n)
            envs.reset(seed=0)
            for action in actions:
                envs.step([action] * n)
            rounds = max(len(actions), steps // n // len(actions) * len(actions))
            start = time.perf_counter()
            for k in range(rounds):
                envs.step([actions[k % len(actions)]] * n)
            rate = rounds * n / (time.perf_counter() - start)
            envs.close()
            rows.append(Measurement(f"vector env, {kind}, {n} envs", rate, "steps/s"))
    return rows


def _vector_env(kind: str, n: int) -> Any:
    if kind == "sync":
        return gym.make_vec("VisualToolbox-v2", num_envs=n, vectorization_mode="sync")
    if kind == "thread":
        return gym.make_vec("VisualToolbox-v2", num_envs=n, vectorization_mode="vector_entry_point")
    from deepeyes_env.envs.vector.ray import RayVectorEnv

    return RayVectorEnv("VisualToolbox-v2", n)


def verl_rows(python: str, rounds: int) -> list[Measurement]:
    """verl 0.7.1's ImageZoomInTool on the same boxes; ``python`` is an interpreter that has it."""
    data = jpeg(noisy_photo(SIZES["4K"]))
    image_file = ROOT / "benchmarks" / "results" / "verl_source.jpg"
    image_file.parent.mkdir(exist_ok=True)
    image_file.write_bytes(data)
    boxes = random_boxes(SIZES["4K"], rounds, 0)
    command = [python, str(ROOT / "benchmarks" / "verl_child.py"), str(image_file), json.dumps(boxes)]
    theirs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    image_file.unlink()
    env = gym.make("VisualToolbox-v2", dataset=[Sample("s", "?", "a", data)], frame="native", view=None, rubric=None)
    ours = []
    for box in boxes:
        env.reset(seed=0)
        start = time.process_time()
        env.step(zoom_text(box))
        ours.append((time.process_time() - start) * 1e3)
    median = statistics.median(ours)
    return [
        Measurement(
            "zoom of 4K, verl 0.7.1's tool",
            theirs["median_ms"] / median,
            "x ours",
            None,
            f"{theirs['median_ms']:.2f} ms / {median:.4f} ms",
        )
    ]


def report(rows: list[Measurement], out: Path) -> None:
    """Print the table and write it as JSON."""
    width = max(len(row.name) for row in rows)
    for row in rows:
        limit = f"  target {row.limit}" if row.limit else ""
        print(f"{row.name:{width}}  {row.value:10.3f} {row.unit}{limit}  {row.detail}")
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "platform": platform.machine()}
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_suffix(".tmp")
    draft.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    draft.replace(out)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, 4K only")
    parser.add_argument("--verl", metavar="PYTHON", help="an interpreter with verl 0.7.1, to measure its tool as well")
    parser.add_argument("--only", choices=["zoom", "batch", "memory", "vector"], help="one section")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "env_step.json")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    wanted = [args.only] if args.only else ["zoom", "batch", "memory", "vector"]
    rows: list[Measurement] = []
    if "zoom" in wanted:
        for name, data in all_sources(("4K",) if args.quick else ("4K", "8K")).items():
            rows += zoom_rows(name, data, 5 if args.quick else 15)
    if "batch" in wanted:
        rows += batch_rows(2 if args.quick else 9, 1)
    if "memory" in wanted:
        rows += memory_rows()
    if "vector" in wanted:
        rows += vector_rows(64 if args.quick else 768)
    if args.verl:
        rows += verl_rows(args.verl, 15)
    report(rows, args.out)


if __name__ == "__main__":
    main()
