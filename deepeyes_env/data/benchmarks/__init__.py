"""Benchmarks by name: their file formats, and transforms for all of them."""

from deepeyes_env.data.benchmarks import builtin  # noqa: F401  # registers them
from deepeyes_env.data.benchmarks.registry import (
    BENCHMARKS,
    Benchmark,
    Metric,
    benchmarks,
    open_benchmark,
    register_benchmark,
)
from deepeyes_env.data.benchmarks.transforms import FIXED_OPTIONS, GROUP, numbered

__all__ = [
    "BENCHMARKS",
    "FIXED_OPTIONS",
    "GROUP",
    "Benchmark",
    "Metric",
    "benchmarks",
    "numbered",
    "open_benchmark",
    "register_benchmark",
]
