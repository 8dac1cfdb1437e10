"""What the tests of all vector environments share."""

import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from deepeyes_env import Rubric, Sample, Term, ViewBudget
from deepeyes_env.images.codec import encode
from tests.conftest import pattern, zoom_text

VIEW = ViewBudget(max_pixels=112 * 112)
ANSWER = "<think>Surely.</think><answer>A</answer>"


def raylet_of(pid):
    """The process of Ray that another one has started; where there is no /proc, the test is skipped."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            name, _, rest = status.read_text().partition("(")[2].rpartition(")")
            if name == "raylet" and int(rest.split()[1]) == pid:
                return int(status.parent.name)
    pytest.skip("no /proc to find Ray's processes in")


def make_sample(i, **changes):
    """A question about an encoded image of its own size."""
    fields = {
        "id": f"s{i}",
        "question": f"Question {i}?",
        "answer": "yes",
        "images": (encode(pattern(160 + i % 10, 120 + i // 10)),),
        "options": ("yes", "no", "maybe", "never"),
    }
    return Sample(**fields | changes)


def samples(number=5):
    return [make_sample(i) for i in range(number)]


def script(turn, num_envs):
    """Each environment zooms for a while of its own and then answers; some messages are nonsense."""

    def action(i):
        if (turn + i) % 4 == 3:
            return ANSWER
        return "<tool_call>{}</tool_call>" if (turn + i) % 7 == 5 else zoom_text([5 * (i % 4), 4, 60 + turn, 70])

    return [action(i) for i in range(num_envs)]


def same(first, second):
    """Whether two batched observations are byte-equal."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()
    return first == second


def play(envs, steps, seed=11, disturb=None):
    """Everything comparable that a vector environment returns in some steps, first of all from ``reset``."""
    observation, infos = envs.reset(seed=seed)
    seen = [(observation, infos["sample_id"].tolist(), infos["seed"].tolist())]
    for turn in range(steps):
        if disturb is not None:
            disturb(turn)
        observation, rewards, terminated, truncated, infos = envs.step(script(turn, envs.num_envs))
        stops = infos["stop_reason"].tolist() if "stop_reason" in infos else None
        seen.append((observation, rewards.tolist(), terminated.tolist(), truncated.tolist(), stops, facts(infos)))
    return seen


def facts(infos):
    """The comparable part of finished trajectories; that of the time taken is not."""
    return [
        (
            t.sample.id,
            t.sample.options,
            t.prompt,
            [(turn.action, turn.answer, turn.observation, [r.status for r in turn.results]) for turn in t.turns],
            {name: term.weighted for name, term in t.reward_terms.items()},
            (t.reward, t.terminated, t.truncated, t.stop_reason, t.system_prompt, t.native_size),
        )
        for t in infos.get("trajectory", ())
        if t is not None and t.done
    ]


def equal(first, second):
    """Whether two records of ``play`` are equal, images to the byte."""
    return len(first) == len(second) and all(
        same(a[0], b[0]) and a[1:] == b[1:] for a, b in zip(first, second, strict=True)
    )


def _refuse_bad(evidence):
    if evidence.sample.id == "bad":
        raise RuntimeError("the judge is out")
    return evidence.correct


FAILS_ON_BAD = Rubric([Term("acc", _refuse_bad)])


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_dead(pids, seconds=60):
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, pids))
