"""A batch of rollouts to model-ready pixels in three ways: raw library calls, the environment, the naive pipeline."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
from PIL import Image

import deepeyes_env  # noqa: F401 - registers the environments
from deepeyes_env import ImageStore, Sample, ViewBudget

Boxes = list[tuple[int, int, int, int]]
ROLLOUTS, ZOOMS = 16, 2


def random_boxes(size: tuple[int, int], n: int, seed: int) -> Boxes:
    """Boxes of 1 to 30 % of the image's area."""
    rng = np.random.default_rng(seed)
    boxes = []
    for _ in range(n):
        side = float(np.sqrt(rng.uniform(0.01, 0.30)))
        w, h = int(size[0] * side), int(size[1] * side)
        x, y = int(rng.integers(0, size[0] - w)), int(rng.integers(0, size[1] - h))
        boxes.append((x, y, x + w, y + h))
    return boxes


def floor(encoded: Sequence[bytes], boxes: Sequence[Boxes], budget: ViewBudget) -> int:
    """Decode once with simplejpeg, resize the view and every crop with torch, keep them as one batch: nothing else."""
    import simplejpeg
    import torch

    def resize(pixels: np.ndarray) -> np.ndarray:
        width, height = budget.fit((pixels.shape[1], pixels.shape[0]))
        tensor = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)  # channels last, the faster layout
        out = torch.nn.functional.interpolate(tensor, size=(height, width), mode="bicubic", antialias=True)
        return np.ascontiguousarray(out[0].permute(1, 2, 0).numpy())

    views = []
    for data, crops in zip(encoded, boxes, strict=True):
        image = simplejpeg.decode_jpeg(data)
        views.append(resize(image))
        views += [resize(image[y1:y2, x1:x2]) for x1, y1, x2, y2 in crops]
    return sum(view.nbytes for view in views)


class EnvironmentBatch:
    """The same through ``gym.make_vec``: a group of rollouts for each prompt, two zooms in each.

    The environments are made once, as a trainer does; every call plays new prompts, whose images nobody has decoded.
    """

    def __init__(self, encoded: Sequence[bytes], boxes: Sequence[Boxes], budget: ViewBudget) -> None:
        self.encoded, self.boxes, self.calls = encoded, boxes, 0
        self.envs = gym.make_vec(
            "VisualToolbox-v2",
            num_envs=len(encoded) * ROLLOUTS,
            vectorization_mode="vector_entry_point",
            group_size=ROLLOUTS,
            num_threads=1,
            store=ImageStore(max_bytes=2**28),
            view=budget,
            resize="fast",
            frame="native",
            rubric=None,
        )

    def __call__(self) -> int:
        """Play a batch; returns the bytes of all observations."""
        self.calls += 1
        unseen = bytes(self.calls)  # zeros after the end of a JPEG change its hash and nothing else
        samples = [Sample(f"p{n}", "What?", "a", data + unseen) for n, data in enumerate(self.encoded)]
        rollouts = range(self.envs.num_envs)
        obs, _ = self.envs.reset(seed=0, options={"sample": [samples[n // ROLLOUTS] for n in rollouts]})
        kept = [images[0] for images in obs["images"][::ROLLOUTS]]
        for zoom in range(ZOOMS):
            actions = [zoom_text(self.boxes[n // ROLLOUTS][n % ROLLOUTS * ZOOMS + zoom]) for n in rollouts]
            obs, *_ = self.envs.step(actions)
            kept += [images[0] for images in obs["images"]]
        return sum(image.nbytes for image in kept)


def naive(encoded: Sequence[bytes], boxes: Sequence[Boxes], budget: ViewBudget, rollouts: int) -> int:
    """Decode for each rollout, PNG round trip for each crop, Hugging Face's slow processor for each image."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": budget.min_pixels, "longest_edge": budget.max_pixels})
    total = 0
    for data, crops in zip(encoded, boxes, strict=True):
        for rollout in range(rollouts):
            image = Image.open(io.BytesIO(data)).convert("RGB")
            total += processor(image, return_tensors="np")["pixel_values"].nbytes
            for box in crops[rollout * ZOOMS : (rollout + 1) * ZOOMS]:
                buffer = io.BytesIO()
                image.crop(box).save(buffer, "PNG")
                crop = Image.open(buffer).convert("RGB")
                total += processor(crop, return_tensors="np")["pixel_values"].nbytes
    return total


def zoom_text(box: Sequence[float]) -> str:
    """An assistant message that zooms."""
    call = json.dumps({"name": "image_zoom_in_tool", "arguments": {"bbox_2d": list(box)}})
    return f"<think>Look closer.</think>\n<tool_call>\n{call}\n</tool_call>"
