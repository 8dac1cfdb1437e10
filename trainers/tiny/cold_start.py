"""A cold start of the tiny policy for DeepEyesV2's tools: transcripts of programs and searches, imitated.

The policy that ships reads patterns and knows colours. Its vocabulary grows by the phrases of ``code_search`` in
DeepEyesV2's dialect, and it imitates transcripts that ``CodeDemonstrator`` plays in the real environment:

1. Imitation of the oracle's: how calls are written, how results are read.
2. Debias: imitation of transcripts of which few are the oracle's, so that calls are rare and mostly of a template that
   the question does not want. Which one it wants is left for reinforcement learning to find out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepeyes_env.agents.runner import rollout
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import Trajectory
from deepeyes_env.data.visual_search.code_questions import ANGLES
from deepeyes_env.data.visual_search.code_search import CodeSearch
from deepeyes_env.data.visual_search.facts import FIRST, SECOND, write_facts
from deepeyes_env.data.visual_search.marks import TEXTURES
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.errors import UsageError
from deepeyes_env.files import check_folder
from deepeyes_env.tools.text_search import SEARCH_VARIABLE
from deepeyes_env.trainers.sft.encoding import encode_example
from deepeyes_env.trainers.sft.examples import example_of
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.tiny.build import TINY_POLICY, Report, Stage, deterministic, imitate, write
from deepeyes_env.trainers.tiny.code_demonstrations import CodeDemonstrator
from deepeyes_env.trainers.tiny.code_phrases import ENV, RATIOS, code_fragments
from deepeyes_env.trainers.tiny.examples import Example, Pointer
from deepeyes_env.trainers.tiny.model import build_model
from deepeyes_env.trainers.tiny.phrases import phrases
from deepeyes_env.trainers.tiny.tokenizer import build_tokenizer
from deepeyes_env.trajectories.export import conversation_of

BATCH = 32

SEED = 9_000
"""First seed of the questions of transcripts; runs of training use others."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """How a cold start is made.

    Attributes:
        oracle: How many transcripts are the oracle's.
        some: How many have a call of any template, and a guess.
        none: How many have a guess only.
        imitation: Optimizer steps on the oracle's.
        debias: Optimizer steps on all, by ``shares``.
        shares: Of the three kinds of transcripts in ``debias``.
    """

    oracle: int = 600
    some: int = 200
    none: int = 200
    imitation: int = 400
    debias: int = 120
    shares: tuple[float, float, float] = (0.12, 0.38, 0.5)


def cold_start(out: Path, seed: int = 0, plan: ColdStart | None = None, report: Report | None = None) -> float:
    """Play transcripts, imitate them, and write the policy as a model directory.

    The documents are written to the folder that the variable ``DEEPEYES_SEARCH`` names.

    Args:
        out: The directory; replaced only once everything is done.
        seed: Decides transcripts, new embeddings and the order of examples.
        plan: How much of each.
        report: Progress callback.

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
    began, plan = time.perf_counter(), plan or ColdStart()
    report = report or (lambda *_: None)
    policy = grown(VisionPolicy.load(BASE), code_fragments(), seed)
    report("transcripts", 0, 3)
    kinds = []
    for number, (episodes, right, some) in enumerate(
        ((plan.oracle, 1.0, 0.0), (plan.some, 0.0, 1.0), (plan.none, 0.0, 0.0))
    ):
        kinds.append([_example(policy, each) for each in transcripts(episodes, right, some, 10 * seed + number)])
        report("transcripts", number + 1, 3)
    rng = np.random.default_rng(seed)

    def any_kind(_: float) -> Example:
        return _drawn(kinds[int(rng.choice(len(kinds), p=plan.shares))], rng)

    with deterministic():
        stage = Stage(plan.imitation, 1e-3, BATCH)
        imitate(policy, stage, lambda _: _drawn(kinds[0], rng), "imitation", report)
        imitate(policy, Stage(plan.debias, 5e-4, BATCH), any_kind, "debias", report)
    write(policy, out)
    return time.perf_counter() - began


def transcripts(episodes: int, right: float, some: float, seed: int) -> tuple[Trajectory, ...]:
    """Play episodes to be imitated; see ``CodeDemonstrator``."""
    dataset = CodeSearch(seed=SEED + seed, length=episodes)
    agent = CodeDemonstrator(right, some, seed)
    return rollout(ENV, agent, dataset=dataset, episodes=episodes, in_order=True, progress=False).trajectories


def _example(policy: VisionPolicy, played: Trajectory) -> Example:
    tokens = encode_example(policy.chat, example_of(conversation_of(played, "text")), policy.factor)
    vocabulary = policy.tokenizer.get_vocab()
    asked = {vocabulary[word] for word in (*COLOURS, *FIRST, *SECOND, *map(str, ANGLES))}
    found = {vocabulary[word] for word in (*map(str, range(10, 100)), *RATIOS)}
    found |= {vocabulary[policy.tokenizer.backend_tokenizer.normalizer.normalize_str(word)] for word in TEXTURES}
    return Example(tokens, tuple(copies(tokens, asked, found)))


def copies(tokens: TokenSequence, asked: Set[int], found: Set[int]) -> list[Pointer]:
    """Point from before each word that is copied to where it was read: targets of the supervised attention.

    Without them, after the same time, a policy answered with the number that it had read no more often than by chance.

    Args:
        tokens: A conversation; the mask marks what the policy writes.
        asked: Words that are copied from anywhere before.
        found: Words that are copied from results only: in the question they are options.
    """
    written = np.flatnonzero(tokens.mask)
    pointers = []
    for place in written:
        word = int(tokens.ids[place])
        first = 0 if word in asked else int(written[0]) if word in found else place
        read = first + np.flatnonzero((tokens.ids[first:place] == word) & ~tokens.mask[first:place])
        if len(read):
            source = (int(read[-1]),)
            pointers.append(Pointer(int(place) - 1, source, source))
    return pointers


def _drawn(examples: Sequence[Example], rng: np.random.Generator) -> Example:
    return examples[int(rng.integers(len(examples)))]


def grown(base: VisionPolicy, fragments: Sequence[str], seed: int) -> VisionPolicy:
    """Return a policy with more tokens; those that it had keep their embeddings.

    A number above those that it knew begins as what it knew for a quarter of it: boxes are written in native pixels
    here, and in pixels of the view there.

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
    model.load_state_dict({**old, table: own, "lm_head.weight": own})
    return VisionPolicy(model, tokenizer)
