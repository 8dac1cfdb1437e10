"""ModelShape: how large a model is, from the files of its folder; no weight is read."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepeyes_env.agents.families import read_model_file
from deepeyes_env.errors import DataError, UsageError

_LONGEST_HEADER = 100 << 20


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What a model's memory follows from.

    Attributes:
        parameters: Number of weights.
        layers: Number of decoder layers.
        hidden: Width of a decoder layer.
        inner: Width of its feed-forward part.
        key_values: Width of its keys, and of its values: key-value heads times their width.
        vocabulary: Number of tokens in the vocabulary.
        context: Length of the context in tokens.
        vision_layers: Number of layers of the vision tower.
        vision_hidden: Width of such a layer.
        vision_inner: Width of its feed-forward part.
    """

    parameters: int
    layers: int
    hidden: int
    inner: int
    key_values: int
    vocabulary: int
    context: int
    vision_layers: int = 0
    vision_hidden: int = 0
    vision_inner: int = 0

    @classmethod
    def of(cls, folder: Path) -> ModelShape:
        """Read it from a model's folder: ``config.json``, and the headers of the weights.

        Raises:
            UsageError: There are no ``.safetensors`` files.
            DataError: A file is damaged or lacks a size.
        """
        config = read_model_file(folder / "config.json")
        text, vision = config.get("text_config") or config, config.get("vision_config") or {}

        def size(name: str) -> int:
            value = text.get(name, config.get(name))
            if not isinstance(value, int):
                raise DataError(f"{folder / 'config.json'}: has no {name}; download the model again")
            return value

        heads = size("num_attention_heads")
        width = text.get("head_dim") or size("hidden_size") // heads
        return cls(
            parameters=count_parameters(folder),
            layers=size("num_hidden_layers"),
            hidden=size("hidden_size"),
            inner=size("intermediate_size"),
            key_values=int(text.get("num_key_value_heads") or heads) * int(width),
            vocabulary=size("vocab_size"),
            context=size("max_position_embeddings"),
            vision_layers=int(vision.get("depth") or 0),
            vision_hidden=int(vision.get("hidden_size") or 0),
            vision_inner=int(vision.get("intermediate_size") or 0),
        )

    @property
    def layer_parameters(self) -> int:
        """Weights of one decoder layer, near enough: attention and the three matrices of the feed-forward part."""
        return 2 * self.hidden * (self.hidden + self.key_values) + 3 * self.hidden * self.inner

    @property
    def outer_parameters(self) -> int:
        """Weights of the embedding and of the output head."""
        return 2 * self.vocabulary * self.hidden


def count_parameters(folder: Path) -> int:
    """Count the weights of a model by the headers of its ``.safetensors`` files.

    Raises:
        UsageError: There are no such files.
        DataError: One is damaged.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UsageError(f"model folder {str(folder)!r} has no .safetensors files; download the model's weights")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = set(read_model_file(index).get("weight_map", {}).values())
        missing = sorted(named - {file.name for file in files})
        if missing:
            raise DataError(f"model folder {str(folder)!r} lacks {', '.join(missing[:3])}; download the model again")
        files = [folder / name for name in sorted(named)]
    return sum(math.prod(tensor["shape"]) for file in files for tensor in _tensors(file))


def _tensors(file: Path) -> list[dict[str, Any]]:
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _LONGEST_HEADER:
                raise ValueError(f"its header claims {length} bytes")
            header = json.loads(stream.read(length))
        tensors = [each for name, each in header.items() if name != "__metadata__"]
        end = 8 + length + max((each["data_offsets"][1] for each in tensors), default=0)
        if file.stat().st_size != end:
            raise ValueError(f"it has {file.stat().st_size} bytes of {end}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise DataError(f"{file}: is damaged ({error}); download the model again") from error
    return tensors
