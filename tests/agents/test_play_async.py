"""play_async: the contract of play, at the pace of each conversation."""

import asyncio
import itertools
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from deepeyes_env import Sample, agents
from deepeyes_env.agents.agent import AgentError
from deepeyes_env.agents.openai import OpenAIAgent, servers
from deepeyes_env.agents.play_async import env_maker, play_async
from deepeyes_env.errors import JudgeError
from deepeyes_env.images.codec import encode
from tests.conftest import pattern
from tests.servers.faulty import FaultyServer, random_faults

ENV = "VisualToolbox-v2"


@pytest.mark.integration
def test_the_package_has_the_functions_and_not_their_modules():
    command = "import deepeyes_env.agents.play_async; from deepeyes_env.agents import play, play_async"
    assert agents.play_async is play_async
    assert callable(agents.play)
    subprocess.run([sys.executable, "-c", f"{command}; assert callable(play) and callable(play_async)"], check=True)


class Waiting:
    """A scripted agent as an agent that waits."""

    def __init__(self, agent="noisy", concurrency=4):
        self.agent = agents.make_agent(agent)
        self.name = self.agent.name
        self.concurrency = concurrency
        self.going = self.most = 0
        self.cancelled = 0

    def act(self, episodes):
        return self.agent.act(episodes)

    async def reply(self, episode):
        self.going += 1
        self.most = max(self.most, self.going)
        try:
            await self.wait(episode)
            return self.act([episode])[0]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.going -= 1

    async def wait(self, episode):
        await asyncio.sleep(0.001 * (episode.metadata["episode"] % 3))


def episodes(number):
    return [agents.Episode(e, seed=e) for e in range(number)]


def samples(number=5, broken=()):
    good = [encode(pattern(160 + i, 120)) for i in range(number)]
    data = [each[:300] if i in broken else each for i, each in enumerate(good)]
    return [Sample(f"s{i}", f"Question {i}?", "yes", each, options=("yes", "no")) for i, each in enumerate(data)]


def untimed(trajectory):
    turns = (replace(t, results=tuple(replace(r, seconds=0.0) for r in t.results)) for t in trajectory.turns)
    return replace(trajectory, turns=tuple(turns))


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_the_same_episodes_as_play_whatever_goes_on_at_once(concurrency):
    expected = agents.rollout(ENV, "noisy", episodes=12, progress=False)
    run = agents.rollout(ENV, Waiting(concurrency=concurrency), episodes=12, progress=False)
    assert [untimed(t) for t in run.trajectories] == [untimed(t) for t in expected.trajectories]
    assert run.summary.reward == pytest.approx(expected.summary.reward)


def test_conversations_go_on_side_by_side():
    agent = Waiting(concurrency=5)
    everybody = threading.Barrier(5)

    async def meet(episode):
        if not episode.turns and episode.metadata["episode"] < 5:
            await asyncio.to_thread(everybody.wait, 20)

    agent.wait = meet
    assert len(list(play_async(env_maker(ENV), agent, episodes(8)))) == 8
    assert agent.most == 5


def test_environments_share_data_and_pixels():
    made = []
    make = env_maker(ENV, dataset=samples())

    def spy():
        made.append(make())
        return made[-1]

    list(play_async(spy, Waiting(concurrency=3), episodes(9)))
    assert 1 <= len(made) <= 3
    assert len({id(env.dataset[0]) for env in made}) == len({id(env.store) for env in made}) == 1


def test_in_order_records_and_resumes(tmp_path):
    for if_exists in ("error", "resume"):
        agent = Waiting("blind", concurrency=3)
        run = agents.rollout(
            ENV,
            agent,
            dataset=samples(),
            episodes=7,
            in_order=True,
            out=tmp_path / "run",
            if_exists=if_exists,
            progress=False,
        )
        assert [t.sample.id for t in run.trajectories] == [f"s{e % 5}" for e in range(7)]
    assert agent.most == 0


def test_lazy_and_endless():
    begun = []

    def endless():
        for number in itertools.count():
            begun.append(number)
            yield agents.Episode(number, seed=number)

    played = play_async(env_maker(ENV, dataset=samples()), Waiting("blind", concurrency=2), endless())
    assert begun == []
    for _ in range(3):
        next(played)
    time.sleep(0.3)
    assert len(begun) <= 3 + 2 * 2 + 2
    played.close()


def test_closing_cancels_what_goes_on():
    agent = Waiting(concurrency=3)

    async def forever(episode):
        while episode.metadata["episode"] or agent.going < 3:
            await asyncio.sleep(0.001)

    agent.wait = forever
    played = play_async(env_maker(ENV), agent, episodes(9))
    first = next(played)
    played.close()
    assert first.metadata["episode"] == 0
    assert agent.cancelled >= 2
    assert agent.going == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("play_async")]


def test_an_environment_that_fails_costs_its_episode_only():
    plan = [agents.Episode(e, seed=e, index=e % 5) for e in range(10)]
    ends = list(play_async(env_maker(ENV, dataset=samples(5, broken=[2])), Waiting("blind"), plan))
    failures = [end for end in ends if isinstance(end, agents.Failure)]
    assert sorted(failure.episode.number for failure in failures) == [2, 7]
    assert "'s2'" in failures[0].error
    assert failures[0].trajectory is None
    assert len(ends) == 10


def test_a_judge_that_cannot_be_reached_leaves_the_turn_it_was_asked_about():
    def unreachable(prediction, sample):
        raise JudgeError("no route to host")

    end = next(play_async(env_maker(ENV, judge=unreachable), Waiting("blind"), episodes(1)))
    assert "no route to host" in end.error
    assert len(end.trajectory.turns) == 1


def test_an_agent_error_costs_the_episode_and_any_other_the_run():
    agent = Waiting("blind")

    async def fail(episode):
        if episode.metadata["episode"] == 1:
            raise AgentError("no server")
        if episode.metadata["episode"] == 5:
            raise ZeroDivisionError("a bug")

    agent.wait = fail
    ends = list(play_async(env_maker(ENV), agent, episodes(4)))
    assert [(e.episode.number, e.error) for e in ends if isinstance(e, agents.Failure)] == [(1, "no server")]
    with pytest.raises(ZeroDivisionError, match="a bug"):
        list(play_async(env_maker(ENV), agent, episodes(9)))


def test_what_the_environment_or_the_plan_raises_is_raised():
    def broken():
        raise RuntimeError("cannot be made")

    def plan():
        yield from episodes(2)
        raise OSError("no more")

    with pytest.raises(RuntimeError, match="cannot be made"):
        list(play_async(broken, Waiting(), episodes(3)))
    with pytest.raises(OSError, match="no more"):
        list(play_async(env_maker(ENV), Waiting(), plan()))
    with pytest.raises(ValueError, match="not an environment of this package"):
        env_maker("CartPole-v1")


def test_a_slow_environment_does_not_hold_up_the_others():
    released = threading.Event()
    make = env_maker(ENV)

    def slow_first():
        env = make()
        reset = env.reset

        def wait(**kwargs):
            if kwargs["seed"] == 0:
                assert released.wait(20)
            return reset(**kwargs)

        env.reset = wait
        return env

    agent = Waiting("blind", concurrency=2)

    async def release(episode):
        if episode.metadata["episode"] == 4:
            released.set()

    agent.wait = release
    ends = list(play_async(slow_first, agent, episodes(6)))
    assert sorted(end.metadata["episode"] for end in ends) == list(range(6))


def test_inside_a_running_event_loop():
    async def notebook():
        return list(play_async(env_maker(ENV), Waiting(), episodes(3)))

    assert len(asyncio.run(notebook())) == 3


@pytest.mark.integration
def test_two_hundred_episodes_on_a_bad_day_are_all_answered_or_listed_and_none_is_asked_twice(monkeypatch):
    monkeypatch.setattr(servers, "FIRST_PAUSE", 0.002)
    rates = {"drop": 0.15, "429": 0.15, "500": 0.15, "half": 0.1, "garbled": 0.1}
    with FaultyServer(faults=random_faults(rates)) as server:
        agent = OpenAIAgent("tiny", server.url, concurrency=16, retries=3)
        questions = [replace(sample, env_name=None) for sample in samples(200)]
        run = agents.rollout(ENV, agent, dataset=questions, in_order=True, episodes=200, progress=False)
    played = [t.metadata["episode"] for t in run.trajectories]
    failed = [failure.episode.number for failure in run.failures]
    assert sorted(played + failed) == list(range(200))
    assert failed
    assert sum(server.answered.values()) == len(played)
    assert max(server.answered.values()) == 1
    assert sum(server.asked.values()) == len(played) + sum(server.given.values())
