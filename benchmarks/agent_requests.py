"""Client cost of requests to a model server: building requests, recording crops, turns with an instant server.

    python benchmarks/agent_requests.py [--quick] [--out FILE]

Candidates interleaved; CPU time of this process; medians. The server of the last part runs in a process of its own.
Ratios are what counts: milliseconds differ from machine to machine and from minute to minute.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import gymnasium as gym  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks.env_step import Measurement, report  # noqa: E402
from benchmarks.null_server import BOX  # noqa: E402
from benchmarks.pipelines import zoom_text  # noqa: E402
from benchmarks.sources import SIZES, all_sources  # noqa: E402
from benchmarks.timing import interleaved  # noqa: E402
from deepeyes_env import (  # noqa: E402
    Sample,
    ViewBudget,
    agents,
)
from deepeyes_env.agents.openai import OpenAIAgent  # noqa: E402
from deepeyes_env.agents.openai.data_urls import DataUrls  # noqa: E402
from deepeyes_env.agents.openai.requests import body_of, messages_for_server, urls_of  # noqa: E402
from deepeyes_env.core import Trajectory  # noqa: E402
from deepeyes_env.images.codec import chroma_of, decode, encode  # noqa: E402

TURNS = 4
IN_FLIGHT = 64
SETTINGS = {"model": "m", "temperature": 0.0, "max_tokens": 2048}


def boxes(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Boxes of a megapixel for all turns but the last, which answers."""
    return [(k * 400, k * 300, k * 400 + BOX[0], k * 300 + BOX[1]) for k in range(TURNS - 1)]


def states(data: bytes, size: tuple[int, int], view: ViewBudget | None) -> list[Trajectory]:
    """Play an episode; return what the agent is asked about at each turn."""
    kwargs = {"dataset": [Sample("s", "What?", "a", data)], "frame": "native", "view": view, "rubric": None}
    env: Any = gym.make("VisualToolbox-v2", **kwargs).unwrapped
    env.reset(seed=0)
    asked = [env.trajectory]
    for box in boxes(size):
        env.step(zoom_text(box))
        asked.append(env.trajectory)
    return asked


def dumps(request: object) -> bytes:
    """Write a request as the ``openai`` package does."""
    return json.dumps(request, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def png_url(image: Image.Image) -> str:
    """Encode as PNG, with the defaults of Pillow and of the standard library."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def request_of(urls: Sequence[str]) -> dict[str, Any]:
    """A request with one message an image."""
    parts = [[{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}] for url in urls]
    return {**SETTINGS, "messages": [{"role": "user", "content": part} for part in parts]}


class EpisodeRequests:
    """One episode's requests, built in several ways; prepared anew before each, so that nothing is cached."""

    def __init__(self, data: bytes, size: tuple[int, int], view: ViewBudget | None) -> None:
        self.data, self.size, self.view = data, size, view
        self.prepare()

    def prepare(self) -> None:
        """Play the episode."""
        self.asked = states(self.data, self.size, self.view)
        last = self.asked[-1]
        refs = [*last.prompt.images, *(ref for turn in last.turns for ref in turn.observation.images)]
        self.pictures = [Image.fromarray(ref.pixels()) for ref in refs]

    def ours(self) -> int:
        """As OpenAIAgent does."""
        urls = DataUrls()
        return sum(len(body_of(SETTINGS, messages_for_server(asked), urls_of(asked, urls))) for asked in self.asked)

    def everything(self) -> int:
        """PNG and base64 of every image in every turn."""
        return sum(
            len(dumps(request_of([png_url(picture) for picture in self.pictures[: turn + 1]]))) for turn in range(TURNS)
        )

    def script(self) -> int:
        """As the original's V* script: the file's bytes, PNG of each crop once, and JSON of all of it every turn."""
        urls = [f"data:image/jpeg;base64,{base64.b64encode(self.data).decode()}"]
        sent = len(dumps(request_of(urls)))
        for picture in self.pictures[1:]:
            urls.append(png_url(picture))
            sent += len(dumps(request_of(urls)))
        return sent


def building_rows(sources: dict[str, bytes], rounds: int) -> list[Measurement]:
    """4-turn episodes of a 4K image with three crops of a megapixel."""
    rows = []
    for name, data in sources.items():
        for shown, view in (("native", None), ("first image at 1 MP", ViewBudget())):
            episode = EpisodeRequests(data, SIZES["4K"], view)
            ways: dict[str, Callable[[], object]] = {"ours": episode.ours, "everything": episode.everything}
            if view is None:
                ways["script"] = episode.script
            times = interleaved(ways, rounds=rounds, before={"ours": episode.prepare})
            ms = {way: timing.median for way, timing in times.items()}
            title = f"requests of a {TURNS}-turn episode, {name}, {shown}"

            def row(
                way: str, unit: str, limit: str | None, title: str = title, ms: dict[str, float] = ms
            ) -> Measurement:
                return Measurement(title, ms[way] / ms["ours"], unit, limit, f"{ms[way]:.1f} ms / {ms['ours']:.1f} ms")

            rows.append(row("everything", "x ours: PNG + base64 of everything each turn", ">= 20"))
            if view is None:
                rows.append(row("script", "x ours: the original's V* script", None))
    return rows


@contextlib.contextmanager
def null_server(delay: float) -> Iterator[str]:
    """Start the null server; gives its base URL."""
    size = [str(side) for side in SIZES["4K"]]
    command = [sys.executable, "-m", "benchmarks.null_server", *size, str(delay)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def stats(url: str) -> dict[str, float]:
    """Ask the null server what it saw since it was last asked."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/stats") as answer:
        return dict(json.load(answer))


def play(url: str, data: bytes, episodes: int) -> tuple[float, float, dict[str, float]]:
    """Play episodes of four turns; returns CPU ms a turn, wall-clock seconds and what the server saw."""
    agent = OpenAIAgent("null", url, concurrency=IN_FLIGHT)
    kwargs = {"dataset": [Sample("s", "What?", "a", data)], "frame": "native", "rubric": None, "max_turns": TURNS}
    agents.rollout("VisualToolbox-v2", agent, episodes=2, progress=False, **kwargs)  # decodes, and connects
    stats(url)
    wall, cpu = time.perf_counter(), time.process_time()
    run = agents.rollout("VisualToolbox-v2", agent, episodes=episodes, progress=False, **kwargs)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    seen = stats(url)
    if run.failures or seen["requests"] != episodes * TURNS:
        raise AssertionError(f"{len(run.failures)} failures, {seen['requests']} requests")
    return cpu * 1e3 / seen["requests"], wall, seen


def encoding_ms(data: bytes) -> float:
    """CPU time of what no client can avoid for a crop that it sends as JPEG."""
    crop = decode(data)[: BOX[1], : BOX[0]]
    timing = interleaved({"crop": lambda: encode(crop, "jpeg", chroma=chroma_of(data))}, repeats={"crop": 5})
    return timing["crop"].median


def turn_rows(sources: dict[str, bytes], episodes: int, rounds: int) -> list[Measurement]:
    """Whole turns: environment, encoding of a 1-megapixel crop, HTTP."""
    rows = []
    for name, data in sources.items():
        with null_server(0.0) as url:
            played = [play(url, data, episodes) for _ in range(rounds)]
        cpu = statistics.median(ms for ms, _, _ in played)
        rate = statistics.median(seen["requests"] / wall for _, wall, seen in played)
        detail = (
            f"lowest {min(ms for ms, _, _ in played):.2f} ms; the JPEG of a crop alone takes {encoding_ms(data):.2f} "
            f"ms, and 3 of {TURNS} requests have a new one; {rate:.0f} turns/s"
        )
        rows.append(Measurement(f"turn with a 1 MP crop, {name}", cpu, "ms CPU of the client", "< 5", detail))
    with null_server(2.0) as url:
        _, wall, seen = play(url, data, 3 * IN_FLIGHT)
    detail = f"mean {seen['mean']:.1f} over {wall:.1f} s, beginning and end included; the server takes 2 s to answer"
    rows.append(Measurement("requests in flight", seen["peak"], "at once", f">= {IN_FLIGHT}", detail))
    return rows


def recording_rows(sources: dict[str, bytes]) -> list[Measurement]:
    """Recording a crop: PNG as Pillow writes it in its greatest haste, and as we do."""
    rows = []
    for name, data in sources.items():
        crop = decode(data)[: BOX[1], : BOX[0]]
        image = Image.fromarray(crop)

        def pillow(image: Image.Image = image) -> bytes:
            buffer = io.BytesIO()
            image.save(buffer, "PNG", compress_level=1)
            return buffer.getvalue()

        def ours(crop: np.ndarray = crop) -> bytes:
            return encode(crop, "png")

        ms = {way: timing.median for way, timing in interleaved({"pillow": pillow, "ours": ours}).items()}
        sizes = f"{len(pillow()) / 2**20:.2f} MB / {len(ours()) / 2**20:.2f} MB"
        detail = f"{ms['pillow']:.1f} ms / {ms['ours']:.1f} ms; {sizes}"
        rows.append(
            Measurement(f"PNG of a 1 MP crop, {name}", ms["pillow"] / ms["ours"], "x ours: Pillow", None, detail)
        )
    return rows


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--only", choices=["building", "turns", "recording"], help="one section")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "agent_requests.json")
    args = parser.parse_args()
    sources = all_sources(("4K",))
    rows: list[Measurement] = []
    if args.only in (None, "building"):
        rows += building_rows(sources, 1 if args.quick else 3)
    if args.only in (None, "recording"):
        rows += recording_rows(sources)
    if args.only in (None, "turns"):
        rows += turn_rows(sources, IN_FLIGHT if args.quick else 2 * IN_FLIGHT, 1 if args.quick else 3)
    report(rows, args.out)


if __name__ == "__main__":
    main()
