"""Prompt templates: other words than the protocol's, from a file, a mapping or a template."""

from __future__ import annotations

import gymnasium as gym
import pytest

from deepeyes_env import DataError, Sample, UnknownNameError, UsageError
from deepeyes_env.envs.prompt_files import get_prompt_template, read_prompt_template, recordable
from deepeyes_env.errors import UsageTypeError
from deepeyes_env.protocols import PromptTemplate
from tests.conftest import pattern, zoom_text

FILE = """\
system: |-
  You can look closer. Tools:
  {{ tools }}
  Write {"name": ..., "arguments": {{ "bbox_2d": [1, 2, 3, 4] }}}.
instructions: " Use {{names}} if you must."
question: "{{ images }}Question: {{ question }}{{ options }}{{ instructions }}"
observation: "<seen>{{ results }}</seen>{{ instructions }}"
error: "Wrong: {{ errors }}"
"""
SAMPLE = Sample("s1", "What colour? {{ images }}", "red", (pattern(400, 300),), options=("red", "blue"))
ZOOM = zoom_text([10, 10, 200, 200])


@pytest.fixture
def path(tmp_path):
    pytest.importorskip("yaml")
    (tmp_path / "mine.yaml").write_text(FILE)
    return tmp_path / "mine.yaml"


def begun(template, sample=SAMPLE, env="VisualToolbox-v4", **kwargs):
    made = gym.make(env, dataset=[sample], prompt_template=template, **kwargs)
    _, info = made.reset(seed=0)
    return made, info["trajectory"]


def test_every_part_is_said_in_the_templates_words(path):
    env, opened = begun(path)
    assert opened.system_prompt.startswith("You can look closer. Tools:\n{")
    assert opened.system_prompt.endswith('Write {"name": ..., "arguments": {{ "bbox_2d": [1, 2, 3, 4] }}}.')
    options = "".join(f"\n({letter}) {text}" for letter, text in zip("AB", opened.sample.options, strict=True))
    assert opened.prompt.text == (
        f"<image>Question: What colour? {{{{ images }}}}{options} Use image_zoom_in_tool if you must."
    )
    call = '<tool_call>{"function": "zoom_in", "bbox_2d": [10, 10, 200, 200]}</tool_call>'
    assert env.step(call)[0]["text"] == "<seen><image></seen> Use image_zoom_in_tool if you must."
    assert env.step("<tool_call>{}</tool_call>")[0]["text"].startswith("Wrong: Error: ")


def test_a_question_that_places_its_images_keeps_their_places(path):
    _, opened = begun(path, Sample("s", "Is <image> red?", "yes", (pattern(400, 300),)))
    assert opened.prompt.text == "Question: Is <image> red? Use image_zoom_in_tool if you must."


def test_parts_that_are_not_set_stay_the_protocols():
    env, opened = begun({"observation": "Look: {{ results }}"}, env="VisualToolbox-v2")
    _, bare = begun(None, env="VisualToolbox-v2")
    assert (opened.system_prompt, opened.prompt) == (bare.system_prompt, bare.prompt)
    assert env.step(ZOOM)[0]["text"] == "Look: <image>"


def test_a_template_goes_before_how_the_toolbox_goes_on_with_a_rows_own_prompt():
    messages = ({"role": "system", "content": "Hello."}, {"role": "user", "content": "<image>Colour? Think."})
    row = Sample("s", "Colour?", "red", (pattern(400, 300),), messages=messages)
    env, opened = begun({"system": "Mine", "result": "[{{ result }}]"}, row, "VisualToolbox-v2")
    assert (opened.system_prompt, opened.prompt.text) == ("Hello.", "<image>Colour? Think.")
    assert env.step(ZOOM)[0]["text"] == "[<image>]"
    _, forced = begun({"system": "Mine"}, row, "VisualToolbox-v2", prompt="protocol")
    assert forced.system_prompt == "Mine"


def test_an_ordinary_question_is_not_rewritten(path):
    _, opened = begun(path, Sample("s", "Colour?", "red", (pattern(400, 300),), env_name=None))
    assert (opened.system_prompt, opened.prompt.text) == ("", "<image>\nColour?")


def test_what_a_tool_says_is_taken_as_it_is():
    written = PromptTemplate(observation="{{ results }}{{ instructions }}").reply(["{{ instructions }}"], [], "Go on.")
    assert written == "{{ instructions }}Go on."


def test_no_error_is_lost():
    template = PromptTemplate(observation="{{ results }}")
    assert template.reply(["a"], ["Error: b", "Error: c"], "") == "a\nError: b\nError: c"
    assert template.reply([], ["Error: b"], "") == "Error: b"
    assert PromptTemplate(observation="{{ errors }}/{{ results }}").reply(["a"], ["b"], "") == "b/a"


def test_native_calls_have_no_place_for_observations():
    for part in ({"observation": "{{ results }}"}, {"prefill": "<think>"}):
        with pytest.raises(UsageError, match="VisualToolboxNative-v0 has native calls.*leave out result"):
            begun(part, env="VisualToolboxNative-v0")
    _, opened = begun({"system": "Look closely."}, env="VisualToolboxNative-v0")
    assert opened.system_prompt == "Look closely."


@pytest.mark.parametrize(
    ("parts", "error", "reason"),
    [
        ({"sytem": "x"}, UnknownNameError, "unknown part of a prompt template 'sytem'; did you mean 'system'"),
        ({"system": "{{ tool }}"}, UnknownNameError, "variable of system 'tool'; did you mean 'tools'"),
        ({"question": "{{ question }}"}, UsageError, "question must use {{ images }} once, and does 0 times"),
        ({"observation": "{{ results }}{{ results }}"}, UsageError, "once, and does 2 times"),
        ({"system": "<image>"}, UsageError, "system holds <image>"),
        ({"error": 3}, UsageTypeError, "error must be text"),
    ],
)
def test_what_is_wrong_with_a_template_is_told(parts, error, reason):
    with pytest.raises(error) as caught:
        get_prompt_template(parts)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("system: [", "is not YAML"),
        ("- a", "is not a mapping of parts"),
        ("", "is not a mapping of parts"),
        ("sistem: x", "mine.yaml: unknown part of a prompt template 'sistem'"),
    ],
)
def test_a_file_that_is_no_template_is_told_by_name(path, text, reason):
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_prompt_template(path)
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_told_by_name(path):
    with pytest.raises(DataError, match="none.yaml' cannot be read"):
        read_prompt_template(path.with_name("none.yaml"))


def test_something_else_is_refused():
    with pytest.raises(UsageTypeError, match="give a YAML file"):
        get_prompt_template(3)


def test_a_message_is_begun_for_the_policy():
    env, opened = begun({"prefill": "<think>"}, env="VisualToolbox-v2")
    assert opened.prompt.prefill == ""
    observed = env.step("Far away.</think>" + ZOOM)[0]
    assert "Think again" in observed["text"], "the words of the observation stay the protocol's"
    assert env.unwrapped.trajectory.turns[0].observation.prefill == "<think>"
    assert env.unwrapped.trajectory.turns[0].action.startswith("Far away.")
    *_, info = env.step("Closer.</think><answer>red</answer>")
    assert info["turn"].action == "<think>Closer.</think><answer>red</answer>"
    env.reset(seed=0)
    env.step(ZOOM)
    *_, info = env.step("<think>I began it myself.</think><answer>red</answer>")
    assert info["turn"].action == "<think>I began it myself.</think><answer>red</answer>"


def test_a_template_is_recorded_by_what_it_says(path):
    kept = recordable({"prompt_template": path, "max_turns": 3})
    assert kept == {"prompt_template": read_prompt_template(path).parts(), "max_turns": 3}
    assert get_prompt_template(kept["prompt_template"]) == read_prompt_template(path)
    assert recordable({"max_turns": 3}) == {"max_turns": 3}
