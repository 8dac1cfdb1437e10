"""The runner: episodes by seed whatever the number of environments, records, failures, resuming."""

import io
import itertools
import json
import logging
import sys
from contextlib import closing
from dataclasses import replace

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode

from deepeyes_env import Rubric, Sample, Term, ToolCall, ViewBudget, agents
from deepeyes_env.agents.evaluation.run import read_failures
from deepeyes_env.agents.play import Episode, Failure
from deepeyes_env.agents.progress import RunningResult, progress_bar
from deepeyes_env.agents.run_folder import RunFolder
from deepeyes_env.core import PolicyTokens
from deepeyes_env.errors import JudgeError, UnknownNameError
from deepeyes_env.images.codec import encode
from deepeyes_env.judges import RuleJudge
from deepeyes_env.trajectories import read_trajectories, summarise
from tests.conftest import pattern

ENV = "VisualToolbox-v2"


def rollout(agent="random", episodes=12, env=ENV, **kwargs):
    return agents.rollout(env, agent, episodes=episodes, progress=False, **kwargs)


def untimed(trajectory):
    """A trajectory without the wall-clock times in it, which no two runs share."""
    turns = (
        replace(turn, results=tuple(replace(result, seconds=0.0) for result in turn.results))
        for turn in trajectory.turns
    )
    return replace(trajectory, turns=tuple(turns))


def same(first, second):
    return [untimed(t) for t in first] == [untimed(t) for t in second]


def samples(number=5):
    return [
        Sample(f"s{i}", f"Question {i}?", "yes", encode(pattern(160 + i, 120), format="png"), options=("yes", "no"))
        for i in range(number)
    ]


class Moody:
    """A judge that cannot be reached about some samples."""

    def __init__(self, *unreachable):
        self.unreachable = unreachable

    def __call__(self, prediction, sample):
        if sample.id in self.unreachable:
            raise JudgeError("no route to host")
        return RuleJudge()(prediction, sample)


class Spy:
    """An agent that counts what another one is asked."""

    def __init__(self, agent="blind"):
        self.agent = agents.make_agent(agent)
        self.name = self.agent.name
        self.asked = []

    def act(self, episodes):
        self.asked += [episode.metadata["episode"] for episode in episodes]
        return self.agent.act(episodes)


# --- seeds and order ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["random", "noisy"])
def test_results_do_not_depend_on_the_number_of_environments(agent):
    runs = [rollout(agent, num_envs=n).trajectories for n in (1, 3, 16)]
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])
    assert [t.metadata["episode"] for t in runs[0]] == list(range(12))


def test_an_episode_is_what_its_seed_makes_it_anywhere():
    ran = rollout("blind", seed=40, episodes=5).trajectories
    env = gym.make(ENV)
    for number, trajectory in enumerate(ran):
        _, info = env.reset(seed=40 + number)
        assert info["trajectory"].sample == trajectory.sample
        assert trajectory.metadata == {"env": ENV, "agent": "blind", "episode": number, "seed": 40 + number}


def test_in_order_plays_the_samples_in_turn_and_then_again():
    run = rollout("blind", dataset=samples(5), in_order=True, episodes=12, num_envs=4)
    assert [t.sample.id for t in run.trajectories] == [f"s{i % 5}" for i in range(12)]
    assert {t.sample.options for t in run.trajectories} == {("yes", "no"), ("no", "yes")}


def test_play_is_lazy_and_takes_endless_episodes():
    spy = Spy("oracle")
    with closing(gym.make_vec(ENV, num_envs=2, autoreset_mode=AutoresetMode.DISABLED)) as env:
        endless = (agents.Episode(number, seed=number) for number in itertools.count())
        played = list(itertools.islice(agents.play(env, spy, endless), 5))
    assert len(played) == 5
    assert max(spy.asked) < 8


def test_a_made_environment_stays_open_and_may_be_larger_than_the_run():
    env = gym.make_vec(ENV, num_envs=4, autoreset_mode=AutoresetMode.DISABLED)
    first = rollout("oracle", env=env, episodes=3, seed=7)
    again = rollout("oracle", env=env, episodes=3, seed=7)
    assert same(first.trajectories, again.trajectories)
    assert same(first.trajectories, rollout("oracle", episodes=3, seed=7).trajectories)
    with pytest.raises(TypeError, match="env is made already, so max_turns has no effect"):
        rollout(env=env, max_turns=3)
    env.close()


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_ray_plays_the_same_episodes():
    assert same(rollout("noisy", num_envs=4, backend="ray").trajectories, rollout("noisy").trajectories)


# --- agents ------------------------------------------------------------------------------------------------------


def test_tokens_of_a_reply_end_up_in_its_turn():
    class Model:
        name = "model"

        def act(self, episodes):
            replies = agents.make_agent("oracle").act(episodes)
            return [replace(r, tokens=PolicyTokens((len(e.turns), 7))) for r, e in zip(replies, episodes, strict=True)]

    for trajectory in rollout(Model(), episodes=4).trajectories:
        assert [turn.tokens.ids for turn in trajectory.turns] == [(i, 7) for i in range(len(trajectory.turns))]
        assert len(trajectory.turns) > 1


def test_actions_of_every_kind_are_taken():
    class Structured:
        name = "structured"

        def act(self, episodes):
            answer = {"role": "assistant", "content": "<answer>A</answer>"}
            call = ToolCall("image_rotate_tool", {"angle": 90})
            return [agents.Reply(answer if episode.turns else call) for episode in episodes]

    for trajectory in rollout(Structured(), episodes=4).trajectories:
        assert [result.status for result in trajectory.results] == ["ok"]
        assert trajectory.stop_reason == "answer"


def test_a_named_agent_answers_before_the_last_turn():
    run = rollout("oracle", episodes=6, max_turns=1)
    assert run.summary.stop_reasons == {"answer": 6}


def test_an_agent_that_forgets_an_episode_is_an_error():
    class Forgetful:
        name = "forgetful"

        def act(self, episodes):
            return []

    with pytest.raises(ValueError, match="agent 'forgetful' returned 0 replies for 8 episodes"):
        rollout(Forgetful())


# --- records -----------------------------------------------------------------------------------------------------


def test_what_is_on_disk_is_what_is_returned(tmp_path):
    kept = rollout(num_envs=5)
    recorded = rollout(num_envs=5, out=tmp_path / "run")
    on_disk = sorted(read_trajectories(tmp_path / "run"), key=lambda t: t.metadata["episode"])
    assert list(recorded.trajectories) == on_disk
    assert recorded.kept == ()
    assert same(on_disk, kept.trajectories)
    assert all(
        a.prompt.images[0].pixels().shape == b.prompt.images[0].pixels().shape
        for a, b in zip(on_disk, kept.trajectories, strict=True)
    )
    assert summarise(on_disk) == recorded.summary == kept.summary


@pytest.mark.integration
def test_a_killed_run_is_resumed_without_playing_anything_twice(tmp_path):
    whole = rollout("oracle", out=tmp_path / "whole")
    rollout("oracle", out=tmp_path / "run")
    record = tmp_path / "run" / "trajectories.jsonl"
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join(lines[:7]) + lines[7][:100])
    left = {json.loads(line)["metadata"]["episode"] for line in lines[7:]}
    spy = Spy("oracle")
    resumed = rollout(spy, out=tmp_path / "run", if_exists="resume")
    assert set(spy.asked) == left
    assert same(resumed.trajectories, whole.trajectories)
    assert resumed.summary.episodes == 12
    longer = rollout("oracle", out=tmp_path / "run", if_exists="resume", episodes=14)
    assert longer.summary.episodes == 14


def test_runs_are_not_mixed(tmp_path):
    rollout("blind", out=tmp_path, episodes=3)
    with pytest.raises(FileExistsError, match="holds a run"):
        rollout("blind", out=tmp_path, episodes=3)
    with pytest.raises(ValueError, match="cannot resume: agent was 'blind' and now is 'oracle'"):
        rollout("oracle", out=tmp_path, if_exists="resume")
    with pytest.raises(ValueError, match="cannot resume: max_turns was None and now is 3"):
        rollout("blind", out=tmp_path, if_exists="resume", max_turns=3)
    with pytest.raises(ValueError, match="cannot resume: view was None and now is 'ViewBudget"):
        rollout("blind", out=tmp_path, if_exists="resume", view=ViewBudget())
    assert len(list(read_trajectories(tmp_path))) == 3
    rollout("oracle", out=tmp_path, if_exists="overwrite", episodes=2)
    assert [t.metadata["agent"] for t in read_trajectories(tmp_path)] == ["oracle"] * 2
    (tmp_path / "images" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds images/notes.txt, which no run of episodes writes"):
        rollout("oracle", out=tmp_path, if_exists="overwrite", episodes=2)
    assert (tmp_path / "images" / "notes.txt").read_text() == "mine"
    assert len(list(read_trajectories(tmp_path))) == 2
    assert rollout("oracle", out=tmp_path, if_exists="resume", episodes=4).summary.episodes == 4


def test_a_run_with_settings_that_json_lacks_is_resumed(tmp_path):
    for if_exists in ("error", "resume"):
        rubric = Rubric([Term("acc", lambda evidence: evidence.correct)], judge=Moody())
        settings = {"dataset": samples(2), "rubric": rubric, "view": ViewBudget(max_pixels=50176)}
        run = rollout("blind", out=tmp_path, if_exists=if_exists, episodes=2, **settings)
    assert run.summary.episodes == 2


@pytest.mark.parametrize("if_exists", ["resume", "overwrite"])
def test_a_folder_of_other_things_is_never_touched(tmp_path, if_exists):
    (tmp_path / "images").mkdir()
    with pytest.raises(FileExistsError, match="holds images and is not marked as the folder of a run of episodes"):
        rollout(out=tmp_path, if_exists=if_exists)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(FileExistsError, match="holds images and is not marked"):
        rollout(out=tmp_path, if_exists=if_exists)
    assert (tmp_path / "run.json").read_text() == "{}"


def test_a_failure_that_was_torn_spoils_no_other(tmp_path):
    settings = {"dataset": samples(2), "in_order": True, "episodes": 2, "out": tmp_path}
    rollout("blind", judge=Moody("s0"), **settings)
    path = tmp_path / "failures.jsonl"
    path.write_bytes(path.read_bytes() + b'{"number": 1, "err')
    assert list(read_failures(tmp_path)) == [0]
    RunFolder(tmp_path).record_failure(Failure(Episode(1, seed=1), "lost"))
    assert list(read_failures(tmp_path)) == [0, 1]


def test_a_wrong_argument_leaves_an_earlier_run_as_it_is(tmp_path):
    rollout("blind", out=tmp_path, episodes=3)
    with pytest.raises(ValueError, match="unknown rubric"):
        rollout("blind", out=tmp_path, if_exists="overwrite", rubric="none such")
    assert len(list(read_trajectories(tmp_path))) == 3


# --- failures ----------------------------------------------------------------------------------------------------


def test_an_image_that_cannot_be_read_costs_its_episode_only(tmp_path, caplog):
    dataset = samples(6)
    broken = tmp_path / "broken.png"
    broken.write_bytes(dataset[0].images[0].encoded()[:200])
    dataset[3] = Sample("broken", "Question?", "yes", broken)
    with caplog.at_level(logging.WARNING, logger="agents"):
        run = rollout("oracle", dataset=dataset, in_order=True, episodes=6, num_envs=2, out=tmp_path / "run")
    assert [t.metadata["episode"] for t in run.trajectories] == [0, 1, 2, 4, 5]
    (failure,) = run.failures
    assert (failure.episode.number, failure.episode.index) == (3, 3)
    assert "sample 'broken': cannot be decoded" in failure.error
    assert "episode 3 (seed 3) failed" in caplog.text
    (recorded,) = map(json.loads, (tmp_path / "run" / "failures.jsonl").read_text().splitlines())
    assert (recorded["number"], recorded["error"]) == (3, failure.error)


def test_a_failure_in_mid_episode_is_listed_and_played_again_on_resuming(tmp_path):
    settings = {"dataset": samples(6), "in_order": True, "episodes": 6, "num_envs": 3, "out": tmp_path}
    run = rollout("blind", judge=Moody("s1", "s4"), **settings)
    assert [failure.episode.number for failure in run.failures] == [1, 4]
    assert all("no route to host" in failure.error for failure in run.failures)
    assert run.summary.episodes == 4
    recorded = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert [line["sample"] for line in recorded] == ["s1", "s4"]
    spy = Spy("blind")
    resumed = rollout(spy, judge=Moody(), if_exists="resume", **settings)
    assert sorted(spy.asked) == [1, 4]
    assert resumed.failures == ()
    assert resumed.summary.episodes == 6
    assert not (tmp_path / "failures.jsonl").exists()


def test_a_failure_that_is_not_recorded_keeps_what_was_played():
    run = rollout("blind", dataset=samples(3), in_order=True, episodes=3, judge=Moody("s2"))
    (failure,) = run.failures
    assert failure.trajectory.sample.id == "s2"
    assert failure.trajectory.stop_reason == "error"
    assert failure.trajectory.metadata["episode"] == 2
    assert len(run.trajectories) == 2


def test_an_agent_that_fails_costs_its_episode_only():
    class Forgetful(agents.BlindAgent):
        def act(self, episodes):
            replies = super().act(episodes)
            return [
                agents.AgentError("lost the thread") if episode.metadata["episode"] in (1, 4) else reply
                for episode, reply in zip(episodes, replies, strict=True)
            ]

    run = rollout(Forgetful(), episodes=9, num_envs=3)
    assert [(failure.episode.number, failure.error) for failure in run.failures] == [
        (1, "lost the thread"),
        (4, "lost the thread"),
    ]
    assert [trajectory.metadata["episode"] for trajectory in run.trajectories] == [0, 2, 3, 5, 6, 7, 8]


def test_a_run_of_failures_ends():
    run = rollout("blind", dataset=samples(2), judge=Moody("s0", "s1"))
    assert (len(run.failures), run.summary.episodes) == (12, 0)


# --- wrong arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed=-1: must be 0 or more"),
        ({"episodes": 0}, ValueError, "episodes=0: must be at least 1"),
        ({"agent": "orcale"}, UnknownNameError, "unknown agent 'orcale'; did you mean 'oracle'"),
        ({"env": "CartPole-v1"}, ValueError, "'CartPole-v1': is not an environment of this package"),
        ({"env": "VisualToolbox-v99"}, gym.error.Error, "v99"),
        ({"out": "x", "if_exists": "append"}, ValueError, "if_exists='append': must be one of error, resume"),
        ({"dataset": "nowhere.parquet"}, ValueError, "nowhere.parquet"),
    ],
)
def test_wrong_arguments_are_named(kwargs, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        rollout(**kwargs)
    assert list(tmp_path.iterdir()) == []


def test_an_environment_that_resets_itself_is_refused():
    env = gym.make_vec(ENV, num_envs=2)
    with closing(env), pytest.raises(ValueError, match="use AutoresetMode.DISABLED"):
        rollout(env=env)


# --- progress ----------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_progress_bar_shows_the_running_result_on_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    agents.rollout(ENV, "oracle", episodes=3)
    shown = sys.stderr.getvalue()
    assert "oracle on VisualToolbox-v2" in shown
    assert "accuracy 1.000, reward 2.000" in shown
    assert "3/3" in shown


def test_nothing_is_shown_elsewhere(capsys):
    agents.rollout(ENV, "blind", episodes=3)
    with progress_bar("quiet", 3, shown=False) as tell:
        tell("1 failed")
    assert capsys.readouterr() == ("", "")


def test_the_running_result_counts_what_is_there():
    result = RunningResult()
    assert str(result) == ""
    result.add(None)
    for trajectory in rollout("oracle", episodes=2, rubric=None).trajectories:
        result.add(trajectory)
    assert str(result) == "reward 0.000, 1 failed"
