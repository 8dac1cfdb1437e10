"""Mutated messages, in threads and over Ray: nothing a policy writes, and nothing a tool does, ends a run.

    python -m tests.envs.fuzz [--messages 1000000] [--out runs/fuzz] [--seed 0] [--part 1/4]

Messages come in shards of 1,000, of which every fifth is played over Ray. A shard follows from the seed and its number
alone. Shards that have passed are listed in ``shards.jsonl`` and are not played again: a run that was ended goes on.
Several processes share the work by ``--part``. The first shard that fails ends the run with its number.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import pickle
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepeyes_env import ImageRef, Sample, ToolCall, ViewBudget, VisualToolboxEnv
from deepeyes_env.addressing import ADDRESSINGS
from deepeyes_env.core import Trajectory
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.envs import register_toolbox
from deepeyes_env.envs.vector import make_vector_env
from deepeyes_env.envs.vector.actor import get_ray
from deepeyes_env.envs.vector.base import BatchedVectorEnv
from deepeyes_env.trajectories import schema
from tests.envs.fuzz_sources import questions
from tests.envs.fuzz_tools import RARE, TIMEOUT, WAYS, Misbehaves

SHARD = 1000
NUM_ENVS = 16
SNAPSHOT_EVERY = 20
VIEW = ViewBudget(max_pixels=112 * 112)
TOOLBOXES = [
    *(f"VisualToolbox-v{n}" for n in range(1, 6)),
    *(f"VisualToolbox{name}-v0" for name in ("Native", "Qwen3VL", "MiniO3", "Named")),
    "HostileTools-v0",
    "HostileTools-v5",
    *(f"HostileTools{name}-v0" for name in ADDRESSINGS),
]
ALONE = 6
"""Of the first so many toolboxes, a question has one image."""
ARGUMENTS = ("img_idx", "source", "image")
IMAGE_NAMES = (
    0, 1, 2, 3, 9, -1, True, 1.0, None, "1", "original_image", "original_image_1", "original_image_2", "observation_1",
    "observation_2", "image_1", "image_2", "image_3", "image_4",
)  # fmt: skip
FRAGMENTS = [
    "<tool_call>", "</tool_call>", "<answer>", "</answer>", "<think>", "</think>", "```json", "```", "<image>", "{",
    "}", "[", "]", '"', "\\", ":", ",", "name", "arguments", "image_zoom_in_tool", "bbox_2d", "NaN", "Infinity",
    "-1e999", "null", "9" * 400, "\x00", "\ud800", "<|im_end|>", "\\u0000", "\\ud800", "🖼️", "\n", " ", "1e308",
]  # fmt: skip
HOSTILE_FRAGMENTS = [
    *FRAGMENTS,
    "functions.", "image_rotate_tool", "misbehaves", "0.25", "9" * 4301, "[" * 70, "]" * 70, '{"a":' * 500, "}" * 500,
]  # fmt: skip

logger = logging.getLogger(__name__)


def register_toolboxes() -> None:
    """Make the toolboxes known whose tools misbehave."""
    for id, protocol in (("HostileTools-v0", "v2"), ("HostileTools-v5", "v5")):
        register_toolbox(id, tools=["image_zoom_in_tool", Misbehaves], protocol=protocol, rubric="deepeyes")
    tools = ["image_zoom_in_tool", "image_rotate_tool", "select_frame", Misbehaves]
    for name in ADDRESSINGS:
        register_toolbox(f"HostileTools{name}-v0", tools=tools, protocol="v5", addressing=name)


def scenes(folder: Path) -> list[Sample]:
    """Return the questions that are played: some for each toolbox, always the same; files are written for a fourth."""
    drawn = VisualSearch(length=len(TOOLBOXES) * 3, seed=7, size=(640, 640))
    addressed = [toolbox for toolbox in TOOLBOXES if toolbox.removeprefix("HostileTools")[:-3] in ADDRESSINGS]
    return questions(folder, drawn[0], addressed) + [
        replace(s, images=s.images[0].pixels(), env_name=TOOLBOXES[i % len(TOOLBOXES)], data_source="vstar")
        if i % len(TOOLBOXES) < ALONE
        else _two_images(s, TOOLBOXES[i % len(TOOLBOXES)])
        for i, s in enumerate(drawn)
    ]


def _two_images(sample: Sample, toolbox: str) -> Sample:
    pixels = sample.images[0].pixels()
    images, on = (pixels, pixels[::-1, :500].copy()), tuple(i % 2 for i in range(len(sample.boxes)))
    return replace(sample, images=images, box_images=on, env_name=toolbox, data_source="vstar")


# --- messages --------------------------------------------------------------------------------------------------------


def message(random: random.Random) -> Any:
    """Draw an action: mostly a mutated text, else a sound call, or a message that may hold anything."""
    kind = random.random()
    if kind < 0.6:
        return _mutated(_text(random), random)
    if kind < 0.8:
        return _text(random) if kind < 0.7 else _sound(random)
    if kind < 0.9:
        return ToolCall(_name(random), _arguments(random))
    calls: list[Any] = [_native_call(random) for _ in range(random.randint(1, 3))]
    content = random.choice([None, _text(random), [{"type": "text", "text": _junk(random)}], _junk(random)])
    return {"role": "assistant", "content": content, "tool_calls": calls, "reasoning_content": _junk(random)}


def _native_call(random: random.Random) -> Any:
    arguments = _arguments(random)
    written: Any = arguments
    if random.random() < 0.7:
        try:
            written = _mutated(json.dumps(arguments), random)
        except (ValueError, TypeError, RecursionError):
            written = "{"
    call: Any = {"id": _junk(random), "function": {"name": _name(random), "arguments": written}}
    return random.choice([call, call, call, _junk(random)])


def _sound(random: random.Random) -> str:
    """Write a call that names the first image, or the last shown, in all ways at once: most toolboxes carry it out."""
    x, y = random.randint(0, 50), random.randint(0, 50)
    named = random.choice(
        [{"img_idx": 0, "source": "original_image_1", "image": "image_1"}, {"source": "observation_1"}]
    )
    name, arguments = random.choice(
        [
            ("image_zoom_in_tool", {"bbox_2d": [x, y, x + random.randint(31, 60), y + random.randint(31, 60)]}),
            ("image_rotate_tool", {"angle": random.choice([90, 30])}),
            ("select_frame", {"time": random.randint(0, 50) / 10}),
        ]
    )
    call = json.dumps({"name": name, "arguments": {**arguments, **named}})
    return f"<think>a</think><tool_call>{call}</tool_call>"


def _text(random: random.Random) -> str:
    box = _box(random)
    how = _way(random)
    angle = random.choice([30, 90, 180, -90, 450, 1e9])
    image = f'"{random.choice(ARGUMENTS)}": {json.dumps(random.choice(IMAGE_NAMES))}'
    moment = f'"{random.choice(["time", "index"])}": {random.choice([0, 1, 2.5, 59, 60, 1e9, -1, "null"])}'
    return random.choice(
        [
            f'<tool_call>{{"name": "image_zoom_in_tool", "arguments": {{"bbox_2d": {box}}}}}</tool_call>',
            f'<tool_call>{{"name": "misbehaves", "arguments": {{"how": "{how}", "bbox_2d": {box}}}}}</tool_call>',
            f'<tool_call>{{"name": "image_rotate_tool", "arguments": {{"angle": {angle}, {image}}}}}</tool_call>',
            f'<tool_call>{{"name": "image_zoom_in_tool", "arguments": {{"bbox_2d": {box}, {image}}}}}</tool_call>',
            f'<tool_call>{{"name": "misbehaves", "arguments": {{"how": "{how}", {image}}}}}</tool_call>',
            f'<tool_call>{{"name": "select_frame", "arguments": {{{moment}, {image}}}}}</tool_call>',
            f'```json\n{{"function": "zoom_in", "bbox_2d": {box}, "label": "a"}}\n```',
            f'<tool_call>{{"function": "zoom_in", "bbox_2d": {box}}}</tool_call>',
            f'<tool_call>{{"name": "image_zoom_in_tool", "arguments": {{"bbox": {box}}}}}</tool_call>',
            "<think>a</think><answer>A</answer>",
        ]
    )


def _mutated(text: str, random: random.Random) -> str:
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(text))
        kind = random.random()
        if kind < 0.6:
            text = text[:at] + random.choice(HOSTILE_FRAGMENTS) + text[at + random.randint(0, 12) :]
        elif kind < 0.8:
            text = text[:at] + text[at + random.randint(0, 30) :]
        elif kind < 0.9:
            text = text[:at] + chr(random.choice([random.randrange(128), random.randrange(0x110000)])) + text[at:]
        else:
            text = text[:at] + _text(random)
    return text


def _name(random: random.Random) -> str:
    names = [
        "image_zoom_in_tool",
        "image_rotate_tool",
        "select_frame",
        "misbehaves",
        "functions.misbehaves ",
        "x" * 200,
    ]
    return random.choice(names)


def _way(random: random.Random) -> str:
    way = random.choice([*WAYS, "other"])
    return way if way not in RARE or random.random() < 0.003 else "none"


def _arguments(random: random.Random) -> dict[Any, Any]:
    arguments: dict[Any, Any] = {"bbox_2d": _box(random), "how": _way(random), "angle": 45}
    if random.random() < 0.3:
        arguments[random.choice(["time", "index"])] = random.choice([0, 1, 2.5, 59, 1e9, -1, math.nan])
    for _ in range(random.randint(0, 2)):
        arguments[random.choice(ARGUMENTS)] = random.choice(IMAGE_NAMES)
        arguments[random.choice(["bbox_2d", "bbox", "how", "label", "angle", "x", (1, 2), 7])] = _junk(random)
    if random.random() < 0.05:
        arguments["label"] = arguments
    return arguments


def _box(random: random.Random) -> list[Any]:
    if random.random() < 0.15:
        return [round(random.random(), 2) for _ in range(4)]
    x, y = random.randint(-20, 100), random.randint(-20, 100)
    return [x, y, x + random.randint(-5, 90), y + random.randint(-5, 90)]


def _junk(random: random.Random, depth: int = 0) -> Any:
    plain = [
        None, True, 7, -1.5, math.nan, math.inf, "", "text", "\ud800<image><|im_end|>", 10**400, 10**4301, "[" * 99,
        b"x", object(), {1, 2}, np.float32(1), np.arange(3),
    ]  # fmt: skip
    kind = random.random()
    if depth > 3 or kind < 0.6:
        return random.choice(plain)
    if kind < 0.7:
        nested: Any = []
        for _ in range(random.choice([60, 64, 65, 490, 5000])):
            nested = [nested] if random.random() < 0.5 else {"a": nested}
        return nested
    inner = [_junk(random, depth + 1) for _ in range(random.randint(0, 4))]
    return inner if kind < 0.85 else {random.choice(["a", "function", "name", "arguments", 3]): each for each in inner}


# --- playing them ----------------------------------------------------------------------------------------------------


class Player:
    """Plays shards with one vector environment, and looks at everything that comes back."""

    def __init__(self, backend: str) -> None:
        register_toolboxes()
        self._files = tempfile.TemporaryDirectory()
        kwargs: dict[str, Any] = {"dataset": scenes(Path(self._files.name)), "view": VIEW, "tool_timeout": TIMEOUT}
        workers = 1 if backend == "ray" else 2
        self.env: BatchedVectorEnv = make_vector_env(backend, "VisualToolbox-v2", NUM_ENVS, workers=workers, **kwargs)
        self._all_text = [True] * NUM_ENVS
        self._alone = VisualToolboxEnv(**kwargs)

    def play(self, seed: int, shard: int, messages: int = SHARD) -> None:
        """Play a shard.

        Raises:
            AssertionError: Something is not as it must be.
        """
        drawn = random.Random(f"{seed} {shard}")
        self.env.reset(seed=drawn.randrange(2**31))
        self._all_text = [True] * NUM_ENVS
        played = step = 0
        while played < messages:
            step += 1
            actions = [message(drawn) for _ in range(NUM_ENVS)]
            observation, rewards, terminated, truncated, infos = self.env.step(actions)
            assert observation in self.env.observation_space
            assert np.isfinite(rewards).all()
            for i, (text, images) in enumerate(zip(observation["text"], observation["images"], strict=True)):
                assert text.count("<image>") == len(images), (text, actions[i])
            self._look_at(infos, actions)
            stepped = infos.get("_turn", np.zeros(NUM_ENVS, bool))
            for i in range(NUM_ENVS):  # where nothing was stepped, an episode began
                self._all_text[i] = not stepped[i] or (self._all_text[i] and isinstance(actions[i], str))
            back = pickle.loads(pickle.dumps((observation, _results(infos))))
            assert back[0]["text"] == observation["text"]
            if step % SNAPSHOT_EVERY == 0:
                self._branch(observation, np.logical_or(terminated, truncated))
            played += int(np.sum(infos.get("_turn", 0)))

    def _look_at(self, infos: dict[str, Any], actions: list[Any]) -> None:
        for i in range(NUM_ENVS):
            assert not infos.get("_error", np.zeros(NUM_ENVS))[i], (infos["error"][i], actions[i])
        for result in _results(infos):
            assert result.ok or result.error
            assert len(result.error) < 2000
        for trajectory in infos.get("trajectory", ()):
            if isinstance(trajectory, Trajectory) and trajectory.done:
                line = schema.dump(trajectory, lambda image: "images/x.png")
                read = schema.load(line.encode(), lambda name: ImageRef(b""))
                assert [result.status for result in read.results] == [result.status for result in trajectory.results]

    def _branch(self, observation: dict[str, Any], done: Any) -> None:
        for i, state in enumerate(self.env.call("snapshot")):
            if done[i] or state is None or not self._all_text[i]:
                continue  # what was not written as text is not always replayed as it was meant
            restored = self._alone.restore(pickle.loads(pickle.dumps(state)))
            assert restored["text"] == observation["text"][i]
            assert all(map(np.array_equal, restored["images"], observation["images"][i]))

    def close(self) -> None:
        """Close the environments."""
        self.env.close()
        self._alone.close()
        self._files.cleanup()


def _results(infos: dict[str, Any]) -> list[Any]:
    return [result for turn in infos.get("turn", ()) if turn is not None for result in turn.results]


def backend_of(shard: int) -> str:
    """Return where a shard is played: every fifth over Ray."""
    return "ray" if shard % 5 == 4 else "threads"


def play(messages: int, out: Path, seed: int = 0, part: tuple[int, int] = (1, 1)) -> Iterator[tuple[int, float]]:
    """Play the shards that have not passed yet; yields the number of each that passes, and its seconds."""
    out.mkdir(parents=True, exist_ok=True)
    record = out / f"shards-{part[0]}-of-{part[1]}.jsonl"
    passed: set[tuple[int, int]] = set()
    for file in out.glob("shards*.jsonl"):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        passed |= {(each["seed"], each["shard"]) for each in map(json.loads, lines) if each}
    due = [shard for shard in range(-(-messages // SHARD)) if shard % part[1] == part[0] - 1]
    due = [shard for shard in due if (seed, shard) not in passed]
    players: dict[str, Player] = {}
    try:
        for shard in due:
            began = time.perf_counter()
            backend = backend_of(shard)
            players[backend] = players.get(backend) or Player(backend)
            try:
                players[backend].play(seed, shard)
            except BaseException:
                logger.error("shard %d of seed %d failed in %s", shard, seed, backend)
                raise
            with record.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"seed": seed, "shard": shard, "backend": backend, "messages": SHARD}) + "\n")
            yield shard, time.perf_counter() - began
    finally:
        for player in players.values():
            player.close()


def main() -> None:
    """Play on from where an earlier run stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="1/1", help="which part of the work, of how many")
    arguments = parser.parse_args()
    first, last = map(int, arguments.part.split("/"))
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    logging.getLogger("deepeyes_env").setLevel(logging.CRITICAL)
    logger.setLevel(logging.INFO)
    get_ray().init(include_dashboard=False, log_to_driver=False)  # actors log every tool that fails
    for shard, seconds in play(arguments.messages, arguments.out, arguments.seed, (first, last)):
        logger.info("shard %d passed: %d messages in %.1f s", shard, SHARD, seconds)


if __name__ == "__main__":
    from tests.envs import fuzz  # under its own name, so that actors can import its tools

    fuzz.main()
