"""Who plays the episodes of these tests: policies that write what they are told, through the shipped tokenizer."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.core import PolicyTokens
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.verl.episode import Episode
from deepeyes_env.trainers.verl.settings import TokenLimits

ZOOM = (
    "<think>The mark is too small, zoom in.</think><tool_call>"
    '{"name": "image_zoom_in_tool", "arguments": {"label": "red square", "bbox_2d": [22, 64, 54, 96]}}</tool_call>'
)
ANSWER = "<think>I can see the mark on the red square.</think><answer>horizontal stripes</answer>"
LIMITS = TokenLimits(prompt=128, response=256, context=384, message=32)


def load_policy():
    return VisionPolicy.load(BASE)


def tokens_of(policy, text, ended=True):
    """A message as a server would return it, each token less likely than the one before."""
    ids = list(policy.tokenizer(text, add_special_tokens=False).input_ids)
    ids += [policy.chat.end_of_turn] * ended
    return PolicyTokens(tuple(ids), tuple(-0.125 * (place + 1) for place in range(len(ids))), (1,) * len(ids))


class Writer:
    """Writes the messages it was given, the last one again and again; keeps what it was asked with."""

    def __init__(self, *messages):
        self.messages = itertools.chain(messages, itertools.repeat(messages[-1]))
        self.asked = []

    async def generate(self, ids, images, room):
        self.asked.append((list(ids), list(images), room))
        tokens = next(self.messages)
        return PolicyTokens(tokens.ids[:room], tokens.logprobs[:room], tokens.mask[:room])


def play(policy, writer, *, limits=LIMITS, env=None, number=0, show=lambda images: None, **kwargs):
    """Play one question of the laptop's task to its end."""
    dataset = pattern_search("test", length=16, easy=0)
    env = env or VisualToolboxEnv("VisualToolbox-v2", dataset, **{"max_turns": 3, **kwargs})
    vision = frozenset(policy.tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|vision_start|>"]))

    async def whole():
        with ThreadPoolExecutor(1, thread_name_prefix="deepeyes-test") as threads:
            loop = asyncio.get_running_loop()
            episode = Episode(
                lambda: env,
                policy.chat,
                limits,
                vision,
                writer.generate,
                lambda call: loop.run_in_executor(threads, call),
                show,
            )
            return await episode.play(7, {"index": number})

    return asyncio.run(whole())
