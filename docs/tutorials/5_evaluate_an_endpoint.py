# %% [markdown]
# # Evaluate an endpoint
#
# You have a model behind an OpenAI-compatible server and want to know what it can do with
# tools and without. Here you make a benchmark, serve a model on 127.0.0.1, evaluate it over
# HTTP, resume the evaluation, and compare it with another model.
#
# The "model" is a page of code that looks at the pictures it is sent, so that the tutorial
# runs anywhere; the server, the requests and the evaluation are the real thing. Put the URL
# of yours in its place. It needs `deepeyes-env[eval]`.

# %%
import base64
import io
import json
import re
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

from deepeyes_env import Sample, ViewBudget
from deepeyes_env.agents import BlindAgent
from deepeyes_env.agents.evaluation import Scoring, compare, evaluate
from deepeyes_env.agents.openai import OpenAIAgent
from deepeyes_env.data import write_jsonl
from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.judges import RuleJudge

work = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A benchmark
#
# Grey pictures of 1024 x 768 pixels with a red frame somewhere. Within the frame is one of
# three patterns, made of lines a pixel wide. At the size at which the model is shown the
# picture, the lines run into one another, so that all three look alike; the frame can be
# seen. A benchmark is any data set; from a file, `metadata.category` becomes a column of the
# report.

# %%
PATTERNS = ("plain", "horizontal lines", "vertical lines")
SIDE, VIEW = 64, ViewBudget(max_pixels=256 * 192)


def picture(pattern, rng):
    """Draw a grey picture with a framed pattern; return it and the box of the frame."""
    pixels = rng.integers(120, 136, (768, 1024, 1), dtype=np.uint8).repeat(3, axis=2)
    x, y = (int(rng.integers(40, limit - SIDE - 40)) for limit in (1024, 768))
    pixels[y - 12 : y + SIDE + 12, x - 12 : x + SIDE + 12] = (220, 20, 20)
    inside = np.full((SIDE, SIDE), 128, np.uint8)
    if pattern != "plain":
        inside[::2], inside[1::2] = 68, 188
    inside = inside.T if pattern == "vertical lines" else inside
    pixels[y : y + SIDE, x : x + SIDE] = inside[:, :, None]
    return pixels, (x - 12, y - 12, x + SIDE + 12, y + SIDE + 12)


rng = np.random.default_rng(0)
samples = []
for number in range(24):
    right = PATTERNS[number % 3]
    pixels, box = picture(right, rng)
    samples.append(
        Sample(
            id=f"frame-{number}",
            question="What is in the red frame?",
            answer=right,
            images=pixels,
            options=PATTERNS,
            boxes=[box],
            metadata={"category": right},
        )
    )
write_jsonl(samples, work / "frames.jsonl")
benchmark, dataset = open_benchmark("jsonl", work / "frames.jsonl")
assert len(dataset) == 24

# %% [markdown]
# ## A model behind HTTP
#
# A server gets the conversation: the system prompt, the question with the picture as a data
# URL, then the model's own messages and the crops that came back. This one looks for red in
# the last picture it was sent. If a tool is offered and it has not looked yet, it asks for a
# zoom on the red frame; otherwise it measures in which direction the pixels inside vary, and
# names the option.


# %%
class Model(BaseHTTPRequestHandler):
    """Answers chat completions by looking at the last picture of the conversation."""

    requests = 0

    def do_GET(self):
        """List the model."""
        self.answer({"object": "list", "data": [{"id": "framer", "object": "model"}]})

    def do_POST(self):
        """Answer one request."""
        Model.requests += 1
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": reply(request["messages"])}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self.answer(
            {
                "id": "1",
                "object": "chat.completion",
                "model": request["model"],
                "choices": [choice],
            }
        )

    def answer(self, body):
        """Send JSON."""
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        """Stay silent."""


def pictures_in(messages):
    """Return the pictures of a conversation as arrays."""
    contents = [each["content"] for each in messages if isinstance(each["content"], list)]
    parts = [part for content in contents for part in content if part["type"] == "image_url"]
    urls = [part["image_url"]["url"] for part in parts]
    files = [io.BytesIO(base64.b64decode(url.partition(",")[2])) for url in urls]
    return [np.asarray(Image.open(file).convert("RGB"), np.float32) for file in files]


def red_frame(seen):
    """Return the box around everything red."""
    ys, xs = np.nonzero(seen[:, :, 0] - seen[:, :, 1:].mean(axis=2) > 60)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def pattern_in(seen):
    """Name the pattern in the middle third of the red frame."""
    x1, y1, x2, y2 = red_frame(seen)
    x, y = (x2 - x1) // 3, (y2 - y1) // 3
    inside = seen[y1 + y : y2 - y, x1 + x : x2 - x].mean(axis=2)
    down, across = inside.mean(axis=1).std(), inside.mean(axis=0).std()
    if max(down, across) < 10:
        return "plain"
    return "horizontal lines" if down > across else "vertical lines"


def reply(messages):
    """Return the next message of the model."""
    pictures = pictures_in(messages)
    told = json.dumps(messages)
    if len(pictures) == 1 and "image_zoom_in_tool" in told:
        call = {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": red_frame(pictures[0])}}
        return f"<think>I look closer.</think><tool_call>{json.dumps(call)}</tool_call>"
    name = pattern_in(pictures[-1])
    options = {text.strip(): letter for letter, text in re.findall(r"\((\w)\) ([a-z ]+)", told)}
    return f"<think>It looks {name}.</think><answer>{options[name]}</answer>"


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"

# %% [markdown]
# ## Evaluate
#
# `tools="both"` asks every question twice, with tools and without, and reports the difference
# with a paired test. Boxes are written in pixels of the picture as shown, and we say so
# (`frame`), because the name of this model does not tell it. `check` finds a wrong URL or
# model name before any episode is played.

# %%
agent = OpenAIAgent("framer", url, concurrency=8)
agent.check()


def run(agent, out, **more):
    """Evaluate an agent on the benchmark."""
    scoring = Scoring(RuleJudge(), "rules")
    return evaluate(
        benchmark,
        dataset,
        agent,
        scoring,
        out=out,
        tools="both",
        view=VIEW,
        frame="view",
        progress=False,
        **more,
    )


report = run(agent, work / "framer")
off, on = sorted(report.conditions, key=lambda condition: condition.name)
for condition in (off, on):
    rate = condition.accuracy
    interval = f"{rate.low:.2f} to {rate.high:.2f}"
    print(f"tools {condition.name:3} accuracy {rate.value:.2f} ({interval})")
assert report.complete
assert on.accuracy.value == 1.0
assert abs(off.accuracy.value - 1 / 3) < 0.01  # everything looks plain
assert on.zoom_rate == 1.0
assert off.calls == 0.0

# %% [markdown]
# ## What is on disk
#
# The report as Markdown and JSON, plots, every episode, and a page to look through them. A
# run that was stopped continues where it was: `if_exists="resume"` asks only what is missing.
# Here nothing is, and the server hears nothing.

# %%
for name in ("report.md", "report.json", "trajectories.jsonl", "index.html"):
    assert (work / "framer" / name).is_file()
before = Model.requests
run(agent, work / "framer", if_exists="resume")
assert Model.requests == before

# %% [markdown]
# ## Compare
#
# Any agent can be evaluated, not only served models. `blind` guesses. `compare` takes the
# questions that both answered and tests the difference in pairs.

# %%
run(BlindAgent(), work / "blind")
comparison = compare(work / "framer", work / "blind")
print("side by side:", comparison.page.relative_to(work))
assert comparison.page.is_file()

server.shutdown()

# %% [markdown]
# The same on the command line:
#
#     deepeyes eval --bench jsonl --data frames.jsonl --out framer --model framer \
#         --base-url http://127.0.0.1:8000/v1 --tools both --frame view --max-pixels 49152
#     deepeyes compare framer blind
#
# Benchmarks, serving a model, judges, and what the report says:
# [Evaluation](../evaluation.md).
