"""CPUPlatform: what verl asks of a device, answered by a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    import torch
    from verl.plugin.platform.platform_base import PlatformBase


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    """Do nothing: there is no device to be told."""


def _zero(*_args: Any, **_kwargs: Any) -> int:
    return 0


def _device_module() -> ModuleType:
    """Return ``torch.cpu`` with the functions that verl calls and that ``torch.cuda`` alone has."""
    module = ModuleType("deepeyes_verl_cpu")
    vars(module).update({name: value for name, value in vars(torch.cpu).items() if not name.startswith("__")})
    for name in ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"):
        setattr(module, name, _zero)
    for name in ("empty_cache", "synchronize", "set_device", "reset_peak_memory_stats", "manual_seed"):
        setattr(module, name, _nothing)
    added: dict[str, Any] = {
        "manual_seed_all": _nothing,
        "ipc_collect": _nothing,
        "mem_get_info": lambda *_: (2**33, 2**34),
        "is_available": lambda: False,
        "get_device_name": lambda *_: "CPU",
        "device_count": lambda: 1,
        "current_device": lambda: torch.device("cpu"),
        "get_rng_state": torch.get_rng_state,
        "set_rng_state": torch.set_rng_state,
    }
    vars(module).update(added)
    return module


class CPUPlatform(PlatformBase):
    """A CPU as verl's platform: one worker is one process, and what Ray counts as a GPU is a place for one."""

    device_name = "cpu"
    vendor_name = "generic"
    device_module = _device_module()

    def is_available(self) -> bool:
        """Return true: there is always a CPU."""
        return True

    def current_device(self) -> str:
        """Return the name of the only device."""
        return "cpu"

    def device_count(self) -> int:
        """Return the number of devices of a process."""
        return 1

    def set_device(self, device_index: int) -> None:
        """Do nothing: there is one device."""

    def synchronize(self, device_index: int | None = None) -> None:
        """Do nothing: a CPU computes at once."""

    def manual_seed(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """Do nothing: the allocator is the system's."""

    def empty_cache(self) -> None:
        """Do nothing: there is no cache of device memory."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        """Return that there is none."""
        return (None, None)

    def communication_backend_name(self) -> str:
        """Return what processes talk to each other by."""
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """Return the variable that Ray sets for a place; nobody reads it here."""
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        """Mark nothing."""
        yield

    def profiler_start(self) -> None:
        """Do nothing."""

    def profiler_stop(self) -> None:
        """Do nothing."""

    def ray_resource_name(self) -> str:
        """Return what Ray counts places for workers by."""
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        """Return no variables: none of Ray's is in the way."""
        return []

    def is_ipc_supported(self) -> bool:
        """Return false: there is no device memory to be shared."""
        return False

    def cudart(self) -> None:
        """Return that there is no CUDA runtime."""
        return
