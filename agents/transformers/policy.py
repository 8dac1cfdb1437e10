"""VisionPolicy: a local model directory, ready for generation and training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepeyes_env.agents.families import local_families, read_model_file
from deepeyes_env.agents.transformers.architecture import architecture_of
from deepeyes_env.agents.transformers.attention import Attention
from deepeyes_env.agents.transformers.chat import Chat, load_tokenizer
from deepeyes_env.agents.transformers.language import forward
from deepeyes_env.agents.transformers.pixels import patches
from deepeyes_env.agents.transformers.positions import rotary_positions
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.checksums import verify_checksums
from deepeyes_env.core import FinishReason, PolicyTokens
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.images.frames import Size
from deepeyes_env.images.ref import ImageRef

PROCESSOR_FILES = (
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "chat_template.json",
)
"""Files of a model directory that are not used here, and that servers want beside trained weights."""

FROM_FILES: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""How transformers reads a directory: nothing is fetched, and no code in it is run or asked for at a prompt."""

ANY = ("any",)
"""For ``check_directory``: a model of whatever kind."""

_FORBIDDEN = -1e9


class VisionPolicy:
    """A model of a family that is run here (``agents.families``), with its tokenizer and chat template.

    Logits of special tokens and of the image token are masked wherever logits are computed, so that sampling and
    training use one and the same distribution: a policy cannot write ``<|image_pad|>``.

    Attributes:
        model: transformers' model, weights in ``float32``.
        architecture: How models of its family are run.
        tokenizer: Its tokenizer.
        chat: Conversations as token ids.
        device: Where the weights are.
        dtype: What is computed in: weights stay in ``float32``, matrices are multiplied in this.
        stops: Ids of the tokens that end a message.
        context: Length of the model's context in tokens.
        axes: The axis (time, row, column) along which each pair of channels turns.
    """

    def __init__(self, model: Any, tokenizer: Any, dtype: torch.dtype = torch.float32) -> None:
        vision = model.config.vision_config
        self.model = model
        self.architecture = architecture_of(model.config.model_type)
        self.tokenizer = tokenizer
        self.dtype = dtype
        self.device: torch.device = model.device
        self.image_token: int = model.config.image_token_id
        self._patch, self._merge = vision.patch_size, vision.spatial_merge_size
        self.factor: int = self._patch * self._merge
        sections = model.config.text_config.rope_parameters["mrope_section"]
        self.axes: tuple[int, ...] = tuple(self.architecture.rotary_axes(sections))
        self.chat = Chat(tokenizer, self.image_token, self.factor)
        self.context: int = model.config.text_config.max_position_embeddings
        self.stops = frozenset({self.chat.end_of_turn, *_stop_ids(model)})
        banned = torch.zeros(model.config.text_config.vocab_size, device=self.device)
        banned[[token for token in _special_ids(model, tokenizer) if token not in self.stops]] = _FORBIDDEN
        banned[len(tokenizer) :] = _FORBIDDEN  # rows of the embedding that no token has
        self._banned = banned
        self._processor: dict[str, bytes] = {}

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> VisionPolicy:
        """Load a model directory; of the code and the pickles that it may hold, nothing is executed.

        Raises:
            UsageError: There is no such directory, it lacks a file, or holds a model of another kind; or the device is
                not there.
            DataError: A file of it is damaged.
        """
        architecture = architecture_of(check_directory(Path(path)))
        verify_checksums(Path(path))
        check_device(device, "device")
        try:
            model: Any = architecture.model_class.from_pretrained(
                path, dtype=torch.float32, use_safetensors=True, **FROM_FILES
            )
            tokenizer = load_tokenizer(Path(path))
        except Exception as error:  # whatever transformers and safetensors raise for a damaged file
            raise DataError(
                f"model folder {str(path)!r} cannot be loaded ({type(error).__name__}: {error}); download it again"
            ) from error
        policy = cls(model.to(device).eval(), tokenizer, dtype)
        files = (Path(path) / name for name in PROCESSOR_FILES)
        policy._processor = {file.name: file.read_bytes() for file in files if file.is_file()}
        return policy

    def save(self, path: str | Path, weights: Mapping[str, torch.Tensor] | None = None) -> None:
        """Write model, tokenizer and chat template to a directory that transformers loads.

        Settings of the image processor come along where the directory that was loaded had some.

        Args:
            path: The directory.
            weights: What to write in place of the model's own weights, by their names.
        """
        self.model.save_pretrained(path, state_dict=weights)
        self.tokenizer.save_pretrained(path)
        for name, data in self._processor.items():
            (Path(path) / name).write_bytes(data)

    def finish_reason(self, completion: PolicyTokens) -> FinishReason:
        """Return why a message that the policy wrote ended: by a token that ends messages, or cut."""
        return "stop" if completion.ids and completion.ids[-1] in self.stops else "length"

    def grid(self, image: ImageRef) -> Size:
        """Return ``(columns, rows)`` of the image tokens of an image."""
        width, height = image.size
        return (width // self.factor, height // self.factor)

    def image_features(self, images: Sequence[ImageRef]) -> list[torch.Tensor]:
        """Run the vision tower over images; returns ``(tokens, 1 + deep levels, hidden size)`` for each.

        Raises:
            UsageError: The sides of an image are not multiples of ``factor``.
        """
        if not images:
            return []
        grids = [self.grid(image) for image in images]
        pixels, made = [image.pixels() for image in images], self.architecture
        cut = patches(pixels, self._patch, self._merge, self.device, mean=made.mean, std=made.std)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            features = made.encode_images(self.model.model.visual, cut, grids)
        return list(features.split([columns * rows for columns, rows in grids]))

    def positions(self, tokens: TokenSequence, start: int = 0) -> tuple[np.ndarray, int]:
        """Return the rotary positions ``(3, L)`` of a sequence, and the next free position."""
        return rotary_positions(tokens.ids, [self.grid(image) for image in tokens.images], self.image_token, start)

    def cut(self, tokens: TokenSequence, position: int) -> tuple[TokenSequence, TokenSequence]:
        """Return the tokens before a position of a sequence, and those from it on; each with their images."""
        shown, left = 0, int((tokens.ids[:position] == self.image_token).sum())
        while left > 0:
            columns, rows = self.grid(tokens.images[shown])
            shown, left = shown + 1, left - columns * rows
        head = TokenSequence(
            tokens.ids[:position], tokens.mask[:position], tokens.logprobs[:position], tokens.images[:shown]
        )
        return head, TokenSequence(
            tokens.ids[position:], tokens.mask[position:], tokens.logprobs[position:], tokens.images[shown:]
        )

    def hidden(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        attention: Attention,
        features: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """Run the language model.

        Args:
            ids: ``(*positions)`` token ids.
            positions: ``(3, *positions)`` rotary positions.
            attention: Which tokens attend to which, and at which of them hidden states are output.
            features: What ``image_features`` gave for the images in ``ids``, in their order there.

        Returns:
            ``(*selected positions, hidden size)``.
        """
        text = self.model.model.language_model
        embedded = text.embed_tokens(ids).to(text.norm.weight.dtype)
        deep: list[torch.Tensor] = []
        if features:
            where = (ids == self.image_token).unsqueeze(-1)
            shown, *below = torch.cat(list(features)).to(embedded.dtype).unbind(1)
            deep = [torch.zeros_like(embedded).masked_scatter(where, level) for level in below]
            embedded = embedded.masked_scatter(where, shown)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return forward(text, embedded, positions, attention, self.axes, deep)

    def logits(self, hidden: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Return ``(..., vocabulary)`` ``float32`` logits at a temperature, with banned tokens out of reach."""
        return self.all_logits(hidden, temperature) + self._banned

    def all_logits(self, hidden: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Return ``(..., vocabulary)`` ``float32`` logits at a temperature, those of banned tokens included."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.model.lm_head(hidden)
        logits = logits.float()
        return logits if temperature == 1 else logits / temperature


def check_device(device: str, name: str) -> torch.device:
    """Return a device of torch that is here.

    Args:
        device: What it is called.
        name: What the setting is called that it was given by.

    Raises:
        UsageError: There is no such device here.
    """
    try:
        found = torch.device(device)
        torch.empty(1, device=found).tolist()  # which a device that holds no values refuses
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(f"{name}={device!r}: torch cannot use it here ({reason:.120}); use {name}=cpu") from error
    return found


def check_directory(path: Path, kinds: Collection[str] | None = None) -> str:
    """Check that a folder holds a model of a kind that can be run; returns its ``model_type``.

    Args:
        path: The folder.
        kinds: What its ``config.json`` may name as ``model_type``; by default the families that are run here. ``ANY``:
            whatever it names.

    Raises:
        UsageError: It does not; the message names what is missing.
        DataError: Its ``config.json`` is damaged.
    """
    if not path.is_dir():
        hub = len(path.parts) == 2 and not path.is_absolute()
        fetch = f"; if it is a name on the Hugging Face Hub: hf download {path} --local-dir {path}" if hub else ""
        raise UsageError(f"model {str(path)!r} is no folder; give the folder of a downloaded model{fetch}")
    if not (path / "config.json").is_file():
        raise UsageError(f"model folder {str(path)!r} has no config.json; give the folder of a downloaded model")
    kind = read_model_file(path / "config.json").get("model_type")
    known = local_families() if kinds is None else kinds
    if not isinstance(kind, str) or (kind not in known and kinds != ANY):
        raise UsageError(f"model folder {str(path)!r} holds a {kind!r} model; known kinds: {', '.join(known)}")
    return kind


def _special_ids(model: Any, tokenizer: Any) -> set[int]:
    config = model.config
    named = {config.image_token_id, config.video_token_id, config.vision_start_token_id, config.vision_end_token_id}
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return {number for number in named | special | set(tokenizer.all_special_ids) if number is not None}


def _stop_ids(model: Any) -> set[int]:
    stop = model.generation_config.eos_token_id
    return set(stop if isinstance(stop, list) else [stop]) - {None}
