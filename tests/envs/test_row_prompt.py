"""Prompts are data: a row's own messages open its episode word for word, or the protocol's words, or a template's."""

from __future__ import annotations

import logging
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from deepeyes_env import DataError, Sample, UnknownNameError, UsageError, register_toolbox
from deepeyes_env.agents.evaluation.plan import WITHOUT_TOOLS, WithAndWithoutTools
from deepeyes_env.envs.row_prompt import RowPrompt
from deepeyes_env.prompt_messages import PromptMessage
from tests.conftest import pattern, zoom_text

TOOLS = '{"type":"function","function":{"name":"image_zoom_in_tool","description":"Crop.","parameters":{}}}'
SYSTEM = f"You are helpful.\n# Tools\n<tools>\n{TOOLS}\n</tools>\nReturn a JSON object."
ASKS = "\nThink first, call **image_zoom_in_tool** if needed, then answer."
USER = f"<image>\n\nQuestion:\nWhat colour is the flag?{ASKS}"
MESSAGES = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": USER})
IMAGE = pattern(400, 300)


def own(messages=MESSAGES, **fields):
    question = fields.pop("question", "What colour is the flag?")
    return Sample("s1", question, "red", fields.pop("images", (IMAGE,)), messages=messages, **fields)


def begun(sample, env="VisualToolbox-v2", **kwargs):
    made = gym.make(env, dataset=[sample], **kwargs)
    observation, info = made.reset(seed=0)
    assert info["system_prompt"] == info["trajectory"].system_prompt
    assert observation["text"] == info["trajectory"].prompt.text
    return made, info["trajectory"]


def test_a_row_with_a_system_prompt_opens_with_its_own_messages():
    _, opened = begun(own())
    assert (opened.system_prompt, opened.prompt.text) == (SYSTEM, USER)
    assert opened.metadata == {"prompt": "row"}


def test_a_row_without_messages_is_asked_in_the_protocols_words():
    _, opened = begun(own(messages=()))
    assert opened.prompt.text.startswith("<image>\nWhat colour is the flag?\nThink first. If you need to look closer")
    assert "<tools>" in opened.system_prompt
    assert opened.metadata == {}


@pytest.mark.parametrize("messages", [MESSAGES[1:], ({"role": "system", "content": " "}, MESSAGES[1])])
def test_a_row_whose_system_prompt_is_missing_or_blank_is_asked_in_the_protocols_words(messages):
    _, opened = begun(own(messages=messages))
    _, bare = begun(own(messages=()))
    assert (opened.system_prompt, opened.prompt) == (bare.system_prompt, bare.prompt)
    _, forced = begun(own(messages=messages), prompt="row")
    assert forced.prompt.text == USER
    assert not forced.system_prompt.strip()


def test_protocol_forces_the_protocols_words():
    _, opened = begun(own(), prompt="protocol")
    _, bare = begun(own(messages=()))
    assert (opened.system_prompt, opened.prompt) == (bare.system_prompt, bare.prompt)


def test_row_refuses_a_row_that_has_none():
    env = gym.make("VisualToolbox-v2", prompt="row")
    with pytest.raises(UsageError, match="prompt='row': sample 'visual_search/.*' has no messages.*prompt='auto'"):
        env.reset(seed=0)


def test_an_unknown_source_is_refused_at_once():
    with pytest.raises(UnknownNameError, match="unknown prompt 'rows'; did you mean 'row'"):
        gym.make("VisualToolbox-v2", prompt="rows")


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ((*MESSAGES, {"role": "assistant", "content": "Hm."}), "has the messages system, user, assistant"),
        ((MESSAGES[0], {"role": "user", "content": "<image><image> What?"}), "has 2 <image> for 1 images"),
        (({"role": "system", "content": "See <image>"}, MESSAGES[1]), "none in the system prompt"),
    ],
)
def test_messages_that_cannot_open_an_episode_are_told_with_their_sample(messages, reason):
    env = gym.make("VisualToolbox-v2", dataset=[own(messages=messages)])
    with pytest.raises(DataError, match=f"sample 's1': .*{reason}"):
        env.reset(seed=0)
    begun(own(messages=messages), prompt="protocol")


def test_images_without_placeholders_come_first():
    messages = (MESSAGES[0], {"role": "user", "content": "What colour?"})
    _, opened = begun(own(messages=messages, images=(IMAGE, IMAGE)))
    assert opened.prompt.text == "<image><image>\nWhat colour?"


def test_options_stay_in_the_order_of_the_rows_own_text():
    sample = own(options=("blue", "red", "green", "white"))
    env = gym.make("VisualToolbox-v2", dataset=[sample])
    assert {env.reset(seed=seed)[1]["trajectory"].sample.options for seed in range(8)} == {sample.options}
    env = gym.make("VisualToolbox-v2", dataset=[sample], prompt="protocol")
    assert len({env.reset(seed=seed)[1]["trajectory"].sample.options for seed in range(8)}) > 1


@pytest.mark.parametrize("messages", [["Hello"], [{"role": "user"}], [{"role": "user", "content": [{"type": "text"}]}]])
def test_messages_of_another_form_are_refused_by_the_sample(messages):
    with pytest.raises(UsageError, match="sample 's1': message .* is not"):
        own(messages=messages)


def test_mappings_become_messages():
    assert own().messages == (PromptMessage("system", SYSTEM), PromptMessage("user", USER))


# --- what follows --------------------------------------------------------------------------------------------------


def replies(env, *messages):
    return [env.step(message)[0]["text"] for message in messages]


def test_observations_go_on_in_the_rows_words():
    env, _ = begun(own())
    zoomed, refused = replies(env, zoom_text([10, 10, 200, 200]), zoom_text([10, 10, 200, 200], name="look"))
    assert zoomed == f"<tool_response><image>{ASKS}</tool_response>"
    assert refused.startswith("Error: ")
    assert ASKS not in refused


def test_v5_writes_a_tag_a_call():
    env, _ = begun(own(), "VisualToolbox-v5")
    call = zoom_text([10, 10, 200, 200])
    good, mixed = replies(env, call + call, call + zoom_text([1, 2, 3, 4], name="look"))
    assert good == "<tool_response>\n<image>\n</tool_response>\n" * 2 + ASKS
    assert mixed.startswith(f"<tool_response>\n<image>\n</tool_response>\n{ASKS}\nError: ")


def test_a_protocol_without_words_for_it_replies_as_ever():
    env, _ = begun(own(), "VisualToolbox-v1")
    assert "Think again" in replies(env, zoom_text([10, 10, 200, 200]))[0]


def test_a_question_that_is_not_in_the_message_leaves_no_instructions():
    env, _ = begun(own(question="Which colour?"))
    assert replies(env, zoom_text([10, 10, 200, 200])) == ["<tool_response><image></tool_response>"]


def test_a_snapshot_goes_on_in_the_rows_words():
    env, _ = begun(own())
    state = env.unwrapped.snapshot()
    other = gym.make("VisualToolbox-v2", dataset=[own()])
    other.unwrapped.restore(state)
    assert other.unwrapped.trajectory.system_prompt == SYSTEM
    assert replies(other, zoom_text([10, 10, 200, 200])) == [f"<tool_response><image>{ASKS}</tool_response>"]
    changed = gym.make(
        "VisualToolbox-v2", dataset=[own(messages=(MESSAGES[0], {**MESSAGES[1], "content": "<image>?"}))]
    )
    with pytest.raises(UsageError, match="is another one"):
        changed.unwrapped.restore(state)


# --- tools ---------------------------------------------------------------------------------------------------------


def test_the_tools_that_a_prompt_names():
    example = '<tool_call>{"name": "image_rotate_tool", "arguments": {"name": "Bob"}}</tool_call>'
    flat = '{"function": "zoom_in", "bbox_2d": [1, 2, 3, 4]}'
    shape = '{"name": <function-name>, "arguments": <args-json-object>}'
    bare = '{"name": "search", "description": "Finds."}'
    assert RowPrompt(SYSTEM + example + shape, flat + bare, "").tools == (
        "image_zoom_in_tool",
        "image_rotate_tool",
        "search",
    )
    assert RowPrompt("You are helpful.", "<image>", "").tools == ()


def test_a_prompt_that_names_a_tool_which_the_toolbox_lacks_is_told(caplog):
    named = SYSTEM.replace("image_zoom_in_tool", "look_far")  # which no other test names: it is logged once
    sample = own(messages=({"role": "system", "content": named}, MESSAGES[1]))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            _, opened = begun(sample)
    assert opened.metadata == {"prompt": "row", "unknown_tools": ["look_far"]}
    assert [record.getMessage() for record in caplog.records] == [
        "rows' own prompts name tools that VisualToolbox-v2 lacks: look_far; calls of them fail. Use a toolbox "
        "that has them, or prompt='protocol'"
    ]


def test_tools_that_the_prompt_does_not_know_can_be_called_all_the_same():
    env, _ = begun(own())
    rotate = '<tool_call>{"name": "image_rotate_tool", "arguments": {"angle": 90}}</tool_call>'
    assert env.step(rotate)[4]["calls"][0].ok


def test_native_calls_take_the_protocols_words_unless_forced():
    _, opened = begun(own(), "VisualToolboxNative-v0")
    assert (opened.system_prompt, opened.prompt.text) == ("", "<image>\nWhat colour is the flag?")
    env, forced = begun(own(), "VisualToolboxNative-v0", prompt="row")
    assert (forced.system_prompt, forced.prompt.text) == (SYSTEM, USER)
    assert "Think first" not in replies(env, zoom_text([10, 10, 200, 200]))[0]


# --- other ways of asking --------------------------------------------------------------------------------------------


def test_an_ordinary_question_opens_with_its_own_messages_too():
    _, opened = begun(own(env_name=None))
    assert (opened.system_prompt, opened.prompt.text, opened.toolbox) == (SYSTEM, USER, "")
    _, bare = begun(own(env_name=None, messages=()), prompt="row")
    assert bare.prompt.text == "<image>\nWhat colour is the flag?"


def test_an_evaluation_without_tools_does_not_send_a_prompt_that_explains_them():
    both = WithAndWithoutTools([own(), own(env_name=None)])
    env = gym.make("VisualToolbox-v2", dataset=both)
    with_tools, without, plain_with, _ = (env.reset(options={"index": i})[1]["trajectory"] for i in range(4))
    assert with_tools.system_prompt == SYSTEM
    assert without.system_prompt == WITHOUT_TOOLS
    assert ASKS not in without.prompt.text
    assert plain_with.toolbox == "VisualToolbox-v2"
    assert SYSTEM not in plain_with.system_prompt


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_many_environments_open_alike(mode):
    vector = gym.make_vec(
        "VisualToolbox-v2", num_envs=2, vectorization_mode=mode, dataset=[own(), replace(own(), id="s2")]
    )
    _, info = vector.reset(seed=0)
    assert set(np.asarray(info["system_prompt"]).tolist()) == {SYSTEM}
    vector.close()


def test_a_users_own_protocol_may_say_how_it_goes_on():
    from deepeyes_env.protocols import PromptTemplate, TaggedProtocol

    protocol = TaggedProtocol(row_reply=PromptTemplate(observation="Seen: {{ results }}"))
    register_toolbox("RowReply-v0", tools=["image_zoom_in_tool"], protocol=protocol)
    env, _ = begun(own(), "RowReply-v0")
    assert replies(env, zoom_text([10, 10, 200, 200])) == ["Seen: <image>"]
