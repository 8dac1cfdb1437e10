"""The tiny policy: a stock Qwen2.5-VL of 0.6 million weights that stands in for a pretrained one on a laptop."""

from pathlib import Path

BASE = Path(__file__).parent / "base"
"""The shipped model directory; ``deepeyes build-tiny`` makes it from nothing."""
