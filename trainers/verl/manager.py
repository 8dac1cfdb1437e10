"""ReplacingLoopManager: verl's manager of agent loop workers, which replaces one whose process is killed.

verl 0.9 starts a worker once, and waits without end for the prompts that a killed one was playing. Here Ray starts it
again, and what it had not finished is played anew (``actor_rollout_ref.rollout.agent.agent_loop_manager_class``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    import ray
    import transfer_queue
    from ray.exceptions import RayError
    from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ
    from verl.utils.tensordict_utils import index_select_tensor_dict

LOOK_EVERY = 1.0
"""Seconds between looks at the workers."""

logger = logging.getLogger(__name__)


class ReplacingLoopManager(AgentLoopManagerTQ):
    """Sees to it that a step ends though a worker's process does.

    Attributes:
        replaced: How many workers have been replaced.

    Args:
        *args: verl's.
        **kwargs: verl's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = _RestartedWorker
        self.replaced = 0
        self._given: list[list[Any]] = []
        self._known: dict[int, str] = {}
        self._asked: dict[int, Any] = {}
        self._lock = threading.Lock()

    async def _init_agent_loop_workers(self) -> None:
        await super()._init_agent_loop_workers()
        self._given = [[] for _ in self.agent_loop_workers]
        names = [worker.__ray_call__.remote(_process_name) for worker in self.agent_loop_workers]
        self._known = dict(enumerate([await name for name in names]))
        threading.Thread(target=self._watch, name="deepeyes-verl-workers", daemon=True).start()

    def generate_sequences(self, prompts: Any) -> None:
        """Hand prompts out among the workers, without waiting for what they play.

        Args:
            prompts: A batch of rows.
        """
        chunks = prompts.chunk(len(self.agent_loop_workers))
        with self._lock:
            for given, chunk in zip(self._given, chunks, strict=False):
                given[:] = [each for each in given if _unfinished(each)]
                given.append(chunk)
        workers = zip(self.agent_loop_workers, chunks, strict=False)
        ray.get([worker.generate_sequences.remote(chunk) for worker, chunk in workers])

    def _watch(self) -> None:
        while not threading.Event().wait(LOOK_EVERY):
            try:
                self.look()
            except Exception:
                if not ray.is_initialized():
                    return
                logger.exception("the agent loop workers could not be looked at")

    def look(self) -> None:
        """Find workers that run in another process than before, and have them play again what they had not finished."""
        for number, worker in enumerate(self.agent_loop_workers):
            if number not in self._asked:
                self._asked[number] = worker.__ray_call__.remote(_process_name)
        answered, _ = ray.wait(list(self._asked.values()), num_returns=len(self._asked), timeout=LOOK_EVERY)
        for number, asked in list(self._asked.items()):
            if asked not in answered:
                continue
            del self._asked[number]
            try:
                name = ray.get(asked)
            except RayError:  # it is being started
                continue
            if name != self._known[number]:
                self._known[number] = name
                self._play_again(number)

    def _play_again(self, number: int) -> None:
        with self._lock:
            given = list(self._given[number])
        left = [(chunk, uids) for chunk in given if (uids := _unfinished(chunk))]
        self.replaced += 1
        logger.warning(
            "agent loop worker %d was replaced; %d prompts are played again", number, sum(len(uids) for _, uids in left)
        )
        for chunk, uids in left:
            _forget_rollouts(chunk, uids)
            again = index_select_tensor_dict(chunk, [place for place, uid in enumerate(_uids(chunk)) if uid in uids])
            ray.get(self.agent_loop_workers[number].generate_sequences.remote(again))


class _RestartedWorker:
    """verl's worker, started again where its process ends."""

    @staticmethod
    def options(**given: Any) -> Any:
        """Return its class with Ray's options."""
        return AgentLoopWorkerTQ.options(max_restarts=-1, max_task_retries=-1, **given)


def _process_name(worker: Any) -> str:
    """Return a name that a worker has as long as its process lives."""
    name: str = vars(worker).setdefault("deepeyes_process", uuid4().hex)
    return name


def _partition(chunk: Any) -> str:
    return "val" if "validate" in chunk and bool(chunk["validate"]) else "train"


def _uids(chunk: Any) -> list[str]:
    return [str(uid) for uid in chunk["uid"]]


def _entries(chunk: Any) -> dict[str, Any]:
    """Return the tags of what verl keeps in the partition of some prompts, by their keys."""
    partition = _partition(chunk)
    return dict((transfer_queue.kv_list(partition) or {}).get(partition, {}))


def _unfinished(chunk: Any) -> set[str]:
    """Return which prompts are still being played."""
    entries = _entries(chunk)
    return {uid for uid in _uids(chunk) if entries.get(uid, {}).get("status") in ("pending", "running")}


def _forget_rollouts(chunk: Any, uids: Iterable[str]) -> None:
    """Take out what rollouts of some prompts have come to, lest they count twice."""
    wanted = set(uids)
    keys = [key for key, tag in _entries(chunk).items() if not tag.get("is_prompt") and key.split("_", 1)[0] in wanted]
    if keys:
        transfer_queue.kv_clear(keys=keys, partition_id=_partition(chunk))
