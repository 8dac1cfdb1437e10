"""memory: the most that a run inside verl takes of a GPU and of a machine, before one is taken.

The arithmetic is for verl's FSDP engine as our command sets it up: float32 weights and AdamW in equal parts on all
GPUs, activations in bfloat16 with gradient checkpointing, log-probabilities taken from the hidden states a chunk at a
time (``use_fused_kernels``), an inference server that gives its memory back during updates. All is for the longest
episodes that the settings allow, every image as large as they allow.
"""

from __future__ import annotations

from dataclasses import dataclass

from deepeyes_env.errors import UsageError
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.trainers.verl.config import VerlConfig
from deepeyes_env.trainers.verl.shape import ModelShape

GIB = 2**30

CHUNK = 512
"""Positions whose logits verl's fused kernel holds at a time."""

PIXEL_BYTES = 24
"""Bytes that a processor makes of a pixel: three colours, twice for the two frames of a patch, in float32."""

PATCHES = 4
"""Patches of the vision tower behind an image token."""

COPIES = 2
"""How often a step's images are held: where verl stores its rollouts, and on their way to the actors."""

CUDA = 3 * GIB
"""What CUDA, NCCL and the allocator take beside the tensors."""

SYSTEM = 16 * GIB
"""What the operating system, Ray and the processes themselves take of a machine."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one stage takes.

    Attributes:
        name: The stage, and of what.
        parts: Bytes by what takes them.
        limit: Bytes that are there.
        remedies: Settings that lower it.
    """

    name: str
    parts: dict[str, int]
    limit: int
    remedies: str

    @property
    def total(self) -> int:
        """The bytes of all parts."""
        return sum(self.parts.values())

    def text(self) -> str:
        """Return it in one line."""
        parts = ", ".join(f"{name} {each / GIB:.1f}" for name, each in self.parts.items() if each)
        return f"{self.name}: {self.total / GIB:.1f} of {self.limit / GIB:.0f} GiB ({parts})"

    def check(self) -> None:
        """Raise ``UsageError`` if there is not that much."""
        if self.total > self.limit:
            raise UsageError(f"{self.text()}: does not fit; change {self.remedies}")


@dataclass(frozen=True, slots=True)
class Worst:
    """The largest episode that the settings allow.

    Attributes:
        view: Sizes in which images of a data file are shown.
        images: The most images of it.
        image_tokens: The most tokens of an image.
        vision_tokens: The most tokens of all its images.
        pixel_bytes: The most bytes of its images as the model's processor makes them.
    """

    view: ViewBudget
    images: int
    image_tokens: int
    vision_tokens: int
    pixel_bytes: int


def worst_episode(config: VerlConfig, view: ViewBudget) -> Worst:
    """Return the largest episode that the settings allow.

    An image is no larger than the view allows, and there are no more than ``max_images``; nor can images have more
    tokens than the episode: what would not fit is left out whole.
    """
    each = view.max_pixels // view.factor**2
    images = min(config.settings.max_images, max(1, config.context // each))
    tokens = min(config.settings.max_images * each, config.context)
    return Worst(view, images, each, tokens, tokens * view.factor**2 * PIXEL_BYTES)


def needs(config: VerlConfig, shape: ModelShape, worst: Worst) -> tuple[Need, ...]:
    """Return what each stage takes, on a GPU and on a machine."""
    return (_update(config, shape, worst), _rollout(config, shape), _machine(config, shape, worst))


def _states(config: VerlConfig, shape: ModelShape, bytes_each: int) -> int:
    models = 2 if config.algorithm == "ppo" else 1
    return models * bytes_each * shape.parameters


def _update(config: VerlConfig, shape: ModelShape, worst: Worst) -> Need:
    """Return what an update takes: a micro-batch may be images all over."""
    tokens = config.tokens_per_gpu
    together = tokens * config.sequence_parallel  # each GPU sees all images of what it shares with others
    patches = PATCHES * together
    wide = 8 * shape.hidden + 4 * shape.inner
    vision_wide = 8 * shape.vision_hidden + 4 * shape.vision_inner
    models = 1 if config.offload else 2 if config.algorithm == "ppo" else 1
    parts = {
        "weights, gradients, AdamW": models * 16 * shape.parameters // (config.nodes * config.gpus),
        "gathered weights": 2 * (shape.outer_parameters + 2 * shape.layer_parameters),
        "layers' inputs": 2 * tokens * shape.hidden * shape.layers,
        "one layer": 2 * 2 * tokens * wide,
        "vision layers' inputs": 2 * patches * shape.vision_hidden * shape.vision_layers,
        "one vision layer": 2 * 2 * patches * vision_wide,
        "pixels": together * worst.view.factor**2 * PIXEL_BYTES,
        "logits": 3 * 4 * CHUNK * shape.vocabulary,
        "CUDA": CUDA,
    }
    remedies = "sequence_parallel, response_tokens, loop.max_pixels, loop.max_images, nodes or gpus"
    return Need("update, each GPU", parts, int(config.gpu_memory * GIB), remedies)


def _rollout(config: VerlConfig, shape: ModelShape) -> Need:
    share = int(config.engine_memory * config.gpu_memory * GIB)
    kept = 0 if config.offload else _states(config, shape, 12) // (config.nodes * config.gpus)
    parts = {"server": share, "trainer's weights and AdamW": kept, "CUDA": CUDA}
    return Need("rollouts, each GPU", parts, int(config.gpu_memory * GIB), "engine_memory, or offload=true")


def _machine(config: VerlConfig, shape: ModelShape, worst: Worst) -> Need:
    rollouts = config.prompts * config.group_size
    kept = _states(config, shape, 12) if config.offload else 0
    parts = {
        "images of a step's rollouts": COPIES * rollouts * worst.pixel_bytes // config.nodes,
        "decoded images": -(-config.workers // config.nodes) * config.settings.image_memory * 2**20,
        "offloaded weights and AdamW": kept // config.nodes,
        "system": SYSTEM,
    }
    remedies = "loop.max_pixels, loop.max_images, prompts, group_size, workers, loop.image_memory or nodes"
    return Need("memory, each machine", parts, int(config.node_memory * GIB), remedies)


def server_room(config: VerlConfig, shape: ModelShape) -> float:
    """Return how many of the longest episodes a server holds at once.

    Raises:
        UsageError: Not one.
    """
    share = config.tensor_parallel * config.engine_memory * config.gpu_memory * GIB
    free = share - 2 * shape.parameters
    episode = config.context * 2 * 2 * shape.key_values * shape.layers
    if free < episode:
        raise UsageError(
            f"an inference server of {share / GIB:.1f} GiB has {2 * shape.parameters / GIB:.1f} GiB of weights, not "
            f"one episode of {config.context} tokens ({episode / GIB:.1f} GiB): raise tensor_parallel or engine_memory"
        )
    return free / episode
