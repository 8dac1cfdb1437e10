"""What goes wrong in a run, as rows of a data file and a plugin that every trainer can load."""

from __future__ import annotations

import threading
from pathlib import Path

from deepeyes_env import Rubric, Sample, register_toolbox
from deepeyes_env.core import ToolCall
from deepeyes_env.data.parquet import write_parquet
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.errors import JudgeError
from deepeyes_env.judges import RuleJudge
from deepeyes_env.judges.presets import register_judge
from deepeyes_env.protocols import ParsedMessage
from deepeyes_env.protocols.tagged import TaggedProtocol
from deepeyes_env.rewards import get_rubric
from deepeyes_env.tools import Tool, ZoomTool

SOUND = "FaultsSound-v0"
RESTLESS, HANGING, ANSWERING = "FaultsRestless-v0", "FaultsHanging-v0", "FaultsAnswering-v0"
OUTAGE = "unreachable"
"""Name of the judge that is gone whenever it is asked about the row ``unjudged``."""

LIMIT = 0.3
BOX = [10, 10, 80, 80]
VIEW = 112 * 112


class Restless(TaggedProtocol):
    """Reads a call in whatever the policy writes: it does nothing else until its budget is gone."""

    def parse(self, message):
        return ParsedMessage(calls=(ToolCall("image_zoom_in_tool", {"bbox_2d": BOX}),))


class Answering(TaggedProtocol):
    """Reads an answer in whatever the policy writes."""

    def parse(self, message):
        return ParsedMessage(answer="red")


class Hanging(Tool):
    """Does not return within the limit of its environment."""

    name = "image_zoom_in_tool"

    def __call__(self, bbox_2d: list[float]) -> str:
        """Zoom in, some day."""
        threading.Event().wait(20 * LIMIT)
        return "too late"


@register_judge(OUTAGE)
class Outage(RuleJudge):
    """Rules, behind a server that cannot be reached where the row ``unjudged`` is asked about."""

    def __call__(self, prediction, sample):
        if sample.id == "unjudged":
            raise JudgeError("the judge cannot be reached")
        return super().__call__(prediction, sample)


def _rubric() -> Rubric:
    return get_rubric("deepeyes", Outage())


register_toolbox(SOUND, tools=[ZoomTool()], rubric=_rubric(), tool_timeout=LIMIT)
register_toolbox(RESTLESS, tools=[ZoomTool()], protocol=Restless(), rubric=_rubric())
register_toolbox(ANSWERING, tools=[ZoomTool()], protocol=Answering(), rubric=_rubric())
register_toolbox(HANGING, tools=[Hanging()], protocol=Restless(), rubric=_rubric())


def write_rows(folder: Path) -> Path:
    """Write a row of each kind: ``sound``, ``torn``, ``unjudged``, ``restless`` and ``hanging``."""
    sample = pattern_search("train", length=1, easy=1)[0]
    image = sample.images[0].pixels()
    toolboxes = {"sound": SOUND, "torn": SOUND, "unjudged": ANSWERING, "restless": RESTLESS, "hanging": HANGING}
    rows = [
        Sample(name, sample.question, sample.answer, (image,), sample.options, env_name=toolbox)
        for name, toolbox in toolboxes.items()
    ]
    path = folder / "faults.parquet"
    write_parquet(rows, path)
    tear(path, 1)
    return path


def tear(path: Path, number: int) -> None:
    """Damage the first image of a row of a parquet file beyond its header."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[number]["images"][0]["bytes"] = rows[number]["images"][0]["bytes"][:60]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
