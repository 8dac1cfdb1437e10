"""mends: two faults of verl 0.9.1 that a batch with failed rollouts comes upon, mended as ``register`` is imported.

verl keeps four rows of positions for each rollout of a vision model. They are ragged in their tokens; but where all
rollouts are of one length torch lays them out as ragged in their rows, and verl, which then names the tokens' dimension
without a look, stops (its issue 7899). All rollouts that failed before they began are of one length.

Where no rollout of a micro-batch has an image it shows a blank one to the vision tower of Qwen2-VL and Qwen2.5-VL, and
takes what comes back for a tensor. It is an object since transformers 5.
"""

from __future__ import annotations

from typing import Any

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    import torch
    from verl.models.transformers import qwen2_vl
    from verl.utils import tensordict_utils
    from verl.utils.transformers_compat import unpack_visual_output
    from verl.workers import engine_workers
    from verl.workers.engine import base as engine_base

ROWS = 4
"""Rows of positions of a rollout: one for text, three for images."""

_TOKENS = 2
_BLANK = (1, 4, 4)
"""Patches of a blank image, in time, height and width."""

_embed = qwen2_vl._get_input_embeds


def name_tokens_ragged(batch: Any) -> None:
    """See to it that the positions of a batch are ragged in their tokens; in verl ``maybe_fix_3d_position_ids``.

    Args:
        batch: A batch of verl.
    """
    positions = batch["position_ids"] if "position_ids" in batch else None  # noqa: SIM401  # it has no such `get`
    if positions is None or not positions.is_nested or positions.dim() != 1 + _TOKENS:
        return
    values, end = positions.values(), int(positions.offsets()[-1])
    if tuple(values.shape) == (ROWS, end):
        positions._ragged_idx = _TOKENS  # lost on the way between processes
    else:
        batch["position_ids"] = tensordict_utils.nested_tensor_from_tensor_list(
            list(values.split(ROWS)), ragged_idx=_TOKENS
        )


def embed(
    model: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    pixel_values: torch.Tensor | None = None,
    pixel_values_videos: torch.Tensor | None = None,
    *grids: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return a micro-batch's embeddings and its attention mask; in verl ``qwen2_vl._get_input_embeds``.

    The vision tower works in any case, so that all processes of FSDP do the same.

    Args:
        model: The model.
        input_ids: Tokens.
        attention_mask: Its mask.
        pixel_values: Patches of images.
        pixel_values_videos: Patches of videos.
        *grids: The sizes of both.
    """
    if pixel_values is not None or pixel_values_videos is not None:
        whole: tuple[torch.Tensor, torch.Tensor | None] = _embed(
            model, input_ids, attention_mask, pixel_values, pixel_values_videos, *grids
        )
        return whole
    embeds, vision = model.get_input_embeddings()(input_ids), model.config.vision_config
    size = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    blank = embeds.new_zeros((_BLANK[1] * _BLANK[2], size))
    shown, _ = unpack_visual_output(model.visual(blank, grid_thw=torch.tensor([_BLANK], device=embeds.device)))
    return embeds + 0.0 * shown.mean(), None if attention_mask is None else attention_mask.to(embeds.device)


def mend_verl() -> None:
    """Have verl use these functions in place of its own."""
    for module in (tensordict_utils, engine_base, engine_workers):
        module.maybe_fix_3d_position_ids = name_tokens_ragged
    qwen2_vl._get_input_embeds = embed
