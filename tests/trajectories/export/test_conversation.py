"""Conversations: what was said, in the form of a chat, as text and with native calls."""

from dataclasses import replace

import pytest

from deepeyes_env.core import Message, ToolCall, Turn
from deepeyes_env.errors import UnexportableError, UnknownNameError
from deepeyes_env.trajectories.export import conversation_of


def test_as_text_it_is_the_episode_word_for_word(oracle):
    for trajectory in oracle:
        made = conversation_of(trajectory)
        said = [message.text for message in made.messages if message.role == "assistant"]
        heard = [message.text for message in made.messages if message.role == "user"]
        observed = [turn.observation.text for turn in trajectory.turns if turn.observation]
        assert said == [turn.action for turn in trajectory.turns]
        assert heard == [trajectory.prompt.text, *observed]
        assert (made.system, made.tools) == (trajectory.system_prompt, ())
        assert len(made.images) == trajectory.image_count


def test_native_calls_stand_beside_what_is_said(native):
    for trajectory in native:
        made = conversation_of(trajectory)
        assert [message.role for message in made.messages] == ["user", "assistant", "tool", "tool", "assistant"]
        asking, *results = made.messages[1:4]
        assert asking.text == "Let me look.\n<think>I look closer at place 1.</think>"
        assert [call.arguments for call in asking.calls] == [result.call.arguments for result in trajectory.results]
        assert [result.call_id for result in results] == [call.id for call in asking.calls] == ["call_1", "call_2"]
        assert [result.images for result in results] == [result.images for result in trajectory.results]
        assert [tool["function"]["name"] for tool in made.tools] == ["image_zoom_in_tool", "image_rotate_tool"]
        assert asking.written == trajectory.turns[0].action


def test_calls_that_were_not_run_are_mentioned_in_the_last_result(native):
    turn = replace(native[0].turns[0], skipped=2)
    made = conversation_of(replace(native[0], turns=(turn, *native[0].turns[1:])))
    assert [message.text for message in made.messages[2:4]] == [
        "<image>",
        "<image>\n2 more calls of your message were not run.",
    ]


def test_text_calls_become_native_without_the_explanation_of_the_tools(oracle):
    made = conversation_of(oracle[0], "native")
    assert made.system == ""
    assert len(made.tools) == 2
    assert all(message.calls for message in made.messages[1:-1] if message.role == "assistant")
    assert "<tool_call>" not in "".join(message.text for message in made.messages[1:])


@pytest.mark.integration
def test_only_messages_that_worked_are_to_learn_from(noisy):
    checked = set()
    for trajectory in noisy:
        said = [message for message in conversation_of(trajectory).messages if message.role == "assistant"]
        for message, turn in zip(said, trajectory.turns, strict=True):
            assert message.trainable == all(result.ok for result in turn.results)
            checked.add(message.trainable)
    assert checked == {True, False}


def test_what_was_said_after_the_last_message_is_left_out(oracle):
    trajectory = oracle[0]
    cut = replace(trajectory, turns=trajectory.turns[:1], truncated=True, terminated=False, stop_reason="max_turns")
    assert cut.turns[-1].observation is not None
    for calls in ("text", "native"):
        made = conversation_of(cut, calls)
        assert made.messages[-1].role == "assistant"
        assert len(made.images) == 1


def test_lone_surrogates_become_question_marks(oracle):
    trajectory = replace(oracle[0], turns=(Turn("<answer>\ud800</answer>", answer="\ud800"),))
    assert conversation_of(trajectory).messages[-1].text == "<answer>?</answer>"


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ((), "no messages"),
        ((Turn(" \n"),), "an empty message"),
        ((Turn("<answer><image></answer>", answer="<image>"),), "<image> in a text where there is none"),
        ((Turn("a", observation=Message("<video>")), Turn("b")), "<video> in a text where there is none"),
    ],
)
def test_what_trainers_cannot_take_is_refused(oracle, turns, reason):
    with pytest.raises(UnexportableError, match=reason):
        conversation_of(replace(oracle[0], turns=turns))


@pytest.mark.integration
def test_an_unreadable_call_has_no_native_form(noisy):
    broken = [t for t in noisy if any(result.status == "malformed" for result in t.results)]
    with pytest.raises(UnexportableError, match="a call that cannot be read"):
        conversation_of(broken[0], "native")
    assert conversation_of(broken[0], "text").messages


def test_a_call_with_numbers_that_json_has_not_has_no_native_form(native):
    first, *others = native[0].turns
    call = ToolCall("image_zoom_in_tool", {"bbox_2d": [0, 0, float("inf"), 9]})
    results = (replace(first.results[0], call=call), *first.results[1:])
    odd = replace(native[0], turns=(replace(first, results=results), *others))
    with pytest.raises(UnexportableError, match="a call with a number that JSON has not"):
        conversation_of(odd)


def test_calls_that_cannot_be_written_name_the_other_way(oracle, native):
    with pytest.raises(ValueError, match="calls='text': the tools of VisualToolboxNative-v0 .* use calls='native'"):
        conversation_of(native[0], "text")
    with pytest.raises(ValueError, match="calls='native': the prompt of VisualToolbox-v3 .* use calls='text'"):
        conversation_of(replace(oracle[0], toolbox="VisualToolbox-v3"), "native")


def test_a_toolbox_of_another_process_is_needed_only_for_native_calls(oracle):
    elsewhere = replace(oracle[0], toolbox="Elsewhere-v0")
    assert conversation_of(elsewhere, "text").messages == conversation_of(oracle[0]).messages
    with pytest.raises(UnknownNameError, match="unknown toolbox 'Elsewhere-v0'"):
        conversation_of(elsewhere)
