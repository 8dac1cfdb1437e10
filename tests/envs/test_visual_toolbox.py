"""The environment: episodes, limits, variants, seeds, branching, what users and policies get wrong."""

import json
import pickle
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

import deepeyes_env
from deepeyes_env import Image, Rubric, Sample, Term, Tool, ToolCall, ViewBudget, register_toolbox, tool
from deepeyes_env.errors import UnknownNameError
from deepeyes_env.images.codec import encode
from deepeyes_env.images.store import ImageStore
from tests.conftest import pattern, zoom_text

IDS = [f"VisualToolbox-v{n}" for n in range(1, 6)] + ["VisualToolboxNative-v0"]
SMALL = ViewBudget(max_pixels=224 * 224)


def make(sample, env_id="VisualToolbox-v2", **kwargs):
    return gym.make(env_id, **({"dataset": [sample], "view": SMALL} | kwargs))


def test_an_episode(sample):
    env = make(sample)
    obs, info = env.reset(seed=0)
    assert obs in env.observation_space
    assert obs["text"].count("<image>") == 1
    assert "What colour is the flag?" in obs["text"]
    assert obs["images"][0].shape == (196, 224, 3)
    assert not obs["images"][0].flags.writeable
    assert info["sample_id"] == "s1"
    assert [schema["function"]["name"] for schema in info["tools"]] == ["image_zoom_in_tool", "image_rotate_tool"]
    assert "image_zoom_in_tool" in info["system_prompt"]

    obs, reward, terminated, truncated, info = env.step(zoom_text([22.4, 24.5, 67.2, 63.7]))
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert obs in env.observation_space
    (call,) = info["calls"]
    assert (call.status, call.box) == ("ok", (100, 100, 300, 260))
    assert call.seconds > 0
    assert obs["images"][0].shape[0] % 28 == 0

    letter = "ABCD"[env.unwrapped.trajectory.sample.options.index("red")]
    obs, reward, terminated, truncated, info = env.step(f"<think>It is red.</think><answer>{letter}</answer>")
    assert (reward, terminated, truncated) == (pytest.approx(2.0), True, False)
    assert obs == {"text": "", "images": ()}
    assert obs in env.observation_space
    assert {name: term.weighted for name, term in info["reward_terms"].items()} == pytest.approx(
        {"acc": 0.8, "format": 0.0, "tool": 1.2}
    )
    assert info["stop_reason"] == "answer"
    assert info["trajectory"].reward == reward
    with pytest.raises(gym.error.ResetNeeded):
        env.step("more")


def test_answering_without_looking_earns_less(sample):
    env = make(sample)
    env.reset(seed=0)
    reward = env.step("<think>It is red.</think><answer>red</answer>")[1]
    assert reward == pytest.approx(0.8)


def test_step_before_reset(sample):
    env = deepeyes_env.VisualToolboxEnv(dataset=[sample])
    with pytest.raises(gym.error.ResetNeeded):
        env.step("x")


@pytest.mark.parametrize("env_id", IDS)
def test_every_variant_plays_its_own_protocol(sample, env_id):
    env = make(sample, env_id)
    env.reset(seed=0)
    protocol = env.unwrapped.toolbox.protocol
    name = "bbox" if env_id.endswith("v1") else "bbox_2d"
    text = protocol.format_call(ToolCall("image_zoom_in_tool", {name: [22.4, 24.5, 67.2, 63.7]}))
    obs, _, _, _, info = env.step(text)
    assert info["calls"][0].box == (100, 100, 300, 260), info["calls"]
    assert len(obs["images"]) == 1
    best = 1.2 if env_id.endswith("v1") else 2.0
    assert env.step("<think>I see.</think>" + protocol.format_answer("red"))[1] == pytest.approx(best)


def test_the_same_episode_in_three_protocols(sample):
    box = {"bbox_2d": [20, 20, 90, 90]}
    function = {"name": "image_zoom_in_tool", "arguments": json.dumps(box)}
    actions = [
        "<tool_call>\n" + json.dumps({"name": "image_zoom_in_tool", "arguments": box}) + "\n</tool_call>",
        ToolCall("image_zoom_in_tool", box),
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": function}]},
    ]
    seen = []
    for action in actions:
        env = make(sample)
        env.reset(seed=3)
        obs, *_, info = env.step(action)
        seen.append((obs["text"], obs["images"][0].tobytes(), info["turn"].action))
    assert seen[0] == seen[1] == seen[2]


def test_calls_may_hold_numpy_numbers(sample):
    env = make(sample)
    env.reset()
    for box in (np.array([20.0, 20, 90, 90]), [np.float32(20), np.int64(20), 90, 90]):
        *_, info = env.step(ToolCall("image_zoom_in_tool", {"bbox_2d": box}))
        assert info["calls"][0].ok
        assert '"bbox_2d": [20' in info["turn"].action


def test_actions_of_other_types_are_the_users_mistake(sample):
    env = make(sample)
    env.reset()
    with pytest.raises(TypeError, match="not int"):
        env.step(3)


def test_frames(sample):
    boxes = {"native": [100, 100, 300, 260], "view": [22.4, 24.5, 67.2, 63.7]}
    boxes |= {"norm1000": [100, 125, 300, 325], "unit": [0.1, 0.125, 0.3, 0.325]}
    for frame, box in boxes.items():
        env = make(sample, frame=frame)
        env.reset()
        assert env.step(zoom_text(box))[4]["calls"][0].box == (100, 100, 300, 260)
    error = env.step(zoom_text([0.9, 0.1, 0.4, 0.3]))[0]["text"]
    assert "x1 must be less than x2" in error
    assert "the image is 1 x 1" in error


@pytest.mark.filterwarnings("error::UserWarning")
def test_crops_come_from_native_pixels(sample):
    env = make(sample, view=None)
    obs, _ = env.reset()
    assert np.array_equal(obs["images"][0], pattern(1000, 800))
    obs = env.step(zoom_text([100, 100, 300, 260]))[0]
    assert np.array_equal(obs["images"][0], pattern(1000, 800)[100:260, 100:300])


def test_tiny_images_are_scaled_up_and_their_crops_too():
    env = make(Sample("tiny", "q", "a", pattern(20, 12)), "VisualToolbox-v5", view=None)
    obs, _ = env.reset()
    assert obs["images"][0].shape == (28, 47, 3)
    obs, *_, info = env.step(zoom_text([0, 0, 20, 14]))
    assert info["calls"][0].ok
    assert min(obs["images"][0].shape[:2]) >= 28


def test_limits(sample):
    def last_info(env):
        env.reset()
        for _ in range(20):
            *_, terminated, truncated, info = env.step(zoom_text([0, 0, 100, 100]))
            if terminated or truncated:
                assert truncated
                return info["stop_reason"], len(info["trajectory"].turns), info
        raise AssertionError("never ended")

    assert last_info(make(sample))[:2] == ("max_turns", 6)
    stop, turns, info = last_info(make(sample, max_images=3))
    assert (stop, turns) == ("image_budget", 3)
    assert info["calls"][0].status == "skipped"
    assert last_info(make(sample, max_tokens=900))[0] == "token_budget"
    assert last_info(make(sample, count_tokens=lambda text: 500, max_tokens=1500))[1] == 1


def test_many_calls_in_a_message(sample):
    text = "".join(zoom_text([n, 0, 100 + n, 100]) for n in range(40))
    for env_id, run in (("VisualToolbox-v1", 1), ("VisualToolbox-v2", 1), ("VisualToolbox-v5", 3)):
        env = make(sample, env_id)
        env.reset()
        *_, info = env.step(text)
        assert (len(info["calls"]), info["skipped_calls"]) == (run, 40 - run)


@pytest.mark.parametrize(
    ("name", "wrong", "kind"), [("resize", "fats", "way to resize"), ("frame", "pixels", "coordinate frame")]
)
def test_what_the_user_gets_wrong_is_refused_at_once(sample, name, wrong, kind):
    with pytest.raises(UnknownNameError, match=f"unknown {kind} '{wrong}'; .*known: "):
        make(sample, **{name: wrong})


def test_what_the_policy_gets_wrong_is_told_and_recorded(sample):
    env = make(sample, max_turns=50)
    env.reset()
    cases = {
        "<tool_call>nonsense</tool_call>": ("malformed", "not valid JSON"),
        '<tool_call>{"name": "fly", "arguments": {}}</tool_call>': (
            "unknown_tool",
            "the tools are: image_zoom_in_tool",
        ),
        zoom_text([90, 10, 40, 30]): ("bad_arguments", "bbox_2d [90, 10, 40, 30]: x1 must be less than x2"),
        zoom_text([1, 2, 3]): ("bad_arguments", '"bbox_2d": [x1, y1, x2, y2]'),
    }
    for action, (status, message) in cases.items():
        obs, reward, terminated, truncated, info = env.step(action)
        assert (reward, terminated, truncated, obs["images"]) == (0.0, False, False, ())
        assert info["calls"][0].status == status
        assert message in info["calls"][0].error
        assert message in obs["text"]


def test_a_tool_that_breaks_is_an_observation(sample, caplog):
    @tool
    def broken(image: Image) -> Image:
        """Break."""
        raise ZeroDivisionError("by design")

    register_toolbox("Broken-v0", tools=[broken])
    env = make(sample, "Broken-v0")
    env.reset()
    obs, *_, info = env.step(ToolCall("broken", {}))
    assert info["calls"][0].status == "failed"
    assert "ZeroDivisionError: by design" in obs["text"]
    assert "broken failed on image of sample 's1'" in caplog.text


def test_format_error_ends_the_episode(sample):
    env = make(sample)
    env.reset()
    _, reward, terminated, truncated, info = env.step("I think it is red.")
    assert (terminated, truncated, info["stop_reason"]) == (True, False, "format_error")
    assert reward <= 0


def test_seeds_decide_sample_and_option_order(sample):
    samples = [replace(sample, id=f"s{n}", images=(pattern(200 + n, 150),), boxes=()) for n in range(10)]

    def play(env, seed):
        obs, info = env.reset(seed=seed)
        steps = [obs, env.step(zoom_text([0, 0, 90, 90]))[0]]
        obs, info = env.reset()
        return [info["sample_id"], *((o["text"], [i.tobytes() for i in o["images"]]) for o in [*steps, obs])]

    one, two = make(samples[0], dataset=samples), make(samples[0], dataset=samples)
    assert [play(one, seed) for seed in range(8)] == [play(two, seed) for seed in range(8)]
    texts = {one.reset(seed=seed, options={"index": 0})[0]["text"] for seed in range(30)}
    assert len(texts) > 10, "the options are not shuffled"


def test_reset_options(sample):
    env = make(sample)
    other = Sample("other", "q", "a", pattern(99, 77))
    assert env.reset(options={"index": 0})[1]["sample_id"] == "s1"
    assert env.reset(options={"sample": other})[1]["sample_id"] == "other"
    with pytest.raises(IndexError, match="1 samples"):
        env.reset(options={"index": 1})
    with pytest.raises(TypeError, match="must be a Sample, not int"):
        env.reset(options={"sample": 1})
    with pytest.raises(ValueError, match="'indx'"):
        env.reset(options={"indx": 1})


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"frame": "pixels"}, ValueError, "norm1000"),
        ({"view": 448}, ValueError, "ViewBudget"),
        ({"max_turns": 0}, ValueError, "max_turns=0"),
        ({"dataset": []}, ValueError, "no samples"),
        ({"dataset": "missing.parquet"}, (OSError, ValueError), "missing.parquet"),
        ({"rubric": "deepeye"}, UnknownNameError, "deepeyes"),
        ({"toolbox": "VisualToolbox-v22"}, UnknownNameError, "VisualToolbox-v2"),
        ({"render_mode": "human"}, ValueError, "rgb_array"),
    ],
)
def test_user_errors_raise_at_once_with_the_remedy(sample, kwargs, error, message):
    with pytest.raises(error, match=message):
        deepeyes_env.VisualToolboxEnv(**({"dataset": [sample]} | kwargs))


def test_snapshot_and_restore(sample):
    env = make(sample)
    env.reset(seed=5)
    last = env.step(zoom_text([0, 0, 100, 100]))[0]
    state = env.unwrapped.snapshot()
    branches = []
    for saved in (state, pickle.loads(pickle.dumps(state))):
        for branch_env in (env, make(sample)):
            obs = branch_env.unwrapped.restore(saved)
            assert obs["text"] == last["text"]
            assert np.array_equal(obs["images"][0], last["images"][0])
            step = branch_env.unwrapped.step(zoom_text([10, 10, 200, 150]))
            end = branch_env.unwrapped.step("<answer>red</answer>")
            next_obs, _ = branch_env.unwrapped.reset()
            branches.append((step[0]["images"][0].tobytes(), end[1], len(end[4]["trajectory"].turns), next_obs["text"]))
    assert len(set(branches)) == 1
    assert len(pickle.dumps(state)) < 4096


def test_restoring_replays_tools_that_keep_state(sample):
    class Memory(Tool):
        name = "remember"

        def open(self, sample):
            self.seen = []

        def __call__(self, word: str) -> str:
            """Remember a word."""
            self.seen.append(word)
            return " ".join(self.seen)

    register_toolbox("Memory-v0", tools=[Memory])
    env = make(sample, "Memory-v0")
    env.reset(seed=0)
    env.step(ToolCall("remember", {"word": "one"}))
    state = env.unwrapped.snapshot()
    for word in ("two", "three"):
        env.unwrapped.restore(state)
        assert env.unwrapped.step(ToolCall("remember", {"word": word}))[4]["calls"][0].text == f"one {word}"


def test_rows_choose_their_toolbox_and_ordinary_rows_have_none(sample):
    rows = [
        replace(sample, env_name="visual_toolbox_v5"),
        Sample(
            "math",
            "How many? Put it in \\boxed{}.",
            "12",
            pattern(90, 60),
            env_name=None,
            data_source="thinklite_eureka",
            metadata={"system_prompt": "Be brief."},
        ),
    ]
    env = make(sample, dataset=rows)
    env.reset(options={"index": 0})
    assert len(env.step(zoom_text([0, 0, 100, 100]) * 2)[4]["calls"]) == 2
    obs, info = env.reset(options={"index": 1})
    assert (info["system_prompt"], info["tools"]) == ("Be brief.", ())
    assert obs["text"] == "<image>\nHow many? Put it in \\boxed{}."
    _, reward, terminated, _, info = env.step("<think>6 + 6</think> \\boxed{12}")
    assert terminated
    assert reward == pytest.approx(1.2)
    with pytest.raises(UnknownNameError, match="flying"):
        env.reset(options={"sample": replace(sample, env_name="flying")})


def test_no_rubric_hands_over_the_trajectory(sample):
    env = make(sample, rubric=None)
    env.reset()
    env.step(zoom_text([0, 0, 100, 100]))
    _, reward, _, _, info = env.step("<answer>red</answer>")
    assert (reward, info["reward_terms"]) == (0.0, {})
    assert [len(turn.results) for turn in info["trajectory"].turns] == [1, 0]


def test_own_rubric(sample):
    rubric = Rubric([Term("acc", lambda e: e.correct), Term("calls", lambda e: len(e.trajectory.results), weight=-0.1)])
    env = make(sample, rubric=rubric)
    env.reset()
    env.step(zoom_text([0, 0, 100, 100]))
    assert env.step("<answer>red</answer>")[1] == pytest.approx(0.9)


def test_toolboxes_are_checked_at_registration():
    with pytest.raises(ValueError, match="unique"):
        register_toolbox("Twice-v0", tools=["image_zoom_in_tool", "image_zoom_in_tool"])
    with pytest.raises(UnknownNameError, match="image_zoom_in_tool"):
        register_toolbox("Typo-v0", tools=["image_zoom_tool"])


def test_environments_share_decoded_images(sample):
    store = ImageStore()
    encoded = Sample("e", "q", "a", encode(pattern(300, 200)))
    first, second = (make(encoded, store=store) for _ in range(2))
    first.reset()
    second.reset()
    assert store.decodes == 1


def test_unreadable_images_name_the_sample():
    env = make(Sample("broken-1", "q", "a", b"not an image"))
    with pytest.raises(ValueError, match="broken-1"):
        env.reset()


@pytest.mark.parametrize(
    "name", ["functions.image_zoom_in_tool", "image_zoom_in_tool ", " functions. image_zoom_in_tool\n"]
)
def test_a_tools_name_as_some_models_write_it(sample, name):
    env = make(sample)
    env.reset()
    *_, info = env.step(zoom_text([0, 0, 100, 100], name))
    assert info["calls"][0].ok
    assert info["calls"][0].call.name == "image_zoom_in_tool"
    assert name in json.loads(info["turn"].action.split("tool_call>")[1].removesuffix("</"))["name"]
