"""Many environments in one process: Gymnasium's own vector environments and ours, groups, seeds, failures."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from deepeyes_env import ImageStore, ToolCall, VisualToolboxEnv
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.envs.vector import ThreadVectorEnv
from tests.conftest import zoom_text
from tests.envs.vector_helpers import ANSWER, FAILS_ON_BAD, VIEW, equal, make_sample, play, same, samples, script

IDS = [f"VisualToolbox-v{n}" for n in range(1, 6)]
ZOOM = zoom_text([5, 5, 70, 60])


def thread_env(num_envs=4, **kwargs):
    return ThreadVectorEnv(num_envs, **{"dataset": samples(), "view": VIEW} | kwargs)


def make_vec(env_id, num_envs, mode, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is out of date.*")  # Gymnasium's word on every id but v5
        return gym.make_vec(env_id, num_envs, vectorization_mode=mode, **{"dataset": samples(), "view": VIEW} | kwargs)


@pytest.mark.parametrize("env_id", IDS)
def test_make_vec_makes_ours(env_id):
    envs = make_vec(env_id, 3, "vector_entry_point", group_size=3)
    assert isinstance(envs, ThreadVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observation, infos = envs.reset(seed=0)
    assert observation in envs.observation_space
    assert infos["trajectory"][0].toolbox == env_id
    observation, rewards, terminated, truncated, _ = envs.step((ANSWER,) * 3)
    assert observation in envs.observation_space
    assert rewards.shape == terminated.shape == truncated.shape == (3,)
    assert (rewards.dtype, terminated.dtype, truncated.dtype) == (np.float64, np.bool_, np.bool_)
    assert terminated.all()
    envs.close()


@pytest.mark.integration
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasiums_own_vector_environments_agree_with_ours(mode):
    """The first episodes have the seeds given; later ones the seeds that ours reports."""
    ours = thread_env(3, autoreset_mode="Disabled", max_turns=3)
    extra = {"shared_memory": False} if mode == "async" else {}
    vector_kwargs = {"autoreset_mode": AutoresetMode.DISABLED, **extra}
    theirs = make_vec("VisualToolbox-v2", 3, mode, max_turns=3, vector_kwargs=vector_kwargs)
    observation, infos = ours.reset(seed=[4, 5, 6])
    assert infos["seed"].tolist() == [4, 5, 6]
    assert same(observation, theirs.reset(seed=[4, 5, 6])[0])
    ended = 0
    for turn in range(9):
        actions = tuple(script(turn, 3))
        observation, *flags, _ = ours.step(actions)
        expected, *expected_flags, _ = theirs.step(actions)
        assert same(observation, expected)
        assert np.array_equal(flags, expected_flags)
        done = flags[1] | flags[2]
        ended += done.sum()
        if done.any():
            observation, infos = ours.reset(options={"reset_mask": done})
            seeds = [int(seed) for seed in infos["seed"]]
            assert same(observation, theirs.reset(seed=seeds, options={"reset_mask": done})[0])
    assert ended >= 6
    ours.close()
    theirs.close()


def test_the_spaces_work_with_gymnasiums_vector_tools():
    env = VisualToolboxEnv(dataset=samples(), view=VIEW)
    space = env.observation_space
    batched = batch_space(space, 3)
    items = [env.reset(seed=seed)[0] for seed in range(3)]
    together = concatenate(space, items, create_empty_array(space, 3))
    assert together in batched
    assert batched.sample() in batched
    assert all(map(same, iterate(batched, together), items))


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads):
    alone = thread_env(8, group_size=2, num_threads=1)
    together = thread_env(8, group_size=2, num_threads=threads)
    first, second = play(alone, 8), play(together, 8)
    assert equal(first, second)
    assert sum(sum(step[2]) for step in first[1:]) >= 8
    assert not equal(first, play(thread_env(8, group_size=2), 8, seed=12))


# --- groups and seeds ----------------------------------------------------------------------------------------------


def test_a_group_shares_the_sample_the_option_order_and_the_image():
    store = ImageStore()
    envs = thread_env(6, group_size=3, num_threads=3, dataset=samples(40), store=store)
    _, infos = envs.reset(seed=2)
    assert envs.groups.tolist() == [0, 0, 0, 1, 1, 1]
    played = [infos["trajectory"][i].sample for i in range(6)]
    assert played[0] == played[1] == played[2]
    assert played[3] == played[4] == played[5]
    assert played[0].id != played[3].id
    assert played[0].images[0] is played[2].images[0]
    assert store.decodes == 2
    observation, *_ = envs.step([ZOOM] * 6)
    assert store.decodes == 2
    assert same(observation["images"][0], observation["images"][2])


def test_a_group_shares_what_a_data_set_makes_anew_each_time():
    dataset = VisualSearch()
    assert dataset[0].images[0] is not dataset[0].images[0]
    _, infos = thread_env(4, group_size=2, dataset=dataset).reset(seed=2)
    refs = [trajectory.sample.images[0] for trajectory in infos["trajectory"]]
    assert refs[0] is refs[1]
    assert refs[2] is refs[3]


def test_a_group_plays_the_same_episodes_whatever_order_they_end_in():
    envs = thread_env(4, group_size=4, dataset=samples(40))
    _, infos = envs.reset(seed=0)
    seen = {i: [infos["sample_id"][i]] for i in range(4)}
    for turn in range(24):
        *_, infos = envs.step([ANSWER if turn % (i + 1) == 0 else ZOOM for i in range(4)])
        for i in np.flatnonzero(infos.get("_seed", [])):
            seen[i].append(infos["sample_id"][i])
    assert len(seen[0]) > len(seen[2]) > 3
    assert len(set(seen[0])) > 5
    assert all(names == seen[0][: len(names)] for names in seen.values())


def test_resets_without_a_seed_go_on_and_bring_a_group_back_in_step():
    envs = thread_env(4, group_size=2, dataset=samples(200), autoreset_mode="Disabled")
    first = envs.reset(seed=5)[1]["seed"].tolist()
    envs.reset(options={"reset_mask": np.array([True, False, False, False])})
    second = envs.reset()[1]["seed"].tolist()
    assert second[0] == second[1]
    assert second[2] == second[3]
    assert not set(first) & set(second)
    assert envs.reset(seed=5)[1]["seed"].tolist() == first
    unseeded = [thread_env(4, group_size=2).reset()[1]["seed"].tolist() for _ in range(2)]
    assert unseeded[0] != unseeded[1]
    assert unseeded[0][0] == unseeded[0][1]


def test_options_choose_samples():
    envs = thread_env(4, group_size=2)
    assert envs.reset(seed=0, options={"index": 3})[1]["sample_id"].tolist() == ["s3"] * 4
    assert envs.reset(options={"index": [1, 1, np.int64(4), 4]})[1]["sample_id"].tolist() == ["s1", "s1", "s4", "s4"]
    mine = make_sample(9, id="mine")
    _, infos = envs.reset(options={"sample": [mine, None, None, mine], "index": [None, 2, 2, None]})
    assert infos["sample_id"].tolist() == ["mine", "s2", "s2", "mine"]
    mask = np.array([False, True, False, False])
    observation, infos = envs.reset(options={"sample": mine, "reset_mask": mask})
    assert infos["_sample_id"].tolist() == mask.tolist()
    assert "Question 9?" in observation["text"][1]
    assert "Question 2?" in observation["text"][2]


# --- autoreset -----------------------------------------------------------------------------------------------------


def test_autoreset_on_the_next_step():
    envs = thread_env(2)
    envs.reset(seed=0)
    observation, _, terminated, _, infos = envs.step([ANSWER, ZOOM])
    assert terminated.tolist() == [True, False]
    assert observation["text"][0] == ""
    assert infos["trajectory"][0].answer == "A"
    assert infos["_trajectory"].tolist() == [True, False]
    observation, rewards, terminated, _, infos = envs.step([None, ANSWER])
    assert "Question" in observation["text"][0]
    assert rewards[0] == 0.0
    assert terminated.tolist() == [False, True]
    assert infos["_sample_id"].tolist() == [True, False]


def test_autoreset_in_the_same_step():
    envs = thread_env(2, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset(seed=0)
    observation, _, terminated, _, infos = envs.step([ANSWER, ZOOM])
    assert terminated.tolist() == [True, False]
    assert "Question" in observation["text"][0]
    assert infos["final_obs"][0] == {"text": "", "images": ()}
    assert infos["_final_info"].tolist() == [True, False]
    assert infos["final_info"]["trajectory"][0].answer == "A"
    assert infos["_sample_id"].tolist() == [True, False]
    *_, terminated, _, infos = envs.step([None, ANSWER])
    assert terminated.tolist() == [False, True]


def test_no_autoreset():
    envs = thread_env(2, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    envs.step([ANSWER, ZOOM])
    with pytest.raises(gym.error.ResetNeeded, match=r"\[0\]"):
        envs.step([ANSWER, ZOOM])
    observation, rewards, terminated, _, infos = envs.step([None, ANSWER])
    assert terminated.tolist() == [True, True]
    assert (observation["text"], rewards[0]) == (("", ""), 0.0)
    assert infos["_trajectory"].tolist() == [False, True]
    observation, _ = envs.reset(options={"reset_mask": np.array([False, True])})
    assert observation["text"][0] == ""
    assert "Question" in observation["text"][1]
    *_, terminated, _, _ = envs.step([None, ZOOM])
    assert terminated.tolist() == [True, False]


def test_an_environment_without_an_action_waits():
    envs = thread_env(2)
    first, _ = envs.reset(seed=0)
    observation, rewards, terminated, truncated, infos = envs.step([None, ZOOM])
    assert same(observation["images"][0], first["images"][0])
    assert not rewards.any()
    assert not (terminated | truncated).any()
    assert infos["_turn"].tolist() == [False, True]


# --- failures ------------------------------------------------------------------------------------------------------


def test_a_failing_step_ends_only_its_own_episode():
    dataset = [*samples(2), make_sample(3, id="bad")]
    envs = thread_env(3, dataset=dataset, rubric=FAILS_ON_BAD)
    envs.reset(seed=0, options={"index": [0, 2, 1]})
    envs.step([ZOOM] * 3)
    observation, rewards, terminated, truncated, infos = envs.step([ZOOM, ANSWER, ANSWER])
    assert observation in envs.observation_space
    assert truncated.tolist() == [False, True, False]
    assert terminated.tolist() == [False, False, True]
    assert rewards[1] == 0.0
    assert infos["error"].tolist() == [None, "RuntimeError: the judge is out", None]
    assert infos["stop_reason"][1] == "error"
    lost = infos["trajectory"][1]
    assert (lost.stop_reason, lost.truncated, len(lost.turns), lost.answer) == ("error", True, 2, "A")
    assert lost.metadata["error"] == infos["error"][1]
    assert [trajectory is None for trajectory in envs.call("trajectory")] == [False, True, False]
    observation, _, terminated, truncated, infos = envs.step([ZOOM, "", ""])
    assert not (terminated | truncated).any()
    assert "Question" in observation["text"][1]
    assert infos["_sample_id"].tolist() == [False, True, True]


def test_a_reset_that_fails_in_the_same_step_ends_the_next():
    dataset = [make_sample(0), make_sample(1, id="bad", images=(b"no image",))]
    envs = thread_env(1, dataset=dataset, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset(seed=0, options={"index": 0})
    pairs = set()
    for _ in range(30):
        observation, _, terminated, truncated, infos = envs.step([ANSWER])
        failed, began_badly = bool(truncated[0]), not observation["text"][0]
        assert failed != bool(terminated[0])
        assert ("error" in infos) == began_badly
        final = infos["final_info"]
        assert final["stop_reason"][0] == ("error" if failed else "answer")
        assert not failed or "ImageError" in final["error"][0]
        pairs.add((failed, began_badly))
    assert len(pairs) == 4, "good and bad episodes must follow each other in every order"


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_failing_reset_is_an_episode_that_ends_at_once(mode):
    dataset = [make_sample(0), make_sample(1, id="bad", images=(b"no image",))]
    envs = thread_env(2, dataset=dataset, autoreset_mode=mode)
    observation, infos = envs.reset(seed=0, options={"index": [0, 1]})
    assert observation in envs.observation_space
    assert (observation["text"][1], observation["images"][1]) == ("", ())
    assert infos["_error"].tolist() == [False, True]
    assert "bad" in infos["error"][1]
    _, _, terminated, truncated, infos = envs.step([ZOOM, None])
    assert (terminated.tolist(), truncated.tolist()) == ([False, False], [False, True])
    final = infos["final_info"] if mode is AutoresetMode.SAME_STEP else infos
    assert "ImageError" in final["error"][1]


def test_a_data_set_of_bad_samples_never_hangs():
    dataset = [make_sample(i, images=(b"no image",)) for i in range(3)]
    envs = thread_env(2, dataset=dataset)
    envs.reset(seed=0)
    seeds = set()
    for _ in range(6):
        *_, truncated, infos = envs.step([ZOOM, ZOOM])
        assert truncated.all()
        seeds.update(infos["seed"].tolist())
    assert len(seeds) == 12


def test_a_group_stays_in_step_after_a_failure():
    dataset = [*samples(6), make_sample(7, id="bad")]
    plain = thread_env(2, group_size=2, dataset=dataset, rubric=FAILS_ON_BAD)
    plain.reset(seed=3, options={"index": [6, 0]})
    *_, truncated, _ = plain.step([ANSWER, ANSWER])
    assert truncated.tolist() == [True, False]
    *_, infos = plain.step([None, None])
    assert infos["sample_id"][0] == infos["sample_id"][1]
    assert infos["seed"][0] == infos["seed"][1]


# --- users' errors -------------------------------------------------------------------------------------------------


def test_wrong_configurations_raise_at_once():
    with pytest.raises(ValueError, match="num_envs=5, group_size=2"):
        thread_env(5, group_size=2)
    with pytest.raises(ValueError, match="num_threads=0"):
        thread_env(num_threads=0)
    with pytest.raises(TypeError, match="max_turn"):
        thread_env(max_turn=3)
    with pytest.raises(ValueError, match="SomeStep"):
        thread_env(autoreset_mode="SomeStep")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"indx": 3}, ValueError, "indx"),
        ({"index": 5}, IndexError, "index 5"),
        ({"index": [0, 1]}, ValueError, "2 entries for 4"),
        ({"sample": "s1"}, TypeError, "must be a Sample, not str"),
        ({"sample": 3}, TypeError, "must be a Sample, not int"),
        ({"reset_mask": [True] * 4}, TypeError, "boolean array"),
        ({"reset_mask": np.zeros(4, dtype=bool)}, ValueError, "a True in it"),
        ({"reset_mask": np.ones(3, dtype=bool)}, ValueError, r"shape \(4,\)"),
    ],
)
def test_wrong_options_raise_at_once(options, error, message):
    envs = thread_env()
    envs.reset(seed=0)
    with pytest.raises(error, match=message):
        envs.reset(options=options)


def test_wrong_calls_raise_at_once_and_leave_everything_as_it_was():
    envs = thread_env(2)
    with pytest.raises(gym.error.ResetNeeded):
        envs.step([ZOOM, ZOOM])
    with pytest.raises(gym.error.ResetNeeded, match=r"\[1\]"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ValueError, match="3 seeds"):
        envs.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="-1"):
        envs.reset(seed=-1)
    envs.reset(seed=0)
    envs.step([ANSWER, ZOOM])
    with pytest.raises(TypeError, match="one str"):
        envs.step(ZOOM)
    with pytest.raises(ValueError, match="1 actions for 2"):
        envs.step([ZOOM])
    with pytest.raises(TypeError, match="environment 1 is int"):
        envs.step([None, 3])
    undisturbed = thread_env(2)
    undisturbed.reset(seed=0)
    undisturbed.step([ANSWER, ZOOM])
    assert same(envs.step([None, ZOOM])[0], undisturbed.step([None, ZOOM])[0])


# --- the rest of the interface -------------------------------------------------------------------------------------


def test_actions_may_be_calls_and_messages():
    envs = thread_env(3)
    envs.reset(seed=0, options={"index": 0})
    call = {"name": "image_zoom_in_tool", "arguments": '{"bbox_2d": [5, 5, 70, 60]}'}
    message = {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": call}]}
    observation, *_ = envs.step([ZOOM, ToolCall("image_zoom_in_tool", {"bbox_2d": [5, 5, 70, 60]}), message])
    assert same(observation["images"][0], observation["images"][1])
    assert same(observation["images"][0], observation["images"][2])


def test_call_render_and_gymnasiums_wrappers():
    envs = thread_env(2, render_mode="ansi")
    envs.reset(seed=0)
    assert all("Question" in frame for frame in envs.render())
    assert [trajectory.turns for trajectory in envs.call("trajectory")] == [(), ()]
    wrapped = gym.wrappers.vector.RecordEpisodeStatistics(envs)
    wrapped.reset(seed=0)
    *_, infos = wrapped.step([ANSWER, ZOOM])
    assert infos["episode"]["l"].tolist() == [1, 0]
    wrapped.close()
    assert envs.closed
