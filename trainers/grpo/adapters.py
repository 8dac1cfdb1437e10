"""Adapters: training a part of the weights; LoRA on the language model (by peft), and a frozen vision tower.

Adapters are used as they are in rollouts and in the policy update alike. A checkpoint holds the model with the adapters
merged, which everything loads that loads models, and the adapters themselves in ``state.pt``, from which a run resumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.precision import cast_matrices
from deepeyes_env.extras import import_extra
from deepeyes_env.trainers.grpo.checkpoint import CheckpointMismatchError
from deepeyes_env.trainers.grpo.sections import WeightsSettings

_NAME = "default"
_MATRICES = r".*language_model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj"


class TrainedPart:
    """What is trained of a policy; the rest of its weights is frozen, in the type that is computed in.

    Args:
        policy: Is changed in place: adapters are put on its matrices.
        settings: What is trained.
        seed: Decides how adapters begin.

    Raises:
        MissingExtraError: There are to be adapters, and peft is not installed.
    """

    def __init__(self, policy: VisionPolicy, settings: WeightsSettings, seed: int) -> None:
        self._policy = policy
        self.has_adapters = settings.lora_rank > 0
        if settings.freeze_vision or self.has_adapters:
            policy.model.model.visual.requires_grad_(False)
        if self.has_adapters:
            peft = import_extra("peft", "lora")
            cast_matrices(policy)
            wanted = peft.LoraConfig(r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules=_MATRICES)
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                peft.inject_adapter_in_model(wanted, policy.model, adapter_name=_NAME)
            for adapter in policy.model.parameters():
                if adapter.requires_grad:  # made in the type of the matrix that it stands beside
                    adapter.data = adapter.data.float()
            policy.model.eval()

    def save(self, path: str | Path) -> None:
        """Write a directory that transformers loads: the policy's, with adapters merged."""
        self._policy.save(path, self._merged() if self.has_adapters else None)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs besides the merged model."""
        return {"adapters": dict(self._adapters())}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what ``state`` returned.

        Raises:
            CheckpointMismatchError: It was written with other adapters.
        """
        saved, mine = state.get("adapters", {}), self._adapters()
        if {name: each.shape for name, each in saved.items()} != {name: each.shape for name, each in mine.items()}:
            raise CheckpointMismatchError(
                "weights.lora_rank does not fit the checkpoint, which has other adapters; begin a new run"
            )
        for name, adapter in mine.items():
            adapter.copy_(saved[name])

    def _adapters(self) -> dict[str, torch.Tensor]:
        if not self.has_adapters:
            return {}
        return {name: each.detach() for name, each in self._policy.model.named_parameters() if each.requires_grad}

    @torch.no_grad()
    def _merged(self) -> dict[str, torch.Tensor]:
        """Return all weights by the names that they had without adapters."""
        model = self._policy.model
        merged = {
            name.replace(".base_layer.", "."): weight
            for name, weight in model.state_dict().items()
            if ".lora_" not in name
        }
        for name, module in model.named_modules():
            if hasattr(module, "get_delta_weight"):
                weight = module.get_base_layer().weight
                merged[f"{name}.weight"] = (weight + module.get_delta_weight(_NAME)).to(weight.dtype).cpu()
        return merged
