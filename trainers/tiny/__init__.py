"""The tiny policy: a stock Qwen2.5-VL with 0.6 million parameters that stands in for a pretrained one on a laptop."""

from pathlib import Path

from deepeyes_env.extras import require_extra

require_extra("train", "torch", "transformers")

BASE = Path(__file__).parent / "base"
"""The shipped model directory; ``deepeyes build-tiny`` builds it from scratch."""
