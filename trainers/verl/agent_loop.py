"""DeepEyesAgentLoop: one of our environments for each rollout of verl."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from PIL import Image as PILImage

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    from verl.experimental.agent_loop.agent_loop import (
        AgentLoopBase,
        AgentLoopMetrics,
        AgentLoopOutput,
        register,
    )

from deepeyes_env.core import PolicyTokens
from deepeyes_env.images.pil import to_pil
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.verl.episode import Episode, PlayedRollout
from deepeyes_env.trainers.verl.report import reward_extra_info
from deepeyes_env.trainers.verl.settings import LoopSettings, TokenLimits
from deepeyes_env.trainers.verl.sources import open_source, seed_of
from deepeyes_env.trainers.verl.worker import Worker, shared_worker

NAME = "deepeyes"
"""What verl calls the agent loop: the column ``agent_name``, or ``rollout.agent.default_agent_loop``."""

ROW = "deepeyes"
"""The column of a row that says which sample it is: ``{"source": ..., "index": ...}``."""

REPORT = "deepeyes"
"""The extra field of a rollout that says what was played: ``{"sample", "episode", "error"}``."""

_UNREACHABLE = -100.0
"""The bias of a token that must not be sampled: the least that servers take."""

logger = logging.getLogger(__name__)


@register(NAME)
class DeepEyesAgentLoop(AgentLoopBase):
    """Plays a row in an environment of its own.

    The environment steps in threads, so that the event loop goes on with other rollouts. What the policy wrote stays
    as it was sampled; observations are written by our own chat encoding and are outside the mask.

    Args:
        name: The name of the entry in ``agent_loop_config_path``.
        **kwargs: What verl gives to each agent loop; all else are ``LoopSettings``.

    Raises:
        UnknownNameError: There is no such setting.
        UsageError: A setting is wrong, or the model is of a kind that is not known.
    """

    def __init__(self, *, name: str = NAME, **kwargs: Any) -> None:
        theirs = ("trainer_config", "server_manager", "tokenizer", "processor", "dataset_cls", "data_config")
        given = {key: kwargs.pop(key) for key in theirs}
        model_type = kwargs.pop("hf_model_type", None)
        kwargs.pop("tools", None)  # verl's own loop's
        super().__init__(**given, hf_model_type=model_type)
        self._worker: Worker = shared_worker(LoopSettings.of(kwargs), self.tokenizer, self.processor, model_type)

    async def run(self, sampling_params: Mapping[str, Any], **row: Any) -> AgentLoopOutput:
        """Play one rollout of a row.

        Args:
            sampling_params: How verl wants messages sampled.
            **row: The row, from ``DeepEyesDataset``.
        """
        worker, where = self._worker, row[ROW]
        server = _Server(self.server_manager, worker, sampling_params, self.rollout_config.name)
        began = time.perf_counter()
        episode = Episode(
            lambda: worker.make_env(open_source(where["source"])),
            worker.chat,
            self._limits(),
            worker.vision,
            server.generate,
            self._in_thread,
            server.show,
        )
        index = int(where["index"])
        rollout = await episode.play(seed_of(worker.settings.seed, index), {"index": index})
        output = self._output(rollout, server, row)
        output.metrics.tool_calls = time.perf_counter() - began - server.seconds
        return output

    def _limits(self) -> TokenLimits:
        config, most = self.rollout_config, self._worker.settings.max_new_tokens
        prompt, response = int(config.prompt_length), int(config.response_length)
        return TokenLimits(prompt, response, int(config.max_model_len or prompt + response), most or response)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker.threads, call)

    def _output(self, rollout: PlayedRollout, server: _Server, row: Mapping[str, Any]) -> AgentLoopOutput:
        episode = uuid4().hex
        if rollout.error:
            logger.warning("a rollout of %s failed and is masked: %s", row[ROW], rollout.error)
        finished, played = rollout.finished, rollout.trajectory
        if finished is not None:
            self._worker.write(replace(finished, metadata={**finished.metadata, "episode": episode}))
        prompt, response = rollout.prompt, rollout.response
        images = server.pictures(len(prompt.images) + len(response.images))
        steps = {"min_global_steps": _version(row), "max_global_steps": _version(row)}
        return AgentLoopOutput(
            prompt_ids=prompt.ids.tolist(),
            response_ids=response.ids.tolist(),
            response_mask=response.mask.astype(int).tolist(),
            response_logprobs=response.logprobs.tolist() if server.logprobs else None,
            multi_modal_data={"images": images} if images else {},
            reward_score=finished.reward if finished is not None else 0.0,
            num_turns=2 * len(played.turns) if played is not None else 0,
            metrics=AgentLoopMetrics(generate_sequences=server.seconds, num_preempted=server.preempted),
            extra_fields={
                **steps,
                **server.extra_fields,
                "turn_scores": [],
                "tool_rewards": [],
                "reward_extra_info": reward_extra_info(rollout, self._worker.terms),
                REPORT: {"sample": _sample(rollout), "episode": episode, "error": rollout.error},
            },
        )


class _Server:
    """Asks verl's inference server for the messages of one rollout.

    Attributes:
        seconds: How long it was waited for.
        preempted: How often it set the rollout back; -1 if it does not say.
        logprobs: Whether it was asked for log-probabilities.
        extra_fields: What it said beside the messages.
    """

    def __init__(self, manager: Any, worker: Worker, sampling: Mapping[str, Any], backend: str) -> None:
        self.seconds = 0.0
        self.preempted = -1
        self.logprobs = bool(sampling.get("logprobs"))
        self.extra_fields: dict[str, Any] = {}
        self._manager = manager
        bias = {str(token) if backend == "sglang" else token: _UNREACHABLE for token in sorted(worker.vision)}
        self._sampling = {**sampling, "logit_bias": bias}
        self._request = uuid4().hex
        self._pictures: list[PILImage.Image] = []

    async def generate(self, ids: list[int], images: Sequence[ImageRef], room: int) -> PolicyTokens:
        """Return the next message."""
        began = time.perf_counter()
        output = await self._manager.generate(
            request_id=self._request,
            prompt_ids=ids,
            sampling_params={**self._sampling, "max_tokens": room},
            image_data=self.pictures(len(images)) or None,
        )
        self.seconds += time.perf_counter() - began
        if output.num_preempted is not None:
            self.preempted = max(self.preempted, 0) + output.num_preempted
        first = self.extra_fields.get("min_global_steps")
        self.extra_fields |= output.extra_fields
        if first is not None:
            self.extra_fields["min_global_steps"] = first
        written = tuple(output.token_ids[:room])
        return PolicyTokens(written, tuple(output.log_probs[:room]) if output.log_probs else (), (1,) * len(written))

    def show(self, images: Sequence[ImageRef]) -> None:
        """Make further images of the conversation ready."""
        self._pictures += [to_pil(each.pixels()) for each in images]

    def pictures(self, count: int) -> list[PILImage.Image]:
        """Return the first images of the conversation, as servers and processors take them."""
        return self._pictures[:count]


def _version(row: Mapping[str, Any]) -> int:
    """Return the version of the weights that a row of this step is played with."""
    return max(0, int(row.get("global_steps") or 1) - 1)


def _sample(rollout: PlayedRollout) -> str:
    return rollout.trajectory.sample.id if rollout.trajectory is not None else ""
