"""Cost of a curation: calls that shared answers save, the client's CPU for a question, requests in flight.

    python benchmarks/curate.py [--quick] [--only SECTION] [--out FILE]

Against a server that answers at once, or after 2 s, and reads nothing; it has a process of its own. CPU time of this
process; medians. Ratios are what counts: milliseconds differ from machine to machine and from minute to minute.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks.agent_requests import IN_FLIGHT, null_server, stats  # noqa: E402
from benchmarks.env_step import Measurement, report  # noqa: E402
from benchmarks.sources import SIZES, jpeg, noisy_photo  # noqa: E402
from deepeyes_env import Sample, ViewBudget  # noqa: E402
from deepeyes_env.agents.curation import (  # noqa: E402
    Asking,
    Curation,
    label_answers,
    label_by_model,
    label_format,
)
from deepeyes_env.agents.evaluation import Scoring  # noqa: E402
from deepeyes_env.agents.openai import OpenAIAgent  # noqa: E402
from deepeyes_env.images.codec import decode, encode  # noqa: E402
from deepeyes_env.images.ops import fit  # noqa: E402
from deepeyes_env.images.views import shown_size  # noqa: E402
from deepeyes_env.judges import RuleJudge  # noqa: E402

K = 8
STAGES = ("label", "difficulty", "utility", "gain")
BOX = (400.0, 300.0, 900.0, 700.0)


def questions(count: int, size: tuple[int, int], batch: int = 0) -> list[Sample]:
    """Questions about images that are all different, and others in each batch."""
    pixels = np.asarray(noisy_photo(size))
    images = (jpeg(Image.fromarray(np.roll(pixels, 7 * (i + batch * count), axis=1))) for i in range(count))
    return [Sample(f"s{i}", "What is it?", "a cup", image, boxes=(BOX,)) for i, image in enumerate(images)]


def curate(url: str, dataset: Sequence[Sample], folder: Path, stages: Sequence[str]) -> dict[str, float]:
    """Run stages in a folder; returns what the server saw."""
    curation = Curation(folder, dataset, {"open": True})
    label_format(dataset, folder, progress=False)
    agent = OpenAIAgent("null", url, concurrency=IN_FLIGHT)
    scoring = Scoring(RuleJudge(), "rules")
    asking = Asking(agent, scoring, k=K, episodes=False, progress=False, env_kwargs={"max_turns": 2, "frame": "native"})
    stats(url)
    for stage in stages:
        if stage == "label":
            label_answers(curation, asking)
        else:
            label_by_model(curation, stage, asking)
    return stats(url)


def saving_row(count: int) -> Measurement:
    """Calls with answers that stages share, and with each stage on its own."""
    dataset = questions(count, (640, 480))
    with tempfile.TemporaryDirectory() as folder, null_server(0.0) as url:
        shared = curate(url, dataset, Path(folder, "shared"), STAGES)["requests"]
        alone = sum(curate(url, dataset, Path(folder, stage), [stage])["requests"] for stage in STAGES)
    detail = f"{shared / count:.0f} instead of {alone / count:.0f} calls a question, {K} answers each"
    return Measurement("calls of all stages, shared: each afresh", shared / alone, "x", None, detail)


def cpu_rows(count: int, rounds: int) -> list[Measurement]:
    """CPU of the client for a question of the stage difficulty, and of the JPEG that it sends.

    Each round has images that nobody has decoded yet, and both ways take all of them.
    """
    rows = []
    for name, size in (("4K", SIZES["4K"]), ("1 MP", (1152, 896))):
        view = shown_size(size, ViewBudget())
        asked, sent = [], []
        with tempfile.TemporaryDirectory() as folder, null_server(0.0) as url:
            for number in range(rounds + 1):
                dataset = questions(count, size, number)
                files = [sample.images[0].encoded() for sample in dataset]
                out = Path(folder, str(number))
                label_format(dataset, out, progress=False)
                began = time.process_time()
                for data in files:
                    encode(fit(decode(data), view), "jpeg", 90)
                between = time.process_time()
                seen = curate(url, dataset, out, ["difficulty"])
                ended = time.process_time()
                if seen["requests"] != K * count:
                    raise AssertionError(f"{seen['requests']} requests for {count} questions")
                sent.append((between - began) * 1e3 / count)
                asked.append((ended - between) * 1e3 / count)
        ratios = sorted(one / other for one, other in zip(asked[1:], sent[1:], strict=True))  # the first one warms up
        cpu = statistics.median(asked[1:])
        detail = (
            f"{ratios[0]:.2f} to {ratios[-1]:.2f}; {cpu:.1f} ms CPU for {K} answers; decoding, "
            f"fitting to {view[0]} x {view[1]} and encoding once {statistics.median(sent[1:]):.1f} ms"
        )
        rows.append(Measurement(f"CPU of a question, {name}", statistics.median(ratios), "x the JPEG", "< 2", detail))
    return rows


def flight_row(count: int) -> Measurement:
    """Requests in flight at a server that takes 2 s."""
    dataset = questions(count, (640, 480))
    with tempfile.TemporaryDirectory() as folder, null_server(2.0) as url:
        began = time.perf_counter()
        seen = curate(url, dataset, Path(folder), ["difficulty"])
        wall = time.perf_counter() - began
    detail = (
        f"mean from the first time that {seen['peak']} were in flight to the last request; {seen['mean']:.1f} over "
        f"{wall:.1f} s, beginning and end included; the server takes 2 s to answer"
    )
    return Measurement("requests in flight", seen["full"], "at once", f"{IN_FLIGHT}", detail)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer questions and rounds")
    parser.add_argument("--only", choices=["calls", "cpu", "flight"], help="one section")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "curate.json")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    rows: list[Measurement] = []
    if args.only in (None, "calls"):
        rows.append(saving_row(4 if args.quick else 16))
    if args.only in (None, "cpu"):
        rows += cpu_rows(6 if args.quick else 16, 1 if args.quick else 5)
    if args.only in (None, "flight"):
        rows.append(flight_row(IN_FLIGHT // 2 if args.quick else IN_FLIGHT))
    report(rows, args.out)


if __name__ == "__main__":
    main()
