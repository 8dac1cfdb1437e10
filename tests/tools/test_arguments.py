"""One rule for a call's arguments: what no parameter reads is ignored, a wrong name is told."""

import json

import pytest

from deepeyes_env import BBox, ImageRef, ToolContext, tool
from deepeyes_env.errors import ArgumentError
from deepeyes_env.images.store import ImageStore
from deepeyes_env.tools import RotateTool, Unread, ZoomTool
from deepeyes_env.tools.zoom import ImagePathZoomTool
from tests.conftest import pattern

PIXELS = pattern(1000, 800)
BOX = [100, 200, 500, 600]


def context(frame="view", view_size=None):
    ref = ImageRef.of(PIXELS)
    return ToolContext(ImageStore(), (ref,), frame, ref.size, view_size or ref.size)


@tool
def repeat(word: str, times: int = 1, box: BBox | None = None, note: str | None = None) -> str:
    """Repeat a word."""
    return word * times


@pytest.mark.parametrize("label", ["a dog", 3, True, None, 1.5, [1, [2]], {"a": {}}, "\ud800", 10**400, float("nan")])
def test_whatever_a_label_is_the_call_runs(label):
    assert ZoomTool().run({"bbox_2d": BOX, "label": label}, context()).box == tuple(BOX)
    assert ImagePathZoomTool().run({"bbox": BOX, "image_path": label}, context()).box == tuple(BOX)
    assert RotateTool().run({"angle": 90, "why": label}, context()).images


def test_a_parameter_that_nothing_reads_is_offered_as_text():
    label = ZoomTool().schema["function"]["parameters"]["properties"]["label"]
    assert label == {"type": "string", "description": "What is in the box (optional)."}
    assert "anyOf" not in json.dumps([ZoomTool().schema, ImagePathZoomTool().schema, repeat.schema])
    with pytest.raises(TypeError, match="needs a default"):

        @tool
        def wrong(note: Unread) -> str:
            """Do it."""
            return ""


def test_what_may_be_left_out_is_described_by_what_it_is():
    properties = repeat.schema["function"]["parameters"]["properties"]
    assert properties["note"] == {"type": "string"}
    assert properties["times"] == {"type": "integer", "default": 1}
    assert (properties["box"]["minItems"], "default" in properties["box"]) == (4, False)
    assert repeat.run({"word": "a", "note": None, "box": None}, context()).text == "a"
    with pytest.raises(ArgumentError, match="note"):
        repeat.run({"word": "a", "note": 3}, context())


@pytest.mark.parametrize(
    ("tool", "arguments", "complaint"),
    [
        (ZoomTool(), {"bbox": BOX}, "there is no argument 'bbox'; did you mean 'bbox_2d'?"),
        (ZoomTool(), {"coordinates": BOX}, "bbox_2d: Field required; there is no argument 'coordinates'"),
        (ImagePathZoomTool(), {"bbox_2d": BOX}, "there is no argument 'bbox_2d'; did you mean 'bbox'?"),
        (RotateTool(), {"angel": 90}, "there is no argument 'angel'; did you mean 'angle'?"),
        (RotateTool(), {"degrees": 90}, "angle: Field required; there is no argument 'degrees'"),
        (repeat, {"word": "a", "time": 2}, "there is no argument 'time'; did you mean 'times'?"),
        (repeat, {"x" * 10**6: 2}, "there is no argument 'xxx"),
    ],
)
def test_a_wrong_name_of_an_argument_is_told(tool, arguments, complaint):
    with pytest.raises(ArgumentError) as caught:
        tool.run(arguments, context())
    assert complaint in str(caught.value)
    assert f"the arguments of {tool.name} are {{" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_wrong_name_that_replaces_nothing_is_ignored():
    assert repeat.run({"word": "a", "times": 2, "time": 3, "other": 4}, context()).text == "aa"
    assert ZoomTool().run({"bbox_2d": BOX, "bbox": [1], "lable": 1}, context()).box == tuple(BOX)
