"""An episode as verl trains on it: whose tokens are under the mask, what fits, and what a failure costs."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from deepeyes_env.core import PolicyTokens
from deepeyes_env.data import load
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.errors import ImageError
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.trainers.tracking.names import STOP_REASONS
from deepeyes_env.trainers.verl.report import reward_extra_info, term_names
from deepeyes_env.trainers.verl.settings import TokenLimits
from tests.trainers import faults
from tests.trainers.verl.players import ANSWER, LIMITS, ZOOM, Writer, load_policy, play, tokens_of


@pytest.fixture(scope="module")
def policy():
    return load_policy()


@pytest.fixture(scope="module")
def terms():
    return term_names("auto", "VisualToolbox-v2")


def image_tokens(policy, ids):
    return int((np.asarray(ids) == policy.image_token).sum())


def test_the_mask_covers_exactly_what_the_policy_wrote(policy):
    zoom, answer = tokens_of(policy, ZOOM), tokens_of(policy, ANSWER)
    rollout = play(policy, Writer(zoom, answer))
    response = rollout.response
    assert response.ids[response.mask].tolist() == [*zoom.ids, *answer.ids]
    assert response.logprobs[response.mask].tolist() == [*zoom.logprobs, *answer.logprobs]
    assert not response.logprobs[~response.mask].any()
    assert not rollout.prompt.mask.any()
    # What the trajectory says, encoded anew, is the very same sequence.
    whole = policy.chat.sequence(rollout.trajectory)
    assert [*rollout.prompt.ids, *response.ids] == whole.ids.tolist()
    assert [*rollout.prompt.mask, *response.mask] == whole.mask.tolist()
    assert len(rollout.prompt.images) == len(response.images) == 1
    assert image_tokens(policy, rollout.prompt.ids) == image_tokens(policy, response.ids) == 16
    assert rollout.trajectory.stop_reason == "answer"


def test_each_message_is_asked_for_with_all_that_came_before(policy):
    writer = Writer(tokens_of(policy, ZOOM), tokens_of(policy, ANSWER))
    rollout = play(policy, writer)
    (first, images, room), (second, more, room_left) = writer.asked
    assert first == rollout.prompt.ids.tolist()
    assert second == [*first, *rollout.response.ids[: len(second) - len(first)]]
    assert (len(images), len(more)) == (1, 2)
    assert room == room_left == 32


def test_a_policy_that_only_calls_ends_with_its_turns(policy, terms):
    rollout = play(policy, Writer(tokens_of(policy, ZOOM)), max_turns=3)
    report = reward_extra_info(rollout, terms)
    assert rollout.trajectory.stop_reason == "max_turns"
    assert (report["tool/calls"], report["response/turns"], report["stop/max_turns"]) == (3, 3, 1)
    assert report["response/policy_tokens"] == 3 * len(tokens_of(policy, ZOOM).ids)
    assert len(rollout.response.images) == 2  # the observation that nobody answers is left out


def test_no_image_is_cut_in_two(policy):
    """Whatever the response length, an observation is there whole or not at all."""
    zoom = tokens_of(policy, ZOOM)
    kinds = set()
    for length in range(1, 120, 3):
        limits = TokenLimits(128, length, 4096, 32)
        rollout = play(policy, Writer(zoom), limits=limits, max_turns=6)
        assert 1 <= len(rollout.response) <= length
        assert image_tokens(policy, rollout.response.ids) == 16 * len(rollout.response.images)
        assert rollout.response.mask[-1]  # nothing stands behind the policy's last token
        kinds.add(rollout.trajectory.stop_reason)
    assert "token_budget" in kinds


def test_the_context_bounds_prompt_and_response_together(policy):
    prompt = len(play(policy, Writer(tokens_of(policy, ANSWER))).prompt)
    limits = TokenLimits(128, 256, prompt + 40, 32)
    rollout = play(policy, Writer(tokens_of(policy, ZOOM)), limits=limits, max_turns=6)
    assert len(rollout.prompt) + len(rollout.response) <= prompt + 40
    assert rollout.trajectory.stop_reason == "token_budget"


def test_the_budget_of_images_holds(policy):
    rollout = play(policy, Writer(tokens_of(policy, ZOOM)), max_turns=6, max_images=2)
    assert len(rollout.prompt.images) + len(rollout.response.images) <= 2
    assert rollout.trajectory.stop_reason == "image_budget"


def test_a_message_ends_where_the_policy_writes_a_vision_token(policy):
    zoom = tokens_of(policy, ZOOM)
    ids = (*zoom.ids[:5], policy.image_token, *zoom.ids[5:])
    rollout = play(policy, Writer(PolicyTokens(ids, (-1.0,) * len(ids), (1,) * len(ids))))
    assert rollout.vision_tokens == 1
    assert rollout.response.ids.tolist() == [*zoom.ids[:5], policy.chat.end_of_turn]
    assert rollout.response.mask.tolist() == [True] * 5 + [False]
    assert image_tokens(policy, rollout.response.ids) == 0
    assert rollout.trajectory.stop_reason == "format_error"


def test_images_are_made_ready_before_they_are_asked_with_those_of_observations_in_a_thread(policy):
    shown = []
    rollout = play(
        policy,
        Writer(tokens_of(policy, ZOOM), tokens_of(policy, ANSWER)),
        show=lambda images: shown.append((threading.current_thread().name, images)),
    )
    (_, first), (thread, second) = shown
    assert thread.startswith("deepeyes-test")
    assert (first, second) == (rollout.prompt.images, rollout.response.images)
    assert len(first) == len(second) == 1


@pytest.mark.parametrize("number", [0, 1])
def test_an_image_that_cannot_be_made_ready_costs_its_own_rollout_only(policy, number):
    shown = itertools.count()

    def show(images):
        if next(shown) == number:
            raise ImageError("it is gone")

    rollout = play(policy, Writer(tokens_of(policy, ZOOM)), show=show)
    assert rollout.error == "ImageError: it is gone"
    assert not rollout.response.mask.any()


@pytest.mark.parametrize("nothing", [(), (5,)])
def test_a_message_of_nothing_is_an_end_that_is_not_trained_on(policy, nothing):
    rollout = play(policy, Writer(PolicyTokens(nothing, (-1.0,) * len(nothing), (1,) * len(nothing))))
    assert rollout.response.ids.tolist() == [policy.chat.end_of_turn]
    assert not rollout.response.mask.any()
    assert rollout.trajectory.stop_reason == "format_error"


class BrokenEnv(VisualToolboxEnv):
    """Breaks at its second step."""

    def step(self, action):
        if self.trajectory.turns:
            raise RuntimeError("the disk is gone")
        return super().step(action)


def test_a_failed_environment_costs_its_own_rollout_only(policy, terms):
    env = BrokenEnv("VisualToolbox-v2", pattern_search("test", length=16, easy=0))
    rollout = play(policy, Writer(tokens_of(policy, ZOOM)), env=env)
    report = reward_extra_info(rollout, terms)
    assert rollout.error == "RuntimeError: the disk is gone"
    assert rollout.finished is None
    assert len(rollout.response) > len(tokens_of(policy, ZOOM).ids)
    assert not rollout.response.mask.any()
    assert not rollout.response.logprobs.any()
    assert image_tokens(policy, rollout.response.ids) == 16 * len(rollout.response.images)
    assert report.pop("failed") == 1
    assert not any(report.values())


def test_an_image_that_cannot_be_read_is_a_failed_rollout(policy, tmp_path, terms):
    from deepeyes_env import Sample

    broken = Sample(id="torn", question="What is it?", answer="a", images=(b"\x89PNG\r\n\x1a\n" + bytes(20),))
    env = VisualToolboxEnv("VisualToolbox-v2", [broken])
    rollout = play(policy, Writer(tokens_of(policy, ANSWER)), env=env)
    assert "torn" in rollout.error
    assert rollout.trajectory is None
    assert len(rollout.prompt) == len(rollout.response) == 1
    assert not rollout.response.mask.any()
    assert reward_extra_info(rollout, terms)["failed"] == 1


def test_a_prompt_that_is_too_long_says_what_to_change(policy):
    rollout = play(policy, Writer(tokens_of(policy, ANSWER)), limits=TokenLimits(20, 256, 4096, 32))
    assert "data.max_prompt_length is 20" in rollout.error
    assert "max_pixels" in rollout.error
    assert len(rollout.prompt) == 1


def test_the_environment_works_and_is_closed_in_other_threads(policy):
    seen = []

    class Watched(VisualToolboxEnv):
        def reset(self, **kwargs):
            seen.append(threading.current_thread().name)
            return super().reset(**kwargs)

        def step(self, action):
            seen.append(threading.current_thread().name)
            return super().step(action)

        def close(self):
            seen.append(threading.current_thread().name)
            super().close()

    env = Watched("VisualToolbox-v2", pattern_search("test", length=16, easy=0))
    play(policy, Writer(tokens_of(policy, ZOOM), tokens_of(policy, ANSWER)), env=env)
    assert len(seen) == 4
    assert all(name.startswith("deepeyes-test") for name in seen)


def test_rollouts_of_a_question_share_the_pixels_of_its_view(policy):
    one, other = (play(policy, Writer(tokens_of(policy, ANSWER)), number=3) for _ in range(2))
    assert one.prompt.images[0].pixels() is other.prompt.images[0].pixels()
    assert one.prompt.ids.tolist() == other.prompt.ids.tolist()


def test_all_rollouts_report_the_same_names(policy, terms):
    env = BrokenEnv("VisualToolbox-v2", pattern_search("test", length=16, easy=0))
    failed = play(policy, Writer(tokens_of(policy, ZOOM)), env=env)
    right = play(policy, Writer(tokens_of(policy, ZOOM), tokens_of(policy, ANSWER)))
    reports = [reward_extra_info(each, terms) for each in (failed, right)]
    assert reports[0].keys() == reports[1].keys()
    assert {f"stop/{reason}" for reason in STOP_REASONS} < reports[0].keys()
    assert {"reward/acc", "reward/format", "reward/tool"} < reports[0].keys()
    shares = sum(value for name, value in reports[1].items() if name.startswith("reward/"))
    assert shares == pytest.approx(right.trajectory.reward)
    assert all(isinstance(value, float) for value in reports[1].values())


def test_limits_count_what_is_left():
    assert LIMITS.room(100, 50) == 206
    assert TokenLimits(128, 256, 120, 32).room(100, 15) == 5


def test_every_fault_of_a_row_is_masked_or_counted(policy, tmp_path, terms):
    data, view = load(str(faults.write_rows(tmp_path))), ViewBudget(faults.VIEW, faults.VIEW)
    limits, reports = TokenLimits(2048, 1024, 4096, 32), {}
    for number, name in enumerate(("sound", "torn", "unjudged", "restless", "hanging")):
        given = {"tool_timeout": faults.LIMIT, "max_turns": 3, "judge": faults.Outage()}
        env = VisualToolboxEnv(faults.SOUND, data, view=view, **given)
        rollout = play(policy, Writer(tokens_of(policy, ANSWER)), env=env, number=number, limits=limits)
        assert bool(rollout.error) == (name in ("torn", "unjudged")) == (not rollout.response.mask.any())
        reports[name] = reward_extra_info(rollout, terms)
    assert [report["failed"] for report in reports.values()] == [0, 1, 1, 0, 0]
    assert reports["sound"]["stop/answer"] == 1
    assert reports["restless"]["stop/max_turns"] == 1
    assert reports["hanging"]["stop/tool_timeout"] == 1
