"""A cold start of the tiny policy for DeepEyesV2's tools: the oracle's programs and searches, imitated.

The policy that ships reads patterns and knows colours. Its vocabulary grows by the phrases of ``code_search`` in
DeepEyesV2's dialect, and it learns from episodes that are played in the real environment:

1. Imitation of the oracle: how calls are written, and how results are read.
2. Debias, as for the policy that ships: imitation of guesses, among which few calls are left. The policy can still use
   its tools and seldom does, so that what reinforcement learning has to find out is that they pay.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from deepeyes_env.agents.runner import rollout
from deepeyes_env.agents.scripted import OracleAgent, ScriptedAgent, answering, solution
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import ToolCall, Trajectory
from deepeyes_env.data.visual_search.code_questions import ANGLES, KINDS, Kind
from deepeyes_env.data.visual_search.code_search import CodeSearch
from deepeyes_env.data.visual_search.facts import FIRST, SECOND, write_facts
from deepeyes_env.data.visual_search.marks import TEXTURES
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.errors import UsageError
from deepeyes_env.files import check_folder
from deepeyes_env.tools.text_search import SEARCH_VARIABLE
from deepeyes_env.trainers.sft.encoding import encode_example
from deepeyes_env.trainers.sft.examples import example_of
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.tiny.build import TINY_POLICY, Report, Stage, deterministic, imitate, write
from deepeyes_env.trainers.tiny.code_phrases import DEFINITIONS, DONE, ENV, FINDING, RATIOS, code_fragments
from deepeyes_env.trainers.tiny.examples import Example, Pointer
from deepeyes_env.trainers.tiny.model import build_model
from deepeyes_env.trainers.tiny.phrases import phrases
from deepeyes_env.trainers.tiny.tokenizer import build_tokenizer
from deepeyes_env.trajectories.export import conversation_of

SEED, GUESSED = 9_000, 500
"""First seed of the questions of transcripts, and what is added for guesses; runs of training use others."""

CALLS = 0.1
"""Share of the examples of the second stage that are transcripts with their calls."""

ASKED: tuple[Kind, ...] = (*KINDS, "document", "zoom")
"""Kinds of the questions of transcripts; two are harder to learn than the others, and are asked twice as often."""

EASY = 0.2
"""Share of the questions of transcripts that can be answered from the view."""


class WordyOracle(OracleAgent):
    """The oracle of ``code_search``: it answers in words, not by letters."""

    name = "wordy_oracle"

    def message(self, episode: Trajectory, random: Random) -> str:
        """Make the next call, then answer."""
        calls, made = self.calls(episode), len(episode.turns)
        if made < len(calls):
            return toolbox_of(episode).protocol.format_message(FINDING, calls[made])
        return answering(episode, episode.sample.answer, DONE)

    def calls(self, episode: Trajectory) -> Sequence[ToolCall]:
        """Return the calls of the solution."""
        return solution(episode)


class GuessingOracle(ScriptedAgent):
    """Answers at once: what the view shows, or else a guess."""

    name = "guessing_oracle"

    def message(self, episode: Trajectory, random: Random) -> str:
        """Answer."""
        sample = episode.sample
        return answering(episode, sample.answer if sample.metadata["easy"] else random.choice(sample.options), DONE)


@dataclass(frozen=True, slots=True)
class ColdStart:
    """How long a cold start is.

    Attributes:
        transcripts: How many episodes of the oracle are played.
        guesses: How many of one that answers at once.
        imitation: Of transcripts.
        debias: Of guesses, and of transcripts with the probability ``CALLS``.
    """

    transcripts: int
    guesses: int
    imitation: Stage
    debias: Stage


PLAN = ColdStart(transcripts=1500, guesses=600, imitation=Stage(900, 1e-3, 24), debias=Stage(80, 1e-3, 24))


def cold_start(
    out: Path,
    seed: int = 0,
    plan: ColdStart = PLAN,
    report: Report | None = None,
    imitated: ScriptedAgent | None = None,
) -> float:
    """Play transcripts, imitate them, and write the policy as a model directory.

    The documents are written to the folder that the variable ``DEEPEYES_SEARCH`` names.

    Args:
        out: The directory; replaced only once everything is done.
        seed: Decides transcripts, new embeddings and the order of examples.
        plan: How long.
        report: Progress callback.
        imitated: Whose transcripts; the oracle's by default.

    Returns:
        The seconds that it took.

    Raises:
        FileExistsError: The directory holds what ``build`` did not write.
        UsageError: The variable is not set.
        ToolSetupError: The sandbox cannot be had.
    """
    TINY_POLICY.check(out)
    check_folder(out)
    if folder := os.environ.get(SEARCH_VARIABLE):
        write_facts(folder)
    else:
        raise UsageError(f"{SEARCH_VARIABLE} is not set: name the folder that the documents are to be written to")
    began = time.perf_counter()
    torch.set_num_threads(1)  # a step is too small for two, which wait for each other where other work is done
    report = report or (lambda *_: None)
    policy = grown(VisionPolicy.load(BASE), code_fragments(), seed)
    report("transcripts", 0, 1)
    oracle, guesser = imitated or WordyOracle(seed), GuessingOracle(seed)
    solved = [_example(policy, each) for each in transcripts(oracle, plan.transcripts, SEED + seed)]
    guessed = [_example(policy, each) for each in transcripts(guesser, plan.guesses, SEED + GUESSED + seed)]
    report("transcripts", 1, 1)
    rng = np.random.default_rng(seed)

    def drawn(examples: Sequence[Example]) -> Example:
        return examples[int(rng.integers(len(examples)))]

    with deterministic():
        imitate(policy, plan.imitation, lambda _: drawn(solved), "imitation", report)
        imitate(policy, plan.debias, lambda _: drawn(solved if rng.random() < CALLS else guessed), "debias", report)
    write(policy, out)
    return time.perf_counter() - began


def transcripts(agent: ScriptedAgent, episodes: int, seed: int) -> tuple[Trajectory, ...]:
    """Play the episodes that are imitated, on questions of a seed."""
    dataset = CodeSearch(seed=seed, length=episodes, kinds=ASKED, easy=EASY)
    return rollout(ENV, agent, dataset=dataset, episodes=episodes, in_order=True, progress=False).trajectories


def _example(policy: VisionPolicy, played: Trajectory) -> Example:
    tokens = encode_example(policy.chat, example_of(conversation_of(played, "text")), policy.factor)
    vocabulary = policy.tokenizer.get_vocab()
    spelled = policy.tokenizer.backend_tokenizer.normalizer.normalize_str
    asked = {vocabulary[word]: vocabulary[word] for word in (*COLOURS, *FIRST, *SECOND, *map(str, ANGLES))}
    asked |= {vocabulary[spelled(text)]: vocabulary[colour] for colour, text in DEFINITIONS.items()}
    found = {vocabulary[word] for word in (*map(str, range(10, 100)), *RATIOS)}
    found |= {vocabulary[spelled(word)] for word in TEXTURES}
    return Example(tokens, tuple(copies(tokens, asked, found)))


def copies(tokens: TokenSequence, asked: Mapping[int, int], found: Set[int]) -> list[Pointer]:
    """Point from before each word that is copied to where it was read: targets of the supervised attention.

    Without them, after the same time, a policy answered with the number that it had read no more often than by chance.

    Args:
        tokens: A conversation; the mask marks what the policy writes.
        asked: Words that are copied from anywhere before, and what each is read as.
        found: Words that are copied from results only: in the question they are options.
    """
    written = np.flatnonzero(tokens.mask)
    pointers = []
    for place in written:
        word = int(tokens.ids[place])
        first = 0 if word in asked else int(written[0]) if word in found else place
        said = asked.get(word, word)
        read = first + np.flatnonzero((tokens.ids[first:place] == said) & ~tokens.mask[first:place])
        if len(read):
            source = (int(read[-1]),)
            pointers.append(Pointer(int(place) - 1, source, source))
    return pointers


def grown(base: VisionPolicy, fragments: Sequence[str], seed: int) -> VisionPolicy:
    """Return a policy with more tokens; those that it had keep their embeddings.

    A number above those that it knew begins as what it knew for a quarter of it: boxes are written in native pixels
    here, and in pixels of the view there. The definition of a colour begins as the colour's name.

    Args:
        base: The policy.
        fragments: Texts that become one token each.
        seed: Seed of the embeddings of new tokens.
    """
    tokenizer = build_tokenizer([*phrases().fragments(), *fragments])
    model = build_model(tokenizer, seed)
    known, old = base.tokenizer.get_vocab(), base.model.state_dict()
    table = "model.language_model.embed_tokens.weight"
    rows: Any = old[table]
    own = model.state_dict()[table].normal_(0, rows.std().item())
    for token, number in tokenizer.get_vocab().items():
        same = token if token in known else str(int(token) // 4) if token.isdecimal() else None
        if same in known:
            own[number] = rows[known[same]]
    numbers = tokenizer.get_vocab()
    for colour, text in DEFINITIONS.items():
        own[numbers[tokenizer.backend_tokenizer.normalizer.normalize_str(text)]] = own[numbers[colour]]
    model.load_state_dict({**old, table: own, "lm_head.weight": own})
    return VisionPolicy(model, tokenizer)
