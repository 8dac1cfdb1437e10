"""Run beside ``test_conformance.py``: the recorded episodes through verl's own classes, written down as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from omegaconf import OmegaConf
from PIL import Image
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.utils import hf_processor, hf_tokenizer
from verl.utils.dataset.rl_dataset import get_dataset_class
from verl.workers.rollout.replica import TokenOutput

from deepeyes_env.conversation import content_parts
from deepeyes_env.trainers.conformance import ways
from deepeyes_env.trainers.conformance.directory import SMALL, ModelDirectory
from deepeyes_env.trainers.conformance.recordings import RECORDINGS, play
from deepeyes_env.trainers.verl import agent_loop

MOST = 4096


class Recorded:
    """verl's server manager, for a policy whose messages are known."""

    def __init__(self, episode):
        self.messages = [turn.tokens for turn in episode.turns]
        self.asked = []

    async def generate(self, request_id, *, prompt_ids, sampling_params, image_data=None, **_):
        self.asked.append(prompt_ids)
        tokens = self.messages[len(self.asked) - 1]
        return TokenOutput(token_ids=list(tokens.ids), log_probs=list(tokens.logprobs))


async def through_the_loop(recording, episode, tokenizer, processor, model):
    """Play a recording in our agent loop as verl makes and runs it."""
    rollout = {"name": "vllm", "prompt_length": MOST, "response_length": MOST, "max_model_len": 2 * MOST}
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": rollout}})
    data = OmegaConf.create({"apply_chat_template_kwargs": {}})
    server = Recorded(episode)
    loop = agent_loop.DeepEyesAgentLoop(
        trainer_config=DictConfigWrap(config),
        server_manager=server,
        tokenizer=tokenizer,
        processor=processor,
        dataset_cls=get_dataset_class(OmegaConf.create({})),
        data_config=DictConfigWrap(data),
        hf_model_type="qwen2_5_vl",
        toolbox=recording.toolbox,
        max_turns=len(episode.turns),
        min_pixels=SMALL.min_pixels,
        max_pixels=SMALL.max_pixels,
    )
    output = await loop.run({"logprobs": True}, deepeyes={"source": recording.name, "index": 0})
    images = output.multi_modal_data["images"]
    grids = processor.image_processor(images=images, return_tensors="pt")["image_grid_thw"]
    return {
        "ids": [*output.prompt_ids, *output.response_ids],
        "mask": [*[0] * len(output.prompt_ids), *output.response_mask],
        "asked": server.asked,
        "images": (grids.prod(1) // processor.image_processor.merge_size**2).tolist(),
        "built": built(loop.continuous_token_builder, episode),
    }


def built(builder, episode):
    """Return the tokens of an episode as verl's own loops build them, step by step, of messages and sampled ids."""
    opening = [{"role": "system", "content": episode.system_prompt}] if episode.system_prompt else []
    told = [*opening, message(episode.prompt)]
    images = [part["image"] for part in told[-1]["content"] if part["type"] == "image"]
    ids = builder.build_initial_tokens(told, images=images)
    for turn in episode.turns:
        ids = builder.merge_assistant_tokens(ids, list(turn.tokens.ids)).token_ids
        before = [*told, {"role": "assistant", "content": turn.action}]
        if turn.observation is None or turn is episode.turns[-1]:
            break
        told = [*before, message(turn.observation)]
        ids = builder.merge_context_tokens(before, told, ids).token_ids
    return ids


def message(observation):
    """Return what the environment says as verl's loops hold it."""
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": picture(part)}
        for part in content_parts(observation)
    ]
    return {"role": "user", "content": content}


def picture(image):
    return Image.fromarray(image.pixels())


def main(folder: str, out: str) -> None:
    tokenizer, processor = hf_tokenizer(folder), hf_processor(folder)
    model = ModelDirectory.load(folder)
    samples = {recording.name: [ways.sample_of(recording)] for recording in RECORDINGS}
    agent_loop.open_source = lambda name: samples[name]
    rows = {}
    for recording in RECORDINGS:
        episode = play(recording, model)
        ours = ways.trained(model, episode)
        theirs = asyncio.run(through_the_loop(recording, episode, tokenizer, processor, model))
        rows[recording.name] = {
            "native": recording.native,
            "ours": {"ids": ours.ids, "mask": [int(one) for one in ours.mask], "pad": model.image_token},
            "verl": theirs,
        }
    Path(out).write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
