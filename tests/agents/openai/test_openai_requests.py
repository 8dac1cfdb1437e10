"""Requests: conversations as JSON, text and images and calls."""

import base64
import gc
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deepeyes_env import BBox, ImageRef, Sample, ViewBudget, register_toolbox, tool
from deepeyes_env import Image as Pixels
from deepeyes_env.agents.openai.data_urls import DataUrls
from deepeyes_env.agents.openai.requests import body_of, messages_for_server, urls_of
from deepeyes_env.images.codec import chroma_of, decode
from deepeyes_env.protocols import neutral
from tests.conftest import pattern, zoom_text


def body(episode, urls=None, place="tool"):
    written = urls_of(episode, urls or DataUrls())
    return json.loads(bytes(body_of({"model": "m"}, messages_for_server(episode, place), written)))


def data_of(part):
    head, _, data = part["image_url"]["url"].partition(";base64,")
    return head, base64.b64decode(data)


def images_in(request):
    parts = [part for m in request["messages"] if isinstance(m["content"], list) for part in m["content"]]
    return [data_of(part) for part in parts if part["type"] == "image_url"]


def question(image, **kwargs):
    return Sample("s", "What is <image> this?", "a", image, **kwargs)


def photo(mode="RGB", size=(600, 400), format="JPEG", **save):
    picture = Image.fromarray(pattern(*size))
    buffer = io.BytesIO()
    picture.convert(mode).save(buffer, format, **save)
    return buffer.getvalue()


# --- text and images ---------------------------------------------------------------------------------------------


def test_a_text_protocol_goes_as_text(begin):
    episode = begin("VisualToolbox-v2", zoom_text([10, 10, 300, 200]))
    system, opening, said, seen = body(episode)["messages"]
    assert [m["role"] for m in (system, opening, said, seen)] == ["system", "user", "assistant", "user"]
    assert system["content"] == episode.system_prompt
    assert said["content"] == episode.turns[0].action
    for message, told in ((opening, episode.prompt), (seen, episode.turns[0].observation)):
        texts = [part["text"] if part["type"] == "text" else "<image>" for part in message["content"]]
        assert "".join(texts) == told.text


def test_original_bytes_go_out_untouched_when_the_view_is_no_smaller(begin):
    data = photo()
    episode = begin(question=question(data), view=None)
    assert images_in(body(episode)) == [("data:image/jpeg", data)]


def test_a_smaller_view_is_encoded(begin):
    episode = begin(question=question(photo()), view=ViewBudget(max_pixels=200 * 200))
    (head, data), view = images_in(body(episode))[0], episode.prompt.images[0]
    assert head == "data:image/jpeg"
    assert np.abs(decode(data).astype(int) - view.pixels()).mean() < 12
    png = images_in(body(episode, DataUrls("png")))[0]
    assert png[0] == "data:image/png"
    assert np.array_equal(decode(png[1]), view.pixels())


@pytest.mark.parametrize(
    ("source", "budget", "chroma"),
    [
        (photo(subsampling="4:2:0"), 300 * 200, "4:2:0"),
        (photo(subsampling="4:4:4"), 300 * 200, "4:4:4"),
        (photo(format="PNG"), 300 * 200, "4:4:4"),
        (pattern(600, 400), 300 * 200, "4:4:4"),
        (photo(subsampling="4:2:0"), 150 * 100, "4:4:4"),  # what is shown smaller has colours as fine as brightness
    ],
    ids=["halved", "full", "png", "pixels", "shrunk"],
)
def test_a_crop_has_no_finer_colours_than_its_original(begin, source, budget, chroma):
    view = ViewBudget(max_pixels=budget)
    zoom = zoom_text([30, 10, 330, 210])
    episode = begin("VisualToolbox-v2", zoom, question=question(source), view=view, frame="native")
    opening, crop = (data for _, data in images_in(body(episode)))
    assert chroma_of(opening) == "4:4:4"
    assert chroma_of(crop) == chroma
    shown = episode.turns[0].results[0].images[0].pixels()
    assert np.abs(decode(crop).astype(int) - shown).mean() < 6


def test_what_a_tool_draws_keeps_its_colours(begin):
    @tool
    def mark(image: Pixels, bbox_2d: BBox) -> Pixels:
        """Show a part of the image with a red line."""
        x1, y1, x2, y2 = map(int, bbox_2d)
        marked = image[y1:y2, x1:x2].copy()
        marked[10] = (255, 0, 0)
        return marked

    register_toolbox("Marking-v0", tools=[mark])
    call = zoom_text([0, 0, 308, 196]).replace("image_zoom_in_tool", "mark")
    source = question(photo(subsampling="4:2:0"))
    episode = begin("Marking-v0", call, question=source, view=None, frame="native")
    assert episode.turns[0].results[0].box == (0, 0, 308, 196)
    assert chroma_of(images_in(body(episode))[1][1]) == "4:4:4"


def test_equal_crops_of_two_files_are_each_written_as_their_own(begin):
    halved = photo(subsampling="4:2:0")
    buffer = io.BytesIO()
    Image.fromarray(decode(halved)).save(buffer, "PNG")
    zoom = zoom_text([28, 28, 308, 224])
    for sources in ((halved, buffer.getvalue()), (buffer.getvalue(), halved)):
        urls = DataUrls()
        held = [begin("VisualToolbox-v2", zoom, question=question(data), view=None, frame="native") for data in sources]
        sent = [chroma_of(images_in(body(episode, urls))[1][1]) for episode in held]
        assert sent == [chroma_of(data) for data in sources]


def test_a_file_that_has_gone_costs_no_turn(begin, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo(subsampling="4:2:0"))
    view = ViewBudget(max_pixels=300 * 200)
    zoom = zoom_text([30, 10, 330, 210])
    episode = begin("VisualToolbox-v2", zoom, question=question(path), view=view, frame="native")
    path.unlink()
    assert [head for head, _ in images_in(body(episode))] == ["data:image/jpeg"] * 2


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return photo(exif=exif)


def animated():
    buffer = io.BytesIO()
    frames = [Image.fromarray(pattern(300, 200 + i)[:200]) for i in range(2)]
    frames[0].save(buffer, "PNG", save_all=True, append_images=[frames[1].rotate(90)])
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [turned(), photo("RGBA", format="PNG"), photo("CMYK"), photo("P", format="GIF"), photo(format="BMP"), animated()],
    ids=["exif", "rgba", "cmyk", "gif", "bmp", "animated"],
)
def test_what_a_server_may_see_otherwise_is_encoded_anew(begin, data):
    episode = begin(question=question(data), view=None)
    head, sent = images_in(body(episode, DataUrls("png")))[0]
    assert head == "data:image/png"
    assert np.array_equal(decode(sent), decode(data))
    assert sent != data


def test_each_image_is_encoded_once_over_turns_and_over_a_group(begin):
    urls = DataUrls()
    zooms = [zoom_text([10, 10, 300 + i, 200]) for i in range(3)]
    group = [begin("VisualToolbox-v2", *zooms[:turns]) for turns in range(4)]
    for turns, episode in enumerate(group):
        assert len(images_in(body(episode, urls))) == turns + 1
    assert urls.encodes == 4


def test_an_image_has_the_same_url_whenever_it_is_written():
    urls = DataUrls()
    first = urls(ImageRef(pattern(300, 200)))
    assert urls(ImageRef(pattern(300, 200))) == DataUrls()(ImageRef(pattern(300, 200))) == first
    assert urls.encodes == 2  # nobody held the first


def test_urls_of_pixels_that_nobody_holds_are_dropped():
    urls, held = DataUrls(), ImageRef(pattern(60, 60))
    urls(held)
    alone = urls.nbytes
    for i in range(20):
        urls(ImageRef(pattern(61 + i, 60)))
    gc.collect()
    urls(held)
    assert urls.nbytes == alone
    assert urls.encodes == 21


def test_images_beyond_the_budget_are_forgotten_oldest_first():
    images = [ImageRef(pattern(60 + i, 60)) for i in range(5)]
    urls = DataUrls(max_bytes=3 * len(DataUrls()(images[0])))
    for image in images:
        urls(image)
    assert urls.encodes == 5
    urls(images[-1])
    assert urls.encodes == 5
    urls(images[0])
    assert urls.encodes == 6


def test_an_image_that_cannot_be_read_is_tried_again():
    urls = DataUrls()
    broken = ImageRef(photo(format="BMP")[:200], name="s7")
    for _ in range(2):
        with pytest.raises(ValueError, match="s7"):
            urls(broken)


@given(st.lists(st.text(st.characters(codec=None), max_size=40), min_size=1, max_size=5))
def test_any_text_arrives_as_it_was_but_for_marks_that_could_harm(texts):
    messages = [{"role": "assistant", "content": neutral(text)} for text in texts]
    messages.append({"role": "user", "content": [neutral(texts[0]), ImageRef(pattern(4, 4))]})
    sent = json.loads(bytes(body_of({"model": "m"}, messages, lambda image: b"data:,")))
    assert [m["content"] for m in sent["messages"][:-1]] == [neutral(text) for text in texts]
    assert sent["messages"][-1]["content"][0] == {"type": "text", "text": neutral(texts[0])}


def test_what_a_policy_wrote_cannot_open_a_chat_turn_or_place_an_image(begin):
    episode = begin("VisualToolbox-v2", "<|im_end|><image>\ud800" + zoom_text([10, 10, 300, 200]))
    said = body(episode)["messages"][2]["content"]
    assert "<|" not in said
    assert "<image>" not in said


# --- native tool calls -------------------------------------------------------------------------------------------


def call(id, arguments, name="image_zoom_in_tool"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def said(*calls, content=None):
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


GOOD = json.dumps({"bbox_2d": [10, 10, 300, 200]})


def test_native_calls_come_back_with_their_ids_and_a_tool_message_each(begin):
    action = said(call("a", GOOD), call("b", "{broken"), call("c", "{}", "no_tool"), content="Let me see.")
    _, spoken, *results = body(begin("VisualToolboxNative-v0", action))["messages"]
    assert spoken["content"] == "Let me see."
    assert spoken["tool_calls"][0]["id"] == "a"
    assert [c["id"] for c in spoken["tool_calls"]] == [m["tool_call_id"] for m in results]
    names = [c["function"]["name"] for c in spoken["tool_calls"]]
    assert names == ["image_zoom_in_tool", "image_zoom_in_tool", "no_tool"]
    arguments = [json.loads(c["function"]["arguments"]) for c in spoken["tool_calls"]]
    assert arguments == [json.loads(GOOD), {"unreadable": "{broken"}, {}]
    assert [m["role"] for m in results] == ["tool"] * 3
    assert [type(m["content"]) for m in results] == [list, str, str]
    assert "not valid JSON" in results[1]["content"]


def test_images_of_tools_can_go_into_a_user_message(begin):
    action = said(call("a", GOOD), call("b", json.dumps({"bbox_2d": [0, 0, 90, 90]})))
    episode = begin("VisualToolboxNative-v0", action)
    messages = body(episode, place="user")["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert all(isinstance(m["content"], str) and m["content"] for m in messages[2:4])
    assert [part["type"] for part in messages[4]["content"]] == ["text", "image_url", "image_url"]
    assert images_in(body(episode, place="user")) == images_in(body(episode))


def test_calls_that_were_not_run_are_left_out_and_spoken_of(begin):
    action = said(*(call(str(i), GOOD) for i in range(5)))
    _, spoken, *results = body(begin("VisualToolboxNative-v0", action))["messages"]
    assert len(spoken["tool_calls"]) == len(results) == 3
    assert "2 more calls" in json.dumps(results[-1]["content"])
