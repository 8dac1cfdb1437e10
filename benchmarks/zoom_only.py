"""What the tiny policy learns of ``code_search`` with zooms alone, in as many steps as ``make train-v2`` takes.

``python benchmarks/zoom_only.py OUT [SEED]`` gives it the cold start of ``deepeyes build-tiny --code``, but what it
imitates only crops: the boxes that a question is about, or the halves of a picture full of dots, and then answers
rightly. GRPO with the preset ``tiny_v2`` follows. Prints the held-out accuracy by task.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.learned_tools import table
from deepeyes_env.core import Sample, ToolCall, Trajectory
from deepeyes_env.data.visual_search.code_programs import crop_program
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.tools.python import PythonTool
from deepeyes_env.tools.text_search import SEARCH_VARIABLE
from deepeyes_env.trainers.grpo.config import load_config
from deepeyes_env.trainers.grpo.run import run
from deepeyes_env.trainers.tiny.cold_start import WordyOracle, cold_start


class ZoomingOracle(WordyOracle):
    """Crops what a question is about, one box a message, and gives the right answer."""

    name = "zooming_oracle"

    def calls(self, episode: Trajectory) -> list[ToolCall]:
        """Return the crops; none where the view shows the answer."""
        sample = episode.sample
        crops = [] if sample.metadata["easy"] else looks(sample)
        return [ToolCall(PythonTool.name, {"code": crop}) for crop in crops]


def looks(sample: Sample) -> list[str]:
    """Return the crops of what a question is about."""
    colours = [word for word in sample.question.split() if word in COLOURS]
    if sample.metadata["task"] == "count":
        width, height = sample.metadata["size"]
        halves = (0, 0, width // 2, height), (width // 2, 0, width, height)
        return [crop_program(colours[0], box) for box in halves]
    named = colours[::-1] if sample.metadata["task"] == "length" else colours  # boxes begin with the longer bar
    return [crop_program(colour, box) for colour, box in zip(named, sample.boxes, strict=True)]


def main(out: Path, seed: int) -> None:
    os.environ[SEARCH_VARIABLE] = str(out / "facts")
    cold_start(out / "cold", seed, imitated=ZoomingOracle(seed))
    settings = [f"seed={seed}", f"model={out}/cold", f"out={out}/run"]
    run(load_config(settings, Path("tiny_v2")), overwrite=True, live=False)
    print(table([out / "run"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
