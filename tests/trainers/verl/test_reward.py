"""The reward function for verl's own tool loop gives what the environment gives, from the decoded response."""

from __future__ import annotations

import pytest

from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.trainers.verl.reward import compute_score
from tests.conftest import zoom_text

BETWEEN = "\nuser\n<tool_response>\n\nHere is the crop.\n</tool_response>\nassistant\n"


def played(*messages):
    env = VisualToolboxEnv("VisualToolbox-v2", pattern_search("test", length=4, easy=0))
    env.reset(seed=0, options={"index": 0})
    for message in messages:
        *_, info = env.step(message)
    return info["trajectory"]


@pytest.mark.parametrize(
    "messages",
    [
        ("<think>Now.</think><answer>{right}</answer>",),
        ("<think>Now.</think><answer>{wrong}</answer>",),
        (zoom_text((20, 20, 60, 60)), "<think>Now.</think><answer>{right}</answer>"),
        (zoom_text((20, 20, 60, 60)), "<think>Now.</think><answer>{wrong}</answer>"),
        ("I do not know.",),
        (zoom_text((20, 20, 60, 60)), "I do not know."),
    ],
)
def test_it_equals_the_environment(messages):
    sample = pattern_search("test", length=4, easy=0)[0]
    wrong = next(option for option in sample.options if option != sample.answer)
    written = [message.replace("{right}", sample.answer).replace("{wrong}", wrong) for message in messages]
    trajectory = played(*written)
    scored = compute_score(
        sample.data_source,
        BETWEEN.join(written),
        sample.answer,
        {"question": sample.question, "options": sample.options, "tool_rewards": [1.0] * (len(written) - 1)},
    )
    assert scored["score"] == pytest.approx(trajectory.reward)
    assert scored["acc"] == trajectory.correct
    assert scored["tool/rate"] == float(trajectory.used_tool)
    terms = {name.removeprefix("reward/"): value for name, value in scored.items() if name.startswith("reward/")}
    assert terms == {name: term.weighted for name, term in trajectory.reward_terms.items()}


def test_a_call_that_returned_no_image_earns_no_tool_reward():
    text = BETWEEN.join([zoom_text((1, 1, 1, 1)), "<think>Now.</think><answer>red</answer>"])
    without, with_image = (compute_score("vstar", text, "red", {"tool_rewards": [worth]}) for worth in (0.0, 1.0))
    assert without["acc"] == with_image["acc"] == 1
    assert with_image["score"] - without["score"] == pytest.approx(1.2)


def test_a_row_says_which_sample_it_is():
    scored = compute_score("x", "<answer>no</answer>", "no", {"deepeyes": {"source": "pattern_search", "index": 3}})
    assert scored["acc"] == 0  # the sample's answer counts, not what the row says
