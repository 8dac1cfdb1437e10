"""Questions of which several options have equal texts: the right one goes by its letter, wherever it is shown."""

import base64
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env import agents
from deepeyes_env.core import Sample, Turn
from deepeyes_env.data import load, tsv
from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.data.benchmarks.transforms import Circular
from deepeyes_env.data.vlmevalkit import write_tsv
from deepeyes_env.data.vstar import write_vstar
from deepeyes_env.equal_options import ANSWER_TWIN, place_in, right_options, twin_mark
from deepeyes_env.images.codec import encode
from deepeyes_env.judges import RuleJudge
from deepeyes_env.judges.llm_prompts import Case
from deepeyes_env.option_letters import option_letter
from deepeyes_env.trajectories.export.vlmevalkit import BenchmarkQuestion, prediction_of

IMAGE = encode(np.zeros((40, 40, 3), np.uint8))
OPTIONS = ("an iron rod", "a tin cup", "an iron rod", "None")


@pytest.fixture
def dataset(tmp_path):
    """The same four options with each letter as the right one."""
    rows = [["index", "image", "question", *"ABCD", "answer"]]
    rows += [[str(i), base64.b64encode(IMAGE).decode(), "Which?", *OPTIONS, letter] for i, letter in enumerate("ABCD")]
    (tmp_path / "equal.tsv").write_bytes(b"".join(map(tsv.join_record, rows)))
    return load(tmp_path / "equal.tsv")


def test_the_letter_of_the_file_is_kept(dataset, tmp_path):
    assert [sample.metadata for sample in dataset] == [{ANSWER_TWIN: 0}, {}, {ANSWER_TWIN: 1}, {}]
    assert [right_options(s.options, s.answer, s.metadata) for s in dataset] == [(0,), (1,), (2,), (3,)]
    write_tsv(dataset, tmp_path / "again.tsv")
    assert [replace(sample, data_source="equal") for sample in load(tmp_path / "again.tsv")] == list(dataset)


def test_it_is_judged_by_letter_and_the_shared_text_is_unclear(dataset):
    judge, chain = RuleJudge(), RuleJudge(abstain=True)
    for index, sample in enumerate(dataset):
        for place, letter in enumerate("ABCD"):
            for said in (letter, f"({letter}) {OPTIONS[place]}", f"The answer is {letter}."):
                assert judge(said, sample).score == (place == index), (said, sample.answer)
        for said in ("an iron rod", "The answer is an iron rod.", "It must be an iron rod, because of the rust."):
            assert judge(said, sample).score == 0
            if sample.answer == "an iron rod":
                verdict = chain(said, sample)
                assert (verdict.score, verdict.reason) == (0, "names several options with the same text")
    assert judge("a tin cup", dataset[1]).score == 1


def test_a_judging_model_is_told_the_one_right_letter(dataset):
    assert "Right answer: A. an iron rod\n" in Case.of(dataset[0], "x").text
    assert "Right answer: C. an iron rod\n" in Case.of(dataset[2], "x").text
    unknown = replace(dataset[2], metadata={})
    assert "Right answer: A. an iron rod or C. an iron rod\n" in Case.of(unknown, "x").text


def test_one_is_right_in_whatever_order_it_is_shown_and_exports_keep_its_letter(dataset):
    run = agents.rollout("VisualToolbox-v2", "oracle", dataset=dataset, episodes=16, in_order=True, progress=False)
    assert all(episode.right for episode in run.trajectories)
    assert len({episode.answer for episode in run.trajectories}) == 4
    for episode in run.trajectories:
        original = BenchmarkQuestion.of(dataset[int(episode.sample.id)])
        row = prediction_of(episode, original)
        assert row.prediction == row.others["answer"] == "ABCD"[int(episode.sample.id)]
        for place in range(4):
            said = option_letter(place)
            other = replace(episode, turns=(Turn(f"<answer>{said}</answer>", answer=said),))
            right = RuleJudge()(said, other.sample).score == 1
            assert (prediction_of(other, original).prediction == row.others["answer"]) == right
        vague = replace(episode, turns=(Turn("<answer>an iron rod</answer>", answer="an iron rod"),))
        assert prediction_of(vague, original).prediction == "an iron rod"
        assert "answer_twin" not in row.others


def test_a_restored_episode_has_the_same_right_letter(dataset):
    env = gym.make("VisualToolbox-v2", dataset=dataset).unwrapped
    env.reset(seed=3, options={"index": 2})
    state = env.snapshot()
    shown = env.trajectory.sample
    (right,) = right_options(shown.options, shown.answer, shown.metadata)
    env.reset(seed=4, options={"index": 0})
    env.restore(state)
    _, reward, *_ = env.step(f"<answer>{option_letter(right)}</answer>")
    assert reward > 0


def test_cycled_options_have_one_right_letter_each(dataset):
    for sample in Circular(dataset):
        (right,) = right_options(sample.options, sample.answer, sample.metadata)
        assert sample.options[right] == sample.answer


def test_other_formats_keep_it(dataset, tmp_path):
    one = replace(dataset[2], metadata={**dataset[2].metadata, "category": "direct_attributes"})
    write_vstar([one], tmp_path / "vstar")
    (read,) = load(tmp_path / "vstar")
    assert sorted(read.options) == sorted(OPTIONS)
    assert right_options(read.options, read.answer, read.metadata) == (0,)


def test_mme_realworld(tmp_path):
    choices = "\n".join(f"({letter}) {text}" for letter, text in zip("ABCD", OPTIONS, strict=True))
    image = base64.b64encode(IMAGE).decode()
    rows = [["index", "image", "question", "multi-choice options", "answer"], ["0", image, "Which?", choices, "C"]]
    (tmp_path / "m.tsv").write_bytes(b"".join(map(tsv.join_record, rows)))
    _, (sample,) = open_benchmark("mme-realworld-lite", tmp_path / "m.tsv")
    assert [RuleJudge()(letter, sample).score for letter in "ABC"] == [0, 0, 1]


def test_without_a_letter_all_that_have_the_text_are_right():
    sample = Sample("s", "Which?", "an iron rod", IMAGE, options=OPTIONS)
    assert right_options(sample.options, sample.answer, {}) == (0, 2)
    for wrong in (-1, 2, True, "1", None):
        assert right_options(sample.options, sample.answer, {ANSWER_TWIN: wrong}) == (0, 2)
    assert RuleJudge()("an iron rod", sample).score == 1


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8), st.data())
def test_places_agree_in_any_order(options, data):
    order = data.draw(st.permutations(options))
    there = [place_in(order, options, index) for index in range(len(options))]
    assert sorted(there) == list(range(len(options)))
    for index, place in enumerate(there):
        assert order[place] == options[index]
        assert place_in(options, order, place) == index
        mark = twin_mark(options, index)
        assert (right_options(options, options[index], mark), right_options(order, options[index], mark)) == (
            (index,),
            (place,),
        )
