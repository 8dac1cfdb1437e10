"""Rows: what TRL is given as its data set. A row names a question; the environment shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets

from deepeyes_env.data import Dataset, load
from deepeyes_env.envs.prompt import BoundToolbox
from deepeyes_env.envs.prompt_files import PromptTemplateLike, get_prompt_template
from deepeyes_env.envs.row_prompt import PromptSource
from deepeyes_env.envs.toolbox import PLAIN, Toolbox, get_toolbox
from deepeyes_env.errors import DataError, UsageError

KEY = "deepeyes"
"""In the last message of a prompt: which question it stands for. TRL hands a ``rollout_func`` nothing but prompts."""


def make_rows(
    dataset: Any = "visual_search",
    toolbox: str | Toolbox = "VisualToolbox-v2",
    *,
    indices: Sequence[int] | None = None,
    seed: int = 0,
    prompt: PromptSource = "auto",
    prompt_template: PromptTemplateLike | None = None,
) -> datasets.Dataset:
    """Return a data set for ``GRPOTrainer``: a row for each question.

    The images are not in it: an environment decodes each one once, and shows it with its question.

    Args:
        dataset: Whatever ``deepeyes_env.data.load`` makes a data set of; environments are given the same.
        toolbox: The environment.
        indices: Which questions; all by default.
        seed: With the question's index decides the order of its options: the same for all rollouts of a prompt.
        prompt: Whose words open an episode, as ``VisualToolboxEnv`` takes it. Here the system prompt is written: an
            environment of TRL's adds to the user's message alone.
        prompt_template: Other words than the protocol's, as ``VisualToolboxEnv`` takes them.

    Returns:
        Columns ``prompt``, ``index`` and ``seed``.

    Raises:
        UsageError: There are no questions.
        UnknownNameError: A toolbox is not registered.
    """
    source: Dataset = load(dataset)
    chosen = list(range(len(source)) if indices is None else indices)
    if not chosen:
        raise UsageError(f"dataset={dataset!r}: holds no questions to make rows of")
    prompts = _SystemPrompts(source, get_toolbox(toolbox), prompt, prompt_template)
    return datasets.Dataset.from_list(
        [
            {"prompt": _messages(prompts(index), f"{index} {seed + index}"), "index": index, "seed": seed + index}
            for index in chosen
        ]
    )


class _SystemPrompts:
    """The system prompt of each question of a data set, as an environment has it."""

    def __init__(self, source: Dataset, own: Toolbox, prompt: PromptSource, words: PromptTemplateLike | None) -> None:
        self._source, self._own, self._prompt = source, own, prompt
        self._template = get_prompt_template(words)
        self._bound: dict[str, BoundToolbox] = {}

    def __call__(self, index: int) -> str:
        try:
            sample = self._source[index]
        except (DataError, OSError):  # the environment says what is wrong with it, and counts it
            return self._of(self._own).system_prompt
        name = sample.env_name
        bound = self._of(PLAIN if name is None else get_toolbox(name) if name else self._own)
        return bound.opening(sample, self._prompt).system_prompt

    def _of(self, toolbox: Toolbox) -> BoundToolbox:
        if toolbox.name not in self._bound:
            self._bound[toolbox.name] = BoundToolbox.of(toolbox, self._template)
        return self._bound[toolbox.name]


def _messages(system: str, question: str) -> list[dict[str, str]]:
    opening = [{"role": "system", "content": system, KEY: ""}] if system else []
    return [*opening, {"role": "user", "content": "", KEY: question}]


def question_of(prompt: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Return the index and the seed of the question that a prompt of ``make_rows`` stands for.

    Raises:
        UsageError: It was not made by ``make_rows``.
    """
    try:
        index, seed = str(prompt[-1][KEY]).split()
        return int(index), int(seed)
    except (LookupError, ValueError, TypeError):
        made = "make train_dataset with deepeyes_env.trainers.trl.make_rows"
        raise UsageError(f"a prompt names no question; {made}") from None
