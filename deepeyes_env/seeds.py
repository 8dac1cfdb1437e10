"""Seeds of runs."""

from __future__ import annotations

from deepeyes_env.errors import UsageError

MAX_SEED = 2**62 - 1
"""The largest seed of a run: the seeds of its episodes follow it, and vectors of environments hold them in 64 bits."""


def check_seed(seed: int) -> None:
    """Check the seed of a run.

    Raises:
        UsageError: It is not between 0 and ``MAX_SEED``.
    """
    if seed < 0:
        raise UsageError(f"seed={seed}: must be 0 or more")
    if seed > MAX_SEED:
        raise UsageError(f"seed={seed}: must be at most {MAX_SEED}")
