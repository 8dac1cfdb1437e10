"""Our tools for MCP clients: the SDK's own, and our environments."""

from __future__ import annotations

import asyncio
import base64
import io
import sys

import numpy as np
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from PIL import Image

from deepeyes_env import ImageRef, Sample, UsageError, VisualToolboxEnv
from deepeyes_env.envs.mcp_server import ToolServer
from tests.conftest import pattern

TWO = [
    Sample("one", "What is small?", "A dot", [pattern(640, 480)], options=["A dot", "A dash"]),
    Sample("two", "Which of them, <image> or <image>?", "the first", [pattern(320, 240), pattern(240, 320)]),
]


def env(toolbox="VisualToolbox-v2", **options):
    return VisualToolboxEnv(toolbox, TWO, rubric=None, **options)


def picture(block):
    with Image.open(io.BytesIO(base64.b64decode(block.data))) as image:
        assert block.mime_type == f"image/{image.format.lower()}"
        return np.asarray(image.convert("RGB"))


def ask(server, *calls):
    """Let the SDK's client name the tools and call some; returns the tools by name, and the results."""

    async def run():
        async with Client(server) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            return tools, [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(run())


def check(server):
    tools, (shown, crop, turned) = ask(
        server,
        ("show_sample", {"sample": 0}),
        ("image_zoom_in_tool", {"sample": 0, "bbox_2d": [64, 48, 320, 240]}),
        ("image_rotate_tool", {"sample": 1, "angle": 90}),
    )
    assert list(tools) == ["show_sample", "image_zoom_in_tool", "image_rotate_tool"]
    zoom = tools["image_zoom_in_tool"].input_schema
    assert zoom["required"] == ["sample", "bbox_2d"]
    assert zoom["properties"]["sample"]["maximum"] == 1
    assert [block.type for block in shown.content] == ["image", "text"]
    assert "What is small?" in shown.content[1].text
    assert np.array_equal(picture(shown.content[0]), pattern(640, 480))
    assert np.array_equal(picture(crop.content[0]), pattern(640, 480)[48:240, 64:320])
    assert picture(turned.content[0]).shape == (320, 240, 3)


def test_any_client_gets_images_as_images(serve):
    port, _ = serve(ToolServer(env(view=None)).sdk_server().streamable_http_app(stateless_http=True))
    check(f"http://127.0.0.1:{port}/mcp")


def test_images_stand_where_the_question_has_them():
    content, failed = ToolServer(env()).call("show_sample", {"sample": 1})
    assert not failed
    told = [block.get("text", block["type"]) for block in content]
    assert told == ["Which of them,", "image", "or", "image", "?"]


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("image_zoom_in_tool", {}, "sample: must be a whole number from 0 to 1"),
        ("image_zoom_in_tool", {"sample": 2}, "sample: must be a whole number from 0 to 1"),
        ("image_zoom_in_tool", {"sample": True}, "sample: must be a whole number from 0 to 1"),
        ("image_zoom_in_tool", {"sample": 0}, "bbox_2d: Field required"),
        ("image_zoom_in_tool", {"sample": 0, "bbox_2d": [5, 5, 1, 1]}, "x1 must be less than x2"),
        ("crop", {"sample": 0}, "there is no tool named 'crop'"),
    ],
)
def test_wrong_calls_are_told(name, arguments, told):
    content, failed = ToolServer(env()).call(name, arguments)
    assert failed
    assert told in content[0]["text"]


def test_calls_name_images_as_the_toolbox_does():
    server = ToolServer(env("VisualToolboxQwen3VL-v0", view=None, frame="native"))
    arguments = {"sample": 1, "bbox_2d": [0, 0, 100, 100], "img_idx": 1}
    ((block,), failed) = server.call("image_zoom_in_tool", arguments)
    assert not failed
    with Image.open(io.BytesIO(base64.b64decode(block["data"]))) as image:
        assert np.array_equal(np.asarray(image), pattern(240, 320)[:100, :100])


def test_photographs_are_sent_as_jpeg():
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    server = ToolServer(VisualToolboxEnv("VisualToolbox-v2", [Sample("n", "?", "!", [ImageRef(noise)])], view=None))
    content, _ = server.call("show_sample", {"sample": 0})
    assert content[0]["mimeType"] == "image/jpeg"


def test_a_broken_image_is_told_and_the_server_goes_on(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    samples = [Sample("b", "?", "!", [tmp_path / "broken.png"]), TWO[0]]
    server = ToolServer(VisualToolboxEnv("VisualToolbox-v2", samples))
    content, failed = server.call("show_sample", {"sample": 0})
    assert failed
    assert "sample 0 cannot be shown" in content[0]["text"]
    assert not server.call("show_sample", {"sample": 1})[1]


def test_a_toolbox_without_tools_is_refused():
    from deepeyes_env.envs.toolbox import PLAIN

    with pytest.raises(UsageError, match="no tools to serve"):
        ToolServer(env(PLAIN))


def test_our_environments_can_use_our_tools(play, call, serve):
    """Both sides at once: a crop that is served equals the one that the environment cuts itself."""
    port, _ = serve(ToolServer(env(view=None)).sdk_server().streamable_http_app(stateless_http=True))
    far = play(f"http://127.0.0.1:{port}/mcp", session="shared")
    box = [64, 48, 320, 240]
    result, _ = call(far, "image_zoom_in_tool", sample=0, bbox_2d=box)
    assert np.array_equal(result.images[0].pixels(), pattern(640, 480)[48:240, 64:320])


@pytest.mark.slow
def test_the_command_over_pipes():
    command = ["-m", "deepeyes_env.cli", "mcp", "--data", "visual_search"]
    parameters = StdioServerParameters(command=sys.executable, args=command, env={"PYTHONPATH": ":".join(sys.path)})
    tools, (shown, crop) = ask(
        parameters,
        ("show_sample", {"sample": 5}),
        ("image_zoom_in_tool", {"sample": 5, "bbox_2d": [0, 0, 112, 112]}),
    )
    assert "image_rotate_tool" in tools
    assert [block.type for block in shown.content] == ["image", "text"]
    assert picture(crop.content[0]).ndim == 3
