"""Tools: schemas from signatures, arguments from policies, zoom, rotate, the registry, the original's classes."""

import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from deepeyes_env import BBox, Image, ImageRef, Tool, ToolContext, ToolOutput, tool
from deepeyes_env.envs.toolbox import Toolbox
from deepeyes_env.errors import ArgumentError, ToolError, UnknownNameError
from deepeyes_env.images.store import ImageStore
from deepeyes_env.tools import RotateTool, ToolBaseTool, ZoomTool, get_tool, register_tool
from deepeyes_env.tools.signature import box_parameters
from deepeyes_env.tools.zoom import ImagePathZoomTool, enlarge
from tests.conftest import pattern

PIXELS = pattern(1000, 800)


def context(frame="view", pixels=PIXELS, view_size=None):
    ref = ImageRef.of(pixels)
    return ToolContext(ImageStore(), (ref,), frame, ref.size, view_size or ref.size)


@tool
def flip(image: Image, axis: Literal["horizontal", "vertical"], times: int = 1, note: str | None = None) -> Image:
    """Mirror the image along an axis.

    Args:
        image: The image.
        axis: Which way.
        times: How often.
        note: Anything.
    """
    return image[:, ::-1] if axis == "horizontal" else image[::-1]


def test_schema_comes_from_signature_and_docstring():
    function = flip.schema["function"]
    assert function["name"] == "flip"
    assert function["description"] == "Mirror the image along an axis."
    assert set(function["parameters"]["properties"]) == {"axis", "times", "note"}
    assert function["parameters"]["properties"]["axis"]["enum"] == ["horizontal", "vertical"]
    assert function["parameters"]["properties"]["axis"]["description"] == "Which way."
    assert function["parameters"]["required"] == ["axis"]
    assert "title" not in json.dumps(flip.schema)


def test_box_schema_names_its_own_property():
    parameters = ZoomTool().schema["function"]["parameters"]
    assert parameters["required"] == ["bbox_2d"]
    box = parameters["properties"]["bbox_2d"]
    assert (box["type"], box["minItems"], box["maxItems"]) == ("array", 4, 4)
    assert ImagePathZoomTool().schema["function"]["parameters"]["required"] == ["bbox"]


def test_function_tool_runs():
    output = flip.run({"axis": "vertical", "unknown": 3}, context())
    assert np.array_equal(output.images[0].pixels(), PIXELS[::-1])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "axis"),
        ({"axis": "diagonal"}, "'horizontal' or 'vertical'"),
        ({"axis": "vertical", "times": "2"}, "times"),
        ({"axis": "vertical", "times": True}, "times"),
        ({"axis": "vertical", "times": 1.5}, "times"),
        ({"axis": "vertical", "note": "\ud800"}, "JSON"),
        ({"axis": "vertical", "note": object()}, "not valid JSON"),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(arguments, complaint):
    with pytest.raises(ArgumentError, match=complaint):
        flip.run(arguments, context())


def test_tools_without_hints_or_docstring_are_refused_at_once():
    def undocumented(image: Image) -> Image:
        return image

    def untyped(image):
        """Do it."""

    def variadic(*boxes: BBox) -> str:
        """Do it."""

    for function, message in ((undocumented, "docstring"), (untyped, "type hint"), (variadic, "named parameter")):
        with pytest.raises(TypeError, match=message):
            tool(function)


def test_boxes_arrive_in_whole_native_pixels_from_any_frame():
    @tool
    def where(box: BBox, other: BBox | None = None) -> str:
        """Tell where."""
        return json.dumps([box, other])

    written = {"native": [100, 200, 500, 600], "view": [10, 20, 50, 60], "norm1000": [100, 250, 500, 750]}
    written["unit"] = [0.1, 0.25, 0.5, 0.75]
    for frame, box in written.items():
        output = where.run({"box": box}, context(frame, view_size=(100, 80)))
        assert json.loads(output.text) == [[100, 200, 500, 600], None]


def test_tools_return_text_images_or_both():
    @tool
    def both(images: tuple[Image, ...], context: ToolContext) -> list:
        """Give everything."""
        return ["first", PILImage.fromarray(images[0]), "second", context.view]

    output = both.run({}, context())
    assert output.text == "first\nsecond"
    assert [ref.size for ref in output.images] == [(1000, 800), (1000, 800)]

    @tool
    def wrong() -> dict:
        """Give nonsense."""
        return {}

    with pytest.raises(TypeError, match="'wrong' returned dict"):
        wrong.run({}, context())


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([500, 10, 20, 400], "x1 must be less than x2"),
        ([10, 90, 400, 20], "y1 must be less than y2"),
        ([10, 10, 10, 90], "x1 must be less than x2"),
        ([1010, 810, 1100, 900], "outside the image"),
        ([-90, -90, -10, -10], "outside the image"),
        ([0, 0, 1000, 5], "100 times"),
    ],
)
def test_bad_boxes_say_what_is_wrong_and_how_large_the_image_is(box, reason):
    with pytest.raises(ArgumentError, match=reason) as caught:
        ZoomTool().run({"bbox_2d": box}, context())
    assert "the image is 1000 x 800" in str(caught.value)
    assert "bbox_2d" in str(caught.value)


@pytest.mark.parametrize(
    "box",
    [
        [1, 2, 300],
        ["1", "2", "3", "4"],
        [None, 2, 3, 4],
        "1,2,3,4",
        {},
        [1, 2, 3, float("nan")],
        [1, 2, 3, float("inf")],
        [1, 2, 3, 4, 5],
        [True, 2, 3, 4],
        [1, 2, 3, 10**400],
    ],
)
def test_what_is_not_a_box_is_refused(box):
    with pytest.raises(ArgumentError):
        ZoomTool().run({"bbox_2d": box}, context())


numbers = st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6)


@given(st.tuples(numbers, numbers, numbers, numbers), st.sampled_from(["native", "view", "norm1000", "unit"]))
def test_an_accepted_box_lies_inside_the_image(box, frame):
    try:
        x1, y1, x2, y2 = context(frame, view_size=(333, 250)).native_box(box)
    except ArgumentError:
        return
    assert 0 <= x1 < x2 <= 1000
    assert 0 <= y1 < y2 <= 800


def test_zoom_is_a_view_of_the_source():
    episode = context()
    output = ZoomTool().run({"bbox_2d": [-50, 100, 200, 4000]}, episode)
    assert output.box == (0, 100, 200, 800)
    assert np.shares_memory(output.images[0].pixels(), episode.image)


def test_zoom_rules_of_v2_and_v5():
    with pytest.raises(
        ArgumentError, match="30 wide and 60 high, .* at least 31 wide and 31 high; the image is 1000 x 800 pixels"
    ):
        ZoomTool(min_side=31).run({"bbox_2d": [10, 10, 40, 70]}, context())
    assert ZoomTool(enlarge_to=28).run({"bbox_2d": [10, 10, 37, 70]}, context()).box == (9, 8, 38, 72)


@given(st.integers(0, 990), st.integers(0, 790), st.integers(1, 27), st.integers(1, 60))
def test_enlarged_boxes_stay_inside_and_contain_the_box(x, y, width, height):
    box = (x, y, min(x + width, 1000), min(y + height, 800))
    x1, y1, x2, y2 = enlarge(box, 28, (1000, 800))
    assert 0 <= x1 <= box[0] < box[2] <= x2 <= 1000
    assert 0 <= y1 <= box[1] < box[3] <= y2 <= 800
    assert min(x2 - x1, y2 - y1) >= 28


def test_image_path_is_never_opened(tmp_path):
    missing = str(tmp_path / "no.jpg")
    output = ImagePathZoomTool().run({"bbox": [0, 0, 50, 50], "image_path": missing}, context())
    assert output.images[0].size == (50, 50)


@pytest.mark.parametrize(("angle", "turns"), [(0, 0), (90, -1), (-90, 1), (180, 2), (450.0, -1), (-3600, 0)])
def test_rotation_is_clockwise_and_exact_by_quarters(angle, turns):
    output = RotateTool().run({"angle": angle}, context())
    assert np.array_equal(output.images[0].pixels(), np.rot90(PIXELS, turns))


def test_rotation_keeps_the_whole_image():
    width, height = RotateTool().run({"angle": 30}, context()).images[0].size
    assert width > 1000
    assert height > 800


@pytest.mark.parametrize("angle", ["90", None, float("nan"), [90], True])
def test_what_is_not_an_angle_is_refused(angle):
    with pytest.raises(ArgumentError):
        RotateTool().run({"angle": angle}, context())


def test_huge_angles_are_angles():
    assert RotateTool().run({"angle": 1e300}, context()).images


def test_registry():
    register_tool(flip)
    assert get_tool("flip") is flip
    assert get_tool(ZoomTool) is ZoomTool
    with pytest.raises(UnknownNameError, match="image_zoom_in_tool"):
        get_tool("image_zoom_tool")
    with pytest.raises(TypeError, match="@tool"):
        get_tool(lambda image: image)


class Legacy:
    """A tool in the shape of the original's ToolBase: parses the whole action string itself."""

    def reset(self, raw_prompt, multi_modal_data, origin_multi_modal_data, **kwargs):
        self.image = origin_multi_modal_data["image"][0]

    def execute(self, action_string, **kwargs):
        call = json.loads(action_string.split("<tool_call>")[1].split("</tool_call>")[0])
        if "bbox_2d" not in call["arguments"]:
            error = "<|im_end|>\n<|im_start|>user\nError: no box<|im_end|>\n<|im_start|>assistant\n"
            return error, 0.0, False, {"status": "failed", "error": "no box"}
        image = self.image.crop(call["arguments"]["bbox_2d"])
        prompt = "<|im_end|>\n<|im_start|>user\n<tool_response><image></tool_response>Here.<|im_end|>\n"
        return {"prompt": prompt, "multi_modal_data": {"image": [image]}}, 0.1, False, {"status": "success"}


def test_original_tool_classes_plug_in(sample):
    schema = {"name": "image_zoom_in_tool", "description": "Zoom.", "parameters": {"type": "object"}}
    legacy = ToolBaseTool(Legacy, schema)
    assert legacy.stateful
    legacy.open(sample)
    half = context(view_size=(500, 400))
    output = legacy.run({"bbox_2d": [10, 20, 110, 120]}, half)
    assert output.text == "Here."
    assert np.array_equal(output.images[0].pixels(), PIXELS[40:240, 20:220])
    with pytest.raises(ToolError, match="^Error: no box$"):
        legacy.run({}, half)
    with pytest.raises(ValueError, match="description"):
        ToolBaseTool(Legacy, {"name": "a", "parameters": {}})


def test_tool_classes_keep_state_of_their_own():
    class Counter(Tool):
        name = "count"

        def open(self, sample):
            self.n = 0

        def __call__(self, step: int = 1) -> str:
            """Count."""
            self.n += step
            return str(self.n)

    one, two = Counter(), Counter()
    one.open(None)
    two.open(None)
    assert [one.run({}, context()).text, one.run({"step": 5}, context()).text, two.run({}, context()).text] == [
        "1",
        "6",
        "1",
    ]
    assert one.stateful
    assert not ZoomTool().stateful
    assert isinstance(ToolOutput().images, Sequence)


def test_environments_do_not_share_an_instance_that_keeps_state():
    class Greeted(Tool):
        name = "greet"

        def __init__(self, word):
            self.word = word

        def open(self, sample):
            self.names = []

        def __call__(self, name: str) -> str:
            """Greet all so far."""
            self.names.append(name)
            return " ".join([self.word, *self.names])

    zoom = ZoomTool()
    toolbox = Toolbox("", (Greeted("Hello"), zoom))
    one, two = toolbox.make_tools(), toolbox.make_tools()
    for tools in (one, two):
        tools["greet"].open(None)
    assert one["greet"].run({"name": "A"}, context()).text == "Hello A"
    assert two["greet"].run({"name": "B"}, context()).text == "Hello B"
    assert one[zoom.name] is two[zoom.name]


def test_parameters_that_take_a_box_are_found_optional_ones_too():
    @tool
    def compare(words: list[str], first: BBox | None = None, second: BBox | None = None) -> str:
        """Compare two places."""
        return "equal"

    assert box_parameters(compare.schema["function"]) == ["first", "second"]
    assert box_parameters(flip.schema["function"]) == []
    assert box_parameters(ZoomTool().schema["function"]) == ["bbox_2d"]
