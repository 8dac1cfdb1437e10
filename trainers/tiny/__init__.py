"""The tiny policy: a stock Qwen2.5-VL with 0.6 million parameters that stands in for a pretrained one on a laptop."""

from pathlib import Path

BASE = Path(__file__).parent / "base"
"""The shipped model directory; ``deepeyes build-tiny`` builds it from scratch."""
