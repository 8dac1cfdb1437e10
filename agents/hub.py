"""Models by their names on the Hugging Face Hub: from the local cache, else fetched, without code and pickles."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from deepeyes_env.agents.families import read_model_file
from deepeyes_env.errors import UsageError
from deepeyes_env.extras import import_extra

logger = logging.getLogger(__name__)

FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja", "tokenizer.model")
"""What is fetched of a model: no pickles, and no code."""

_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def is_hub_name(model: str | Path) -> bool:
    """Whether this is written like a model's name on the Hub, ``owner/name``, and is no folder here."""
    return _NAME.fullmatch(str(model)) is not None and not Path(model).exists()


def model_directory(model: str | Path) -> Path:
    """Return the folder of a model.

    A name on the Hub is looked for in its local cache first; what is not there whole is fetched (``HF_ENDPOINT``,
    ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` are read as everywhere).

    Args:
        model: A folder, or a name on the Hub.

    Returns:
        What was given, if it is no name on the Hub; whether a model is there is for others to find.

    Raises:
        UsageError: It is in no cache and cannot be fetched; the message has the command to run.
    """
    if not is_hub_name(model):
        return Path(model)
    hub = import_extra("huggingface_hub", "transformers")
    name = str(model)
    cached = _cached(hub, name)
    if cached is not None:
        return cached
    logger.info("fetching %s from the Hugging Face Hub", name)
    try:
        found = Path(hub.snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:  # of the network, of the Hub, of a disk that is full
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(
            f"model {name!r} is no folder, is not whole in the local cache of the Hugging Face Hub, and cannot be "
            f"fetched ({reason:.200}); where there is a network, run: hf download {name}"
        ) from error
    if not _is_whole(found):  # without a network, what the cache holds is returned
        raise UsageError(
            f"model {name!r} is no folder, and what there is of it on the Hugging Face Hub, or in its local cache, "
            f"lacks config.json or weights as safetensors; where there is a network, run: hf download {name}"
        )
    return found


def _cached(hub: Any, name: str) -> Path | None:
    """Return the folder of a model in the local cache; ``None`` if it, or a part of it, is not there."""
    try:
        folder = Path(hub.snapshot_download(name, allow_patterns=list(FILES), local_files_only=True))
    except (OSError, ValueError):  # what huggingface_hub raises for what is not there, or not whole
        return None
    return folder if _is_whole(folder) else None


def _is_whole(folder: Path) -> bool:
    """Whether configuration and all weights are there: older caches hold parts of a model without saying so."""
    if not (folder / "config.json").is_file():
        return False
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    return all((folder / name).is_file() for name in set(read_model_file(index).get("weight_map", {}).values()))
