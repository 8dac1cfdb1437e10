"""RayVectorEnv on a real Ray: the same episodes as in one process, also when an actor is killed."""

import os
import pickle
import signal
import sys
import threading
import time

import numpy as np
import pytest

from deepeyes_env import BBox, Image, Rubric, Term, Tool, ToolContext, register_toolbox, tool
from deepeyes_env.envs.vector import RayVectorEnv, ThreadVectorEnv
from deepeyes_env.envs.vector.messages import Step
from deepeyes_env.envs.vector.transport import pack, unpack
from deepeyes_env.errors import UnknownNameError
from tests.conftest import zoom_text
from tests.envs.vector_helpers import (
    ANSWER,
    FAILS_ON_BAD,
    VIEW,
    alive,
    equal,
    make_sample,
    play,
    samples,
    wait_until_dead,
)

ENVS, GROUP, STEPS = 8, 2, 7
EXTRA = {"num_actors": 1, "actor_options": {"num_cpus": 0}}


class CountingZoom(Tool):
    """A tool with a state that a replay must bring back: each call moves the box one pixel further."""

    name = "image_zoom_in_tool"

    def open(self, sample):
        self.calls = 0

    def __call__(self, image: Image, bbox_2d: BBox) -> list:
        """Zoom in.

        Args:
            image: The image.
            bbox_2d: Where to.
        """
        self.calls += 1
        x1, y1, x2, y2 = map(int, bbox_2d)
        return [f"call {self.calls}", image[y1:y2, x1 + self.calls : x2]]


CountingZoom.__module__ = "__main__"  # as if written in a script, which actors cannot import


@tool
def decodes(context: ToolContext, bbox_2d: BBox) -> str:
    """Say how many images this process has decoded."""
    return str(context.store.decodes)


@pytest.fixture(scope="module")
def settings():
    register_toolbox("CountingZoom-v0", tools=[CountingZoom, decodes])
    return {"dataset": [*samples(6), make_sample(6, id="bad")], "rubric": FAILS_ON_BAD, "view": VIEW, "max_turns": 5}


@pytest.fixture
def one_replacement(shared_ray, monkeypatch):
    """An actor is replaced once, not three times, before its environments are asked one by one: each takes a second."""
    monkeypatch.setattr("deepeyes_env.envs.vector.ray.MAX_REPLACEMENTS", 1)


@pytest.fixture(scope="module")
def envs(settings, ray_of_session):
    ray_of_session()
    envs = RayVectorEnv("CountingZoom-v0", ENVS, group_size=GROUP, **EXTRA | {"num_actors": 2}, **settings)
    yield envs
    pids = envs.actor_pids()
    assert all(map(alive, pids))
    envs.close()
    wait_until_dead(pids)


@pytest.fixture(scope="module")
def expected(settings):
    with_threads = ThreadVectorEnv(ENVS, group_size=GROUP, toolbox="CountingZoom-v0", **settings)
    record = play(with_threads, STEPS)
    assert sum(sum(step[2]) for step in record[1:]) >= ENVS, "several episodes must end"
    assert any("error" in (step[4] or ()) for step in record[1:]), "one environment must fail"
    return record


@pytest.mark.ray
def test_the_same_episodes_as_in_threads(envs, expected):
    assert equal(play(envs, STEPS), expected)


@pytest.mark.ray
def test_a_killed_actor_is_replaced_and_nothing_is_lost(envs, expected):
    before = envs.actor_pids()

    def kill(turn):
        if turn == 3:  # some environments are about to be reset, others are in the middle of an episode
            os.kill(before[0], signal.SIGKILL)

    assert equal(play(envs, STEPS, disturb=kill), expected)
    after = envs.actor_pids()
    assert after[0] != before[0]
    assert after[1] == before[1]


@pytest.mark.ray
def test_an_actor_killed_during_a_call(envs, expected):
    def stop_and_kill(turn):
        if turn == 4:
            pid = envs.actor_pids()[1]
            os.kill(pid, signal.SIGSTOP)  # so that it cannot answer before it dies
            threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()

    assert equal(play(envs, STEPS, disturb=stop_and_kill), expected)


@pytest.mark.ray
def test_a_group_lives_in_one_actor_and_decodes_once(envs):
    def decodes():
        *_, infos = envs.step([zoom_text([0, 0, 60, 60], name="decodes")] * ENVS)
        return np.array([int(calls[0].text) for calls in infos["calls"]])

    envs.reset(seed=1, options={"index": 0})
    before = decodes()
    fresh = [make_sample(50 + i // GROUP) for i in range(ENVS)]
    _, infos = envs.reset(options={"sample": fresh})
    assert (decodes() - before).tolist() == [2] * ENVS, "each actor holds two groups"
    assert infos["sample_id"].tolist() == [sample.id for sample in fresh]
    prompts = [trajectory.prompt.images[0].source for trajectory in infos["trajectory"]]
    assert all(prompts[i] is prompts[i + 1] for i in range(0, ENVS, GROUP)), "their view travels once"


@pytest.mark.ray
def test_arrays_are_read_only_and_mine(envs):
    first, _ = envs.reset(seed=1)
    kept = first["images"][0][0].copy()
    for _ in range(3):
        envs.step([ANSWER] * ENVS)
    assert not first["images"][0][0].flags.writeable
    assert np.array_equal(first["images"][0][0], kept)


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_users_errors_come_as_they_are():
    with pytest.raises(TypeError, match="max_turn"):
        RayVectorEnv("VisualToolbox-v2", 2, dataset=samples(), max_turn=3, **EXTRA)
    with pytest.raises(ValueError, match="num_actors=3"):
        RayVectorEnv("VisualToolbox-v2", 4, group_size=2, num_actors=3)
    with pytest.raises(TypeError, match="'judge' cannot be sent"):
        RayVectorEnv("VisualToolbox-v2", 2, dataset=samples(), judge=threading.Lock(), **EXTRA)
    with pytest.raises(UnknownNameError, match="unknown toolbox"):
        RayVectorEnv("VisualToolbx-v2", 2, dataset=samples(), **EXTRA)


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_without_a_free_cpu_there_is_one_actor_and_ray_outlives_it():
    options = {"spare_cpus": 10_000, "actor_options": {"num_cpus": 0}}
    envs = RayVectorEnv("VisualToolbox-v2", 4, dataset=samples(), view=VIEW, **options)
    assert len(envs.actor_pids()) == 1
    envs.close()
    assert sys.modules["ray"].is_initialized(), "it was not started by the vector environment"


@pytest.mark.ray
@pytest.mark.usefixtures("one_replacement")
def test_an_actor_that_always_dies_is_an_error():
    kills = Rubric([Term("kill", lambda evidence: os.kill(os.getpid(), signal.SIGKILL))])
    envs = RayVectorEnv("VisualToolbox-v2", 4, dataset=samples(), view=VIEW, rubric=kills, **EXTRA)
    envs.reset(seed=0)
    with pytest.raises(RuntimeError, match="environments 0 to 3 dies of the same command"):
        envs.step([ANSWER] * 4)
    envs.close()


@pytest.mark.ray
@pytest.mark.usefixtures("one_replacement")
def test_who_kills_an_actor_late_is_found_although_nobody_waits_for_it():
    def kill(evidence):
        time.sleep({"later": 0.4, "slow": 0.6}.get(evidence.prediction, 0.0))
        return os.kill(os.getpid(), signal.SIGKILL) if evidence.prediction in ("later", "now") else 1.0

    rubric = Rubric([Term("kill", kill)])
    envs = RayVectorEnv("VisualToolbox-v2", 3, dataset=samples(), view=VIEW, rubric=rubric, **EXTRA)
    envs.reset(seed=0)
    envs.send({i: Step(f"<answer>{said}</answer>") for i, said in enumerate(("later", "slow", "now"))})
    outcomes, until = {}, time.monotonic() + 60
    while envs.outstanding and time.monotonic() < until:
        outcomes |= envs.recv(1.0)
    assert {i: bool(outcome.error) for i, outcome in outcomes.items()} == {0: True, 1: False, 2: True}
    assert [trajectory is None for trajectory in envs.call("trajectory")][0::2] == [True, True]
    envs.actor_errors = [0, 1, 1]  # as after commands that are not answered yet
    os.kill(envs.actor_pids()[0], signal.SIGKILL)
    assert envs.call("render_mode") == (None, None, None)
    assert envs.actor_errors == [0, 1, 1]
    envs.close()


@pytest.mark.ray
@pytest.mark.usefixtures("one_replacement")
def test_an_episode_that_kills_its_actor_fails_alone():
    def kill(evidence):
        return os.kill(os.getpid(), signal.SIGKILL) if evidence.prediction == "kill" else 1.0

    rubric = Rubric([Term("kill", kill)])
    envs = RayVectorEnv("VisualToolbox-v2", 3, dataset=samples(), view=VIEW, rubric=rubric, **EXTRA)
    envs.reset(seed=0)
    envs.step([zoom_text([0, 0, 50, 50])] * 3)
    *_, truncated, infos = envs.step(["<answer>A</answer>", "<answer>kill</answer>", zoom_text([5, 5, 60, 60])])
    assert truncated.tolist() == [False, True, False]
    assert "the process of the environment died of it" in infos["error"][1]
    _, rewards, terminated, _, infos = envs.step([None, None, "<answer>B</answer>"])
    assert terminated.tolist() == [False, False, True]
    assert rewards[2] == 1.0
    assert [len(turn.results) for turn in infos["trajectory"][2].turns] == [1, 1, 0]
    envs.close()


def test_packed_arrays_hold_each_array_once():
    big = np.arange(4000, dtype=np.uint8).reshape(20, 50, 4)
    crop = big[3:9, 10:30, :3]
    value = {"a": [crop, crop], "b": (big, "text", np.float64(2.5)), "empty": np.zeros((0, 3)), "none": None}
    pickled, buffer = pack(value)
    back = unpack(pickle.loads(pickle.dumps((pickled, buffer))))
    assert buffer.nbytes < big.nbytes + crop.nbytes + 3 * 64
    assert back["a"][0] is back["a"][1]
    assert np.array_equal(back["a"][0], crop)
    assert np.array_equal(back["b"][0], big)
    assert back["b"][1:] == ("text", 2.5)
    assert back["empty"].shape == (0, 3)
    assert not back["a"][0].flags.writeable
    objects = np.array([{"x": 1}, None], dtype=object)
    assert unpack(pack(objects)).tolist() == [{"x": 1}, None]
