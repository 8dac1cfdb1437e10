"""The cold start for DeepEyesV2's tools: its words, its transcripts, and that it runs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env import agents  # noqa: E402
from deepeyes_env.agents.transformers.policy import VisionPolicy  # noqa: E402
from deepeyes_env.agents.transformers.sequence import TokenSequence  # noqa: E402
from deepeyes_env.data.visual_search import CodeSearch, write_facts  # noqa: E402
from deepeyes_env.errors import UsageError  # noqa: E402
from deepeyes_env.sandbox import get_sandbox  # noqa: E402
from deepeyes_env.trainers.tiny import BASE  # noqa: E402
from deepeyes_env.trainers.tiny.build import TINY_POLICY, Stage  # noqa: E402
from deepeyes_env.trainers.tiny.code_phrases import ENV, code_fragments  # noqa: E402
from deepeyes_env.trainers.tiny.cold_start import (  # noqa: E402
    ColdStart,
    GuessingOracle,
    WordyOracle,
    cold_start,
    copies,
    grown,
    transcripts,
)
from tests.sandbox.conftest import local_sandbox  # noqa: E402


@pytest.fixture(scope="module")
def policy():
    return grown(VisionPolicy.load(BASE), code_fragments(), seed=0)


@pytest.fixture
def facts(monkeypatch, tmp_path):
    local_sandbox(get_sandbox())
    monkeypatch.setenv("DEEPEYES_SEARCH", str(write_facts(tmp_path / "facts").parent))


@pytest.mark.integration
def test_every_message_is_a_few_tokens(policy, facts):
    wanted = {sample.metadata["task"]: sample for sample in CodeSearch(length=60)}
    rows, view = list(wanted.values()), CodeSearch().view
    played = agents.rollout(
        ENV, WordyOracle(), dataset=rows, view=view, episodes=len(rows), in_order=True, progress=False
    )
    assert played.summary.accuracy == 1.0
    assert len(played.trajectories) == 7
    for episode in played.trajectories:
        assert len(policy.chat.prompt(episode)) < 60
        for turn in episode.turns:
            assert len(policy.chat.message(turn.action)) <= 14
            assert turn.observation is None or len(policy.tokenizer(turn.observation.text).input_ids) < 24


def test_what_it_knew_it_knows(policy):
    base = VisionPolicy.load(BASE)
    tables = [each.model.model.language_model.embed_tokens.weight for each in (base, policy)]
    ids = [each.tokenizer.get_vocab() for each in (base, policy)]
    assert set(ids[0]) < set(ids[1])
    for token, number in ids[0].items():
        assert torch.equal(tables[0][number], tables[1][ids[1][token]])
    assert torch.equal(tables[1][ids[1]["400"]], tables[0][ids[0]["100"]])
    assert policy.model.lm_head.weight is tables[1]


def test_copied_words_point_to_where_they_were_read():
    asked, found = {1: 1}, {2}
    ids = np.array([1, 2, 9, 1, 2, 9, 2, 9, 2])
    mask = np.array([0, 0, 0, 1, 1, 0, 0, 1, 1], np.bool_)
    tokens = TokenSequence(ids, mask, np.zeros(len(ids), np.float32))
    pointers = copies(tokens, asked, found)
    # The first 2 that is written stands in the question only, as an option; the second one was found.
    assert [(each.place, each.shown) for each in pointers] == [(2, (0,)), (7, (6,))]


def test_the_documents_need_a_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("DEEPEYES_SEARCH", raising=False)
    with pytest.raises(UsageError, match="DEEPEYES_SEARCH"):
        cold_start(tmp_path / "cold")


@pytest.mark.slow
def test_a_short_cold_start_is_written_and_plays(facts, tmp_path):
    seen = []
    plan = ColdStart(transcripts=12, guesses=12, imitation=Stage(4, 1e-3, 8), debias=Stage(2, 1e-3, 8))
    cold_start(tmp_path / "cold", plan=plan, report=lambda *told: seen.append(told))
    assert TINY_POLICY.is_at(tmp_path / "cold")
    assert [told for told in seen if told[1] == told[2]] == [
        ("transcripts", 1, 1),
        ("imitation", 4, 4),
        ("debias", 2, 2),
    ]
    assert len(VisionPolicy.load(tmp_path / "cold").tokenizer) > 600


@pytest.mark.integration
def test_transcripts_call_and_guesses_do_not(facts):
    solved, guessed = (transcripts(agent(), 24, 0) for agent in (WordyOracle, GuessingOracle))
    assert all(each.correct == 1.0 for each in solved)
    assert {bool(each.results) for each in solved if not each.sample.metadata["easy"]} == {True}
    assert not any(each.results for each in guessed)
    assert {each.correct for each in guessed} == {0.0, 1.0}
    assert all(each.correct == 1.0 for each in guessed if each.sample.metadata["easy"])
