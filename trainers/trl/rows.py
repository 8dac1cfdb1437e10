"""Rows: what TRL is given as its data set. A row names a question; the environment shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets

from deepeyes_env.data import Dataset, load
from deepeyes_env.envs.prompt import BoundToolbox
from deepeyes_env.envs.toolbox import Toolbox, get_toolbox
from deepeyes_env.errors import UsageError

KEY = "deepeyes"
"""In the last message of a prompt: which question it stands for. TRL hands a ``rollout_func`` nothing but prompts."""


def make_rows(
    dataset: Any = "visual_search",
    toolbox: str | Toolbox = "VisualToolbox-v2",
    *,
    indices: Sequence[int] | None = None,
    seed: int = 0,
) -> datasets.Dataset:
    """Return a data set for ``GRPOTrainer``: a row for each question.

    The images are not in it: an environment decodes each one once, and shows it with its question.

    Args:
        dataset: Whatever ``deepeyes_env.data.load`` makes a data set of; environments are given the same.
        toolbox: The environment; its protocol's system prompt opens each prompt.
        indices: Which questions; all by default.
        seed: With the question's index decides the order of its options: the same for all rollouts of a prompt.

    Returns:
        Columns ``prompt``, ``index`` and ``seed``.

    Raises:
        UsageError: There are no questions.
        UnknownNameError: The toolbox is not registered.
    """
    source: Dataset = load(dataset)
    chosen = list(range(len(source)) if indices is None else indices)
    if not chosen:
        raise UsageError(f"dataset={dataset!r}: holds no questions to make rows of")
    system = BoundToolbox.of(get_toolbox(toolbox)).system_prompt
    opening = [{"role": "system", "content": system, KEY: ""}] if system else []
    return datasets.Dataset.from_list(
        [
            {
                "prompt": [*opening, {"role": "user", "content": "", KEY: f"{index} {seed + index}"}],
                "index": index,
                "seed": seed + index,
            }
            for index in chosen
        ]
    )


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
