"""plugin: makes the CPU platform and the rollout backend ``deepeyes_cpu`` known to verl.

verl imports this in each of its processes if ``VERL_USE_EXTERNAL_MODULES`` names it; it registers by being imported.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    import torch
    import verl.utils.distributed as verl_distributed
    from verl.plugin.platform.platform_manager import PlatformRegistry, set_platform
    from verl.workers.rollout.base import _ROLLOUT_REGISTRY
    from verl.workers.rollout.replica import RolloutReplicaRegistry

from deepeyes_env.trainers.verl.cpu.platform import CPUPlatform

ROLLOUT = "deepeyes_cpu"
"""What ``actor_rollout_ref.rollout.name`` calls the rollout backend."""


def _init_process_group(timeout_second: float | None = None, backend: str | None = None) -> None:
    """Begin torch's process group over gloo.

    verl asks for ``cpu:gloo`` and the device's own backend, and torch refuses a list that names the CPU twice.
    """
    if torch.distributed.is_initialized():
        return
    torch.distributed.init_process_group(
        backend="cpu:gloo",
        rank=int(os.environ.get("RANK", 0)),
        world_size=int(os.environ.get("WORLD_SIZE", 1)),
        timeout=None if timeout_second is None else timedelta(seconds=timeout_second),
        init_method=os.environ.get("DIST_INIT_METHOD"),
    )


def _load_replica() -> Any:
    from deepeyes_env.trainers.verl.cpu.rollout import CPUReplica

    return CPUReplica


PlatformRegistry.register(platform="cpu")(CPUPlatform)
set_platform(CPUPlatform())
verl_distributed.initialize_global_process_group_ray = _init_process_group
os.environ.setdefault("VERL_ENGINE_DEVICE", "cuda")  # verl registers its FSDP engine for CUDA; it does what a CPU needs
_ROLLOUT_REGISTRY[(ROLLOUT, "async")] = "deepeyes_env.trainers.verl.cpu.rollout.WeightSender"
RolloutReplicaRegistry.register(ROLLOUT, _load_replica)
