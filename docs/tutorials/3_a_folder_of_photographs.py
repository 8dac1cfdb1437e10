# %% [markdown]
# # A folder of photographs
#
# You have photographs, and want a data set on which looking closer matters. Here you plant
# small objects with hidden details in a folder of pictures, play the questions with a policy
# that looks and one that does not, and then ask questions of your own about the same
# pictures.
#
# It needs `deepeyes-env[cli,data]`, and `scikit-image` for the pictures that come with it.
# Set `photos` to a folder of yours to use that instead.

# %%
import tempfile
from collections import Counter
from pathlib import Path

from PIL import Image
from skimage import data

from deepeyes_env import Sample, ViewBudget
from deepeyes_env.agents import rollout
from deepeyes_env.data import load, write_jsonl
from deepeyes_env.data.photos import plant
from deepeyes_env.trajectories import write_page

work = Path(tempfile.mkdtemp())
photos = work / "photos"
photos.mkdir()
for name in ("astronaut", "chelsea", "coffee"):
    Image.fromarray(getattr(data, name)()).save(photos / f"{name}.png")

# %% [markdown]
# ## Plant questions
#
# `plant` draws a few objects into each photograph and asks about one of them: its pattern,
# the letter on it, where it is relative to another, how many there are. The detail that is
# asked for is gone at the size of the view, and readable in a crop. So fix the view first,
# and show the data set at that view later: a parquet file cannot say it.

# %%
view = ViewBudget(min_pixels=224 * 224, max_pixels=448 * 448)
parquet = work / "photos.parquet"
count = plant(photos, parquet, samples_per_photo=8, view=view)
assert count == 3 * 8

# %% [markdown]
# The same on the command line:
#
#     deepeyes photos photos photos.parquet --max-pixels 200704
#
# `load` reads it back, as it reads every format. A `Sample` is a question, its answer, its
# images, and here also options and the boxes that show the answer, in pixels of the stored
# photograph.

# %%
samples = load(parquet)
for sample in samples:
    assert sample.answer in sample.options
    assert sample.boxes
    width, height = sample.images[0].size
    assert view.fit((width, height))[0] < width / 2  # the policy sees it smaller than it is
sample = samples[1]
print(sample.question, sample.options)
print("stored at", sample.images[0].size, "shown at", view.fit(sample.images[0].size))
print(Counter(sample.metadata["task"] for sample in samples))

# %% [markdown]
# ## Does looking matter?
#
# The oracle zooms in on the boxes before it answers; the blind policy guesses. If both did
# equally well, the data set would be worth nothing.

# %%
runs = {
    agent: rollout(
        "VisualToolbox-v2",
        agent,
        episodes=count,
        dataset=str(parquet),
        view=view,
        in_order=True,
        out=work / "runs" / agent,
        progress=False,
    )
    for agent in ("oracle", "blind")
}
for agent, run in runs.items():
    print(f"{agent:7} accuracy {run.summary.accuracy:.2f}  reward {run.summary.reward:.2f}")
assert runs["oracle"].summary.accuracy == 1.0
assert runs["blind"].summary.accuracy < 0.6

# %% [markdown]
# Look through the episodes: the page opens from disk, with the photographs, the boxes and the
# crops.

# %%
page = write_page(work / "runs" / "oracle")
assert page.is_file()
print("open", page.relative_to(work))

# %% [markdown]
# ## Questions of your own
#
# For questions that you write yourself, a JSONL file is the easiest: one object a line,
# pictures as paths. `write_jsonl` makes one from samples; you can as well type it. Without
# options, an answer is compared as text or as a number.

# %%
mine = [
    Sample(
        "cup",
        "What is in the cup?",
        "coffee",
        photos / "coffee.png",
        options=["tea", "coffee", "milk"],
    ),
    Sample("cat", "How many eyes of the cat can be seen?", "2", photos / "chelsea.png"),
]
write_jsonl(mine, work / "mine.jsonl")
print((work / "mine.jsonl").read_text().splitlines()[1][:60], "...")

own = rollout(
    "VisualToolbox-v2",
    "oracle",
    episodes=2,
    dataset=str(work / "mine.jsonl"),
    in_order=True,
    progress=False,
)
assert [episode.sample.id for episode in own.trajectories] == ["cup", "cat"]
assert own.summary.accuracy == 1.0

# %% [markdown]
# Both files serve for training and for evaluation as they are:
#
#     deepeyes train data=photos.parquet model=Qwen2.5-VL-3B-Instruct env.max_pixels=200704
#     deepeyes eval --bench jsonl --data mine.jsonl --model NAME \
#         --base-url http://127.0.0.1:8000/v1
#
# All formats, bad rows, and rows that bring a toolbox of their own: [Data sets of your
# own](../datasets.md).
