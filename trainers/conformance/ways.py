"""The ways in which a conversation becomes tokens: training, playing, our loop in verl, and two chat endpoints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from deepeyes_env.agents.openai.requests import messages_for_server
from deepeyes_env.agents.transformers.encoding import encode
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import PolicyTokens, Trajectory
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.conformance.directory import ModelDirectory
from deepeyes_env.trainers.conformance.drift import Encoded
from deepeyes_env.trainers.conformance.recordings import Recording, sample_of
from deepeyes_env.trainers.verl.episode import Episode
from deepeyes_env.trainers.verl.settings import TokenLimits

T = TypeVar("T")


def encoded(tokens: TokenSequence) -> Encoded:
    """Return tokens in the form in which they are compared."""
    return Encoded(tuple(tokens.ids.tolist()), tuple(tokens.mask.tolist()))


def trained(model: ModelDirectory, episode: Trajectory) -> Encoded:
    """Return an episode as our trainer learns from it; as TRL does with our ``rollout_func``, too."""
    return encoded(model.chat.sequence(episode))


def running(episode: Trajectory) -> list[Trajectory]:
    """Return an episode as it was before each of its messages."""
    return [replace(episode, turns=episode.turns[:number]) for number in range(len(episode.turns))]


def played(model: ModelDirectory, episode: Trajectory) -> list[Encoded]:
    """Return the prompt of each message as our transformers agent gives it to the model."""
    return [Encoded(tuple(encode(model.chat, so_far).tokens.ids.tolist())) for so_far in running(episode)]


def in_verl(model: ModelDirectory, recording: Recording, episode: Trajectory) -> Encoded:
    """Return an episode as our agent loop hands it to verl: prompt and response, with their mask."""
    messages = iter([turn.tokens for turn in episode.turns])

    async def generate(ids: Sequence[int], images: Sequence[ImageRef], room: int) -> PolicyTokens:
        tokens = next(messages)
        assert tokens is not None
        return tokens

    async def at_once(call: Callable[[], T]) -> T:
        return call()

    def make_env() -> VisualToolboxEnv:
        return VisualToolboxEnv(
            recording.toolbox,
            [sample_of(recording)],
            rubric=None,
            view=model.view,
            frame=model.frame,
            max_turns=len(episode.turns),
        )

    limits = TokenLimits(2**20, 2**20, 2**21, 2**20)
    loop = Episode(make_env, model.chat, limits, frozenset({model.image_token}), generate, at_once)
    made = asyncio.run(loop.play(0, {"index": 0}))
    return encoded(TokenSequence.concatenated([made.prompt, made.response]))


def by_vllm(model: ModelDirectory, episode: Trajectory) -> list[Encoded]:
    """Return the prompt of each message as vLLM's chat endpoint makes it of the request of our OpenAI agent.

    It renders the chat template of the tokenizer, all contents as lists of parts, encodes the text, and puts as many
    image tokens in the place of each one as the image processor says.
    """
    return [_by_vllm(model, so_far) for so_far in running(episode)]


def by_transformers(model: ModelDirectory, episode: Trajectory) -> list[Encoded]:
    """Return the prompt of each message as ``transformers serve`` makes it of the request of our OpenAI agent.

    The processor does all of it: it writes as many image tokens into the text as an image takes, and encodes the text.
    What a message says beside native calls is dropped by the server (transformers 5.23), so that the policy forgets it.
    """
    return [_by_transformers(model, so_far) for so_far in running(episode)]


def writes_calls(model: ModelDirectory) -> bool:
    """Whether the chat template writes native calls; without, an endpoint forgets what was called."""
    call = {"type": "function", "function": {"name": "A_NAME_OF_A_TOOL", "arguments": {}}}
    messages = [_said("user", "?"), {**_said("assistant", ""), "tool_calls": [call]}]
    return "A_NAME_OF_A_TOOL" in model.tokenizer.apply_chat_template(messages, tokenize=False)


def _by_vllm(model: ModelDirectory, so_far: Trajectory) -> Encoded:
    messages, images = _sent(so_far)
    text = model.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, tools=_tools(so_far)
    )
    ids = np.array(model.tokenizer(text, add_special_tokens=False).input_ids, np.int64)
    places = np.flatnonzero(ids == model.image_token)
    times = np.ones(len(ids), np.int64)
    times[places[: len(images)]] = [model.processor.tokens_of(image.size) for image in images][: len(places)]
    return Encoded(tuple(np.repeat(ids, times).tolist()))


def _by_transformers(model: ModelDirectory, so_far: Trajectory) -> Encoded:
    messages, images = _sent(so_far)
    messages = [{**each, "content": []} if "tool_calls" in each else each for each in messages]
    processor = model.processor
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, tools=_tools(so_far))
    pictures = [Image.fromarray(image.pixels()) for image in images]
    return Encoded(tuple(processor(text=[text], images=pictures)["input_ids"][0]))


def _sent(so_far: Trajectory) -> tuple[list[dict[str, Any]], list[ImageRef]]:
    """Return the messages of a request as servers give them to a chat template, and their images."""
    messages, images = [], []
    for message in messages_for_server(so_far):
        content = message["content"]
        parts = [content] if isinstance(content, str) else content
        images += [part for part in parts if isinstance(part, ImageRef)]
        message = {**message, "content": list(_parts(parts))}
        if "tool_calls" in message:
            message["tool_calls"] = [_call(call) for call in message["tool_calls"]]
        messages.append(message)
    return messages, images


def _said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": list(_parts([text]))}


def _parts(parts: Iterable[str | ImageRef]) -> Iterable[dict[str, str]]:
    for part in parts:
        yield {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}


def _call(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call with its arguments read, as servers give them to a chat template."""
    function = call["function"]
    return {**call, "function": {**function, "arguments": json.loads(function["arguments"])}}


def _tools(so_far: Trajectory) -> list[dict[str, Any]] | None:
    toolbox = toolbox_of(so_far)
    return list(toolbox.schemas) if toolbox.protocol.native else None
