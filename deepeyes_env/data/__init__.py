"""Data: loaders and writers of the formats in use, and the built-in procedural task."""

from deepeyes_env.data.dataset import Dataset, load
from deepeyes_env.data.jsonl import JSONLDataset, write_jsonl
from deepeyes_env.data.parquet import ParquetDataset, write_parquet
from deepeyes_env.data.rows import SkippedRow
from deepeyes_env.data.vlmevalkit import TSVDataset, write_tsv
from deepeyes_env.data.vstar import VStarDataset, write_vstar
from deepeyes_env.data.write import write

__all__ = [
    "Dataset",
    "JSONLDataset",
    "ParquetDataset",
    "SkippedRow",
    "TSVDataset",
    "VStarDataset",
    "load",
    "write",
    "write_jsonl",
    "write_parquet",
    "write_tsv",
    "write_vstar",
]
