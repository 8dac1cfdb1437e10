"""Rollouts of a policy that writes what it is told, through an agent loop as verl makes and runs it.

    python -m benchmarks.verl_loop_child ours|verl MODEL SOURCE IMAGE

``ours`` is run by an interpreter with verl 0.9, ``verl`` by one with verl 0.7.1, the last that has a zoom tool: its
``ToolAgentLoop``. There is no server: a message costs nothing. Both are shown the same 4K image within the same bound,
and cut the same boxes from its own pixels.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from PIL import Image
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.utils import hf_processor, hf_tokenizer
from verl.utils.dataset.rl_dataset import get_dataset_class
from verl.workers.rollout.replica import TokenOutput

from benchmarks.pace import cpu_ms, serve
from benchmarks.scripted import MOST_PIXELS, QUESTION, boxes, messages

ROLLOUT = {"name": "vllm", "prompt_length": 8192, "response_length": 20480, "max_model_len": 28672}
MULTI_TURN = {
    "max_user_turns": 8,
    "max_assistant_turns": 8,
    "max_parallel_calls": 1,
    "max_tool_response_length": 256,
    "tool_response_truncate_side": "middle",
    "format": "hermes",
    "interaction_config_path": None,
}
TOOL = {
    "class_name": "verl.tools.image_zoom_in_tool.ImageZoomInTool",
    "config": {"type": "native", "num_workers": 2, "rate_limit": 50},
    "tool_schema": {
        "type": "function",
        "function": {
            "name": "image_zoom_in_tool",
            "description": "Zoom in on a part of the image.",
            "parameters": {
                "type": "object",
                "properties": {
                    "bbox_2d": {"type": "array", "description": "The box."},
                    "label": {"type": "string", "description": "What is in it."},
                },
                "required": ["bbox_2d"],
            },
        },
    },
}


class Writer:
    """verl's server manager, for a policy whose messages are known."""

    def __init__(self, tokens: Sequence[list[int]]) -> None:
        self._tokens = iter(tokens)

    async def generate(self, *_: Any, **__: Any) -> TokenOutput:
        """Return the next message."""
        ids = next(self._tokens)
        return TokenOutput(token_ids=list(ids), log_probs=[-0.5] * len(ids))


def parts(tokenizer: Any, processor: Any, more: dict[str, Any]) -> dict[str, Any]:
    """Return what verl gives to every agent loop."""
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": {**ROLLOUT, **more}, "model": {}}})
    data = OmegaConf.create({"apply_chat_template_kwargs": {}})
    return {
        "trainer_config": DictConfigWrap(config),
        "tokenizer": tokenizer,
        "processor": processor,
        "dataset_cls": get_dataset_class(OmegaConf.create({})),
        "data_config": DictConfigWrap(data),
    }


@dataclass(frozen=True)
class Written:
    """What the policy writes in one rollout: its boxes, as texts, and as tokens."""

    boxes: list[list[int]]
    texts: list[str]
    tokens: list[list[int]]

    @classmethod
    def of(cls, tokenizer: Any, seed: int, calls: int) -> Written:
        """Make it, out of the time that is taken."""
        texts = messages(seed, calls)
        return cls(boxes(seed, calls), texts, [[*tokenizer(text).input_ids, tokenizer.eos_token_id] for text in texts])


Play = Callable[[Written], object]

EVENTS = asyncio.new_event_loop()
asyncio.set_event_loop(EVENTS)


def our_ways(tokenizer: Any, processor: Any, source: str) -> dict[str, Play]:
    """Return how a rollout is played in our agent loop and in an environment alone."""
    from deepeyes_env.trainers.verl.agent_loop import DeepEyesAgentLoop
    from deepeyes_env.trainers.verl.settings import LoopSettings
    from deepeyes_env.trainers.verl.sources import open_source
    from deepeyes_env.trainers.verl.worker import shared_worker

    settings = {"max_turns": 8, "frame": "native", "max_pixels": MOST_PIXELS}
    given = {**parts(tokenizer, processor, {}), "hf_model_type": "qwen2_5_vl"}
    worker = shared_worker(LoopSettings.of(settings), tokenizer, processor, "qwen2_5_vl")
    env = worker.make_env(open_source(source))

    def loop(written: Written) -> object:
        made = DeepEyesAgentLoop(server_manager=Writer(written.tokens), **settings, **given)
        return EVENTS.run_until_complete(made.run({"logprobs": True}, deepeyes={"source": source, "index": 0}))

    def alone(written: Written) -> object:
        env.reset(seed=0, options={"index": 0})
        for text in written.texts:
            *_, info = env.step(text)
        return info

    return {"loop": loop, "alone": alone}


def their_loop(tokenizer: Any, processor: Any, image: str) -> Play:
    """Return how a rollout is played in verl's own agent loop, which is made once: it makes its tools with it."""
    import ray
    from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop

    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
    tools = Path(tempfile.mkdtemp()) / "tools.yaml"
    tools.write_text(json.dumps({"tools": [TOOL]}))
    given = parts(tokenizer, processor, {"multi_turn": {**MULTI_TURN, "tool_config_path": str(tools)}})
    made = ToolAgentLoop(server_manager=None, **given)
    shown = Image.open(image).convert("RGB")
    part = {"type": "image", "image": shown, "max_pixels": MOST_PIXELS}
    asked = [{"role": "user", "content": [part, {"type": "text", "text": QUESTION}]}]
    kwargs = {"image_zoom_in_tool": {"create_kwargs": {"image": shown}}}

    def loop(written: Written) -> object:
        made.server_manager = Writer(written.tokens)
        output = EVENTS.run_until_complete(made.run({}, raw_prompt=asked, tools_kwargs=kwargs))
        if len(output.multi_modal_data["images"]) != len(written.texts):
            raise AssertionError("its tool returned no image")
        return output

    return loop


def main() -> None:
    """Answer with the CPU milliseconds of a rollout of so many calls, played so many times."""
    which, model, source, image = sys.argv[1:]
    tokenizer, processor = hf_tokenizer(model), hf_processor(model)
    ours = which == "ours"
    ways = our_ways(tokenizer, processor, source) if ours else {"loop": their_loop(tokenizer, processor, image)}

    def answer(request: dict[str, Any]) -> dict[str, float]:
        seeds = range(request["seed"], request["seed"] + request["rollouts"])
        written = [Written.of(tokenizer, seed, request["calls"]) for seed in seeds]
        play = ways[request["way"]]
        return {"ms": cpu_ms(lambda: [play(each) for each in written]) / request["rollouts"]}

    serve({"verl": version("verl"), "transformers": version("transformers"), "pillow": version("pillow")}, answer)


if __name__ == "__main__":
    main()
