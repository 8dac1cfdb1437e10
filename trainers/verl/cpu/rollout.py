"""The rollout backend ``deepeyes_cpu``: our own generator behind the interface of verl's inference servers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    import ray
    import torch
    from verl.workers.rollout.base import BaseRollout
    from verl.workers.rollout.replica import RolloutReplica, TokenOutput

from deepeyes_env.trainers.verl.cpu.decoder import Completion, Decoder, Request

GATHER = 0.01
"""Seconds that a decode batch waits for further requests after its first one."""


def server_name(rank: int) -> str:
    """Return the name of a replica's server among Ray's actors."""
    return f"deepeyes_cpu_server_{rank}"


class CPUServer:
    """An inference server: requests that arrive while a decode batch runs go together into the next one.

    Args:
        path: A model directory.
        seed: Decides what is sampled, with the number of the request.
    """

    def __init__(self, path: str, seed: int) -> None:
        torch.set_num_threads(1)
        self._decoder = Decoder.load(path, seed)
        self._waiting: list[tuple[Request, asyncio.Future[Completion]]] = []
        self._decoding: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._steps = 0

    async def ping(self) -> bool:
        """Answer, once the model is loaded."""
        return True

    async def generate(
        self,
        request_id: str,
        prompt_ids: Sequence[int],
        sampling_params: Mapping[str, Any],
        image_data: Sequence[Any] | None = None,
        **_kwargs: Any,
    ) -> TokenOutput:
        """Generate one message."""
        request = Request.of(prompt_ids, sampling_params, image_data or ())
        done: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, done))
        if self._decoding is None or self._decoding.done():
            self._decoding = asyncio.create_task(self._decode_all())
        completion = await done
        return TokenOutput(
            token_ids=list(completion.ids),
            log_probs=list(completion.logprobs),
            stop_reason="completed",
            extra_fields={"global_steps": self._steps},
        )

    async def update_weights(self, named: Mapping[str, torch.Tensor], global_steps: int | None = None) -> int:
        """Take over weights; returns how many tensors were known."""
        async with self._lock:
            known = self._decoder.update(named)
            self._steps = self._steps if global_steps is None else global_steps
        return known

    async def _decode_all(self) -> None:
        """Decode what waits, batch by batch, until nothing does."""
        await asyncio.sleep(GATHER)
        while self._waiting:
            async with self._lock:
                batch, self._waiting = self._waiting, []
                try:
                    completions = await asyncio.to_thread(self._decoder.decode, [request for request, _ in batch])
                except Exception as error:
                    for _, done in batch:
                        done.set_exception(error)
                    continue
                for (_, done), completion in zip(batch, completions, strict=True):
                    done.set_result(completion)
            await asyncio.sleep(GATHER)

    # --- what a server on a GPU does between steps; here there is nothing to be freed -----------------------------

    async def wake_up(self) -> None:
        """Do nothing."""

    async def sleep(self) -> None:
        """Do nothing."""

    async def abort_all_requests(self, reject_request: bool = False) -> None:
        """Do nothing: a decode batch ends by itself."""

    async def resume_generation(self) -> None:
        """Do nothing."""

    async def clear_kv_cache(self) -> None:
        """Do nothing: no cache outlives a decode batch."""

    async def release_kv_cache(self) -> None:
        """Do nothing."""

    async def resume_kv_cache(self) -> None:
        """Do nothing."""

    async def start_profile(self, **_kwargs: Any) -> None:
        """Do nothing."""

    async def stop_profile(self) -> None:
        """Do nothing."""


class CPUReplica(RolloutReplica):
    """One server with a copy of the model."""

    async def launch_servers(self) -> None:
        """Start the server and wait until it answers."""
        actor: Any = ray.remote(num_cpus=0)(CPUServer)
        path = os.path.expanduser(self.model_config.path)  # noqa: PTH111  # text is what the model is loaded by
        server = actor.options(name=server_name(self.replica_rank)).remote(path, self.config.seed + self.replica_rank)
        await server.ping.remote()
        self.servers = [server]
        self._server_handle = server
        self._server_address = server_name(self.replica_rank)


class WeightSender(BaseRollout):
    """Sends the trained weights to the server."""

    is_leader_rank = True

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, *_args: Any, **_kwargs: Any) -> None:
        super().__init__(config, model_config, device_mesh)
        self.replica_rank = int(os.environ.get("RANK", 0))

    async def resume(self, tags: Sequence[str]) -> None:
        """Do nothing: the server keeps its memory."""

    async def release(self) -> None:
        """Do nothing."""

    async def update_weights(
        self,
        weights: Iterable[tuple[str, torch.Tensor]],
        wire_format: str = "named_tensors",
        global_steps: int | None = None,
        **_kwargs: Any,
    ) -> None:
        """Send all weights."""
        named = {name: _whole(tensor).detach().cpu().clone() for name, tensor in weights}
        await ray.get_actor(server_name(self.replica_rank)).update_weights.remote(named, global_steps=global_steps)


def _whole(tensor: Any) -> torch.Tensor:
    """Return a tensor that may be spread over the processes of FSDP."""
    whole: torch.Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole
