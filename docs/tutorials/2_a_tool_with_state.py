# %% [markdown]
# # A tool with state
#
# A zoom shows one place and forgets it. Here you write a tool that remembers: every call
# draws another numbered mark on the picture, and the policy sees all the marks that it has
# made so far. Then you give it to an environment, call it right and wrong, go back in time,
# and let a policy play with it.

# %%
import gymnasium as gym
import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from deepeyes_env import BBox, Image, Sample, Tool, ToolCall, ToolError, register_toolbox
from deepeyes_env.agents import OracleAgent, rollout

# %% [markdown]
# ## The tool
#
# A tool is a class with a typed `__call__` and a docstring. Of the parameters, `image` is
# filled in by the environment; `bbox_2d` and `label` are what the policy writes. Because the
# annotation is `BBox`, the box arrives in whole pixels of the stored image, whatever
# coordinates the policy writes in, and a box that makes no sense never arrives at all.
#
# State lives between `open`, called when an episode begins, and `close`, called when it ends.
# `ToolError` refuses a call: its message is shown to the policy, so say what to do instead.


# %%
class MarkTool(Tool):
    """Draws numbered marks, all those of the episode on one picture."""

    name = "mark_tool"

    def open(self, sample):
        self.marks = []

    def __call__(self, image: Image, bbox_2d: BBox, label: str) -> list[Image | str]:
        """Mark a region of the image; shows the image with all the marks made so far.

        Args:
            image: The image.
            bbox_2d: The region.
            label: What is there, in a word or two.
        """
        if len(self.marks) == 3:
            raise ToolError("three marks are made already; answer now")
        self.marks.append((bbox_2d, label))
        picture = PILImage.fromarray(image)
        pen = ImageDraw.Draw(picture)
        for box, _ in self.marks:
            pen.rectangle(box, outline=(255, 0, 128), width=6)
        told = ", ".join(
            f"{number}: {name}" for number, (_, name) in enumerate(self.marks, start=1)
        )
        return [np.asarray(picture), f"Marks so far: {told}"]

    def close(self):
        self.marks = []


# %% [markdown]
# ## The environment
#
# A toolbox is a set of tools under an environment id. Give it the class, not an instance:
# every environment makes its own, so that no episode sees another's marks.

# %%
register_toolbox("Marks-v0", tools=["image_zoom_in_tool", MarkTool])

scene = np.full((600, 800, 3), 90, np.uint8)
scene[100:200, 100:200] = (220, 40, 40)
scene[350:450, 500:600] = (40, 60, 220)
question = Sample(
    "two-squares", "How many squares are there?", "2", scene, boxes=[(100, 100, 200, 200)]
)

env = gym.make("Marks-v0", dataset=[question])
observation, info = env.reset(seed=0)
function = info["tools"][1]["function"]
print(function["name"], "-", function["description"])
assert sorted(function["parameters"]["properties"]) == [
    "bbox_2d",
    "label",
]  # `image` is none of the policy's business

# %% [markdown]
# ## Calls
#
# `step` takes what a model wrote, or a `ToolCall`. The second picture has both marks: the
# tool remembered the first.

# %%
first, *_ = env.step(ToolCall("mark_tool", {"bbox_2d": [100, 100, 200, 200], "label": "red"}))
second, *_, info = env.step(
    ToolCall("mark_tool", {"bbox_2d": [500, 350, 600, 450], "label": "blue"})
)
print(second["text"].splitlines()[0])
assert info["calls"][0].status == "ok"
assert "1: red, 2: blue" in second["text"]
pink = np.array((255, 0, 128))
marked = [int((view["images"][0] == pink).all(axis=-1).sum()) for view in (first, second)]
assert marked[1] > 1.5 * marked[0] > 0

# %% [markdown]
# What a policy gets wrong never raises. It becomes an observation that says what was wrong: a
# missing argument, a box that is no box, a fourth mark.

# %%
mistakes = [
    {"bbox_2d": [100, 100, 200, 200]},
    {"bbox_2d": [200, 100, 100, 200], "label": "red"},
]
for arguments in mistakes:
    observation, reward, terminated, truncated, info = env.step(
        ToolCall("mark_tool", arguments)
    )
    print(info["calls"][0].error)
    assert info["calls"][0].status == "bad_arguments"
    assert not terminated

env.step(ToolCall("mark_tool", {"bbox_2d": [300, 300, 340, 340], "label": "nothing"}))
observation, *_, info = env.step(
    ToolCall("mark_tool", {"bbox_2d": [1, 1, 50, 50], "label": "one too many"})
)
assert info["calls"][0].status == "failed"
assert "three marks are made already" in observation["text"]

# %% [markdown]
# ## A new episode, another environment, another past
#
# `reset` opens the tool anew. A second environment has a tool of its own. And `snapshot` and
# `restore` work with state too: where a tool keeps any, the environment goes back by
# replaying the episode's actions.

# %%
env.reset(seed=0)
fresh, *_ = env.step(ToolCall("mark_tool", {"bbox_2d": [500, 350, 600, 450], "label": "blue"}))
assert "Marks so far: 1: blue" in fresh["text"]

other = gym.make("Marks-v0", dataset=[question])
other.reset(seed=0)
state = env.unwrapped.snapshot()
seen, *_ = env.step(ToolCall("mark_tool", {"bbox_2d": [100, 100, 200, 200], "label": "red"}))
env.unwrapped.restore(state)
again, *_ = env.step(ToolCall("mark_tool", {"bbox_2d": [100, 100, 200, 200], "label": "red"}))
assert np.array_equal(seen["images"][0], again["images"][0])
elsewhere, *_ = other.step(
    ToolCall("mark_tool", {"bbox_2d": [100, 100, 200, 200], "label": "red"})
)
assert "Marks so far: 1: red" in elsewhere["text"]

# %% [markdown]
# ## A policy plays with it
#
# Any policy can use the tool now: its schema is in the system prompt. Here is a script that
# marks the ground truth, then answers. `format_message` of the toolbox's protocol writes the
# message as a model would.


# %%
class MarkingAgent(OracleAgent):
    """Marks the first object, then gives the right answer."""

    name = "marking"

    def message(self, episode, random):
        """Return the next message."""
        protocol = env.unwrapped.toolbox.protocol
        if episode.turns:
            return protocol.format_message("Marked.", episode.sample.answer)
        box = list(episode.sample.boxes[0])
        return protocol.format_message(
            "I mark it.", ToolCall("mark_tool", {"bbox_2d": box, "label": "here"})
        )


run = rollout(
    "Marks-v0",
    MarkingAgent(),
    episodes=8,
    num_envs=4,
    dataset=[question],
    view=None,
    progress=False,
)
summary = run.summary
print(f"{summary.episodes} episodes, accuracy {summary.accuracy}, reward {summary.reward}")
assert summary.accuracy == 1.0
assert summary.reward == 2.0  # 0.8 for the answer, 1.2 because a tool returned an image
assert not run.failures
assert {result.text for episode in run.trajectories for result in episode.results} == {
    "Marks so far: 1: here"
}

# %% [markdown]
# Save the class and the call of `register_toolbox` in a file, and every command knows the
# environment:
#
#     deepeyes rollout --plugin marks.py --env Marks-v0 --data mine.jsonl
#
# More about parameters, return values and errors: [Tools](../tools.md).
