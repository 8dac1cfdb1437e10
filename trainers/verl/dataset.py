"""DeepEyesDataset: any of our data sets as rows of verl."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    import torch
    from torch.utils.data import Dataset as TorchDataset

from deepeyes_env.core import Sample
from deepeyes_env.errors import DataError
from deepeyes_env.trainers.tracking import names
from deepeyes_env.trainers.verl.sources import absolute, open_source

AGENT = "deepeyes"

logger = logging.getLogger(__name__)


class DeepEyesDataset(TorchDataset[dict[str, Any]]):
    """Rows for ``DeepEyesAgentLoop``, of any data set that ``deepeyes_env.data.load`` reads.

    Named by ``data.custom_cls.path=pkg://deepeyes_env.trainers.verl.dataset`` and ``data.custom_cls.name``; then
    ``data.train_files`` and ``data.val_files`` may be parquet files of DeepEyes, JSONL, TSV, a V* folder, the name of a
    built-in task, or a ``.json`` file with settings of it. A row holds no pixels: it says where its sample is, and the
    process that plays it reads it there. Rows without a toolbox are ordinary questions, played in one message.

    Args:
        data_files: One name, or several.
        tokenizer: verl's; not used.
        config: verl's ``data`` section; not used.
        processor: verl's; not used.
        max_samples: Most rows; all of them if it is below 1.

    Raises:
        DataError: There is no such data set, or it cannot be read.
    """

    def __init__(
        self,
        data_files: str | Sequence[str],
        tokenizer: Any = None,
        config: Any = None,
        processor: Any = None,
        max_samples: int = -1,
    ) -> None:
        files = [data_files] if isinstance(data_files, str) else list(data_files)
        self._places: list[tuple[str, int]] = []
        for name in map(absolute, files):
            self._places += [(name, index) for index in range(len(open_source(name)))]
        if max_samples > 0:
            del self._places[max_samples:]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, item: int) -> dict[str, Any]:
        source, index = self._places[item]
        try:
            sample = open_source(source)[index]
        except DataError as error:
            logger.warning("a row cannot be read; its rollouts will fail: %s", error)
            sample = None
        return row_of(sample, source, index, item)


def row_of(sample: Sample | None, source: str, index: int, number: int) -> dict[str, Any]:
    """Return what verl wants to know of a sample, and where the sample is.

    Args:
        sample: The sample; ``None`` for one that cannot be read, which is left to the environment to say.
        source: Name of its data set.
        index: Its number there.
        number: Its number among all rows.
    """
    where = {"source": source, "index": index}
    return {
        "deepeyes": where,
        "agent_name": AGENT,
        "raw_prompt": [{"role": "user", "content": sample.question if sample else ""}],
        "data_source": data_source_of(sample) if sample else "unreadable",
        "reward_model": {"style": "rule", "ground_truth": sample.answer if sample else ""},
        "extra_info": {"index": number, "sample_id": sample.id if sample else "", "deepeyes": where},
        "index": number,
        "tools_kwargs": {},
        "dummy_tensor": torch.zeros(1, dtype=torch.uint8),  # a batch of verl has at least one tensor
    }


def data_source_of(sample: Sample) -> str:
    """Return the name under which verl averages validation metrics: the data source, and whether a zoom is needed."""
    easy = sample.metadata.get("easy")
    kind = "" if easy is None else names.EASY if easy else names.HARD
    return f"{sample.data_source or 'unknown'}{kind}"
