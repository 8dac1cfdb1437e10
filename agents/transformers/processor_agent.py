"""ProcessorAgent: any local vision-language model plays, by its own processor and transformers' ``generate``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from deepeyes_env.agents.agent import AgentError, Reply
from deepeyes_env.agents.families import frame_of
from deepeyes_env.agents.hub import model_directory
from deepeyes_env.agents.transformers.chat import broken_up, special_texts
from deepeyes_env.agents.transformers.encoding import check_frame, seeds_of
from deepeyes_env.agents.transformers.generator import Sampling
from deepeyes_env.agents.transformers.policy import ANY, FROM_FILES, check_device, check_directory
from deepeyes_env.checksums import verify_checksums
from deepeyes_env.conversation import ChatMessage, content_parts, messages_of
from deepeyes_env.core import PolicyTokens, Trajectory
from deepeyes_env.errors import DataError, MissingExtraError, UsageError
from deepeyes_env.images.frames import Frame
from deepeyes_env.images.pil import to_pil
from deepeyes_env.images.ref import ImageRef


class ProcessorAgent:
    """Plays with a local model of any family that ``AutoModelForImageTextToText`` loads; for evaluation.

    Each message is generated from the whole conversation, one conversation after another, with nothing kept between
    turns. The families in ``local_families()`` are played many times faster by ``TransformersAgent``.

    Attributes:
        name: Name of the agent, for records and reports.
        frame: Coordinate frame in which the model writes boxes; the environment must be given the same.

    Args:
        model: A model directory, or a name on the Hugging Face Hub.
        sampling: How to sample; by default the likeliest token.
        seed: Seed of what is sampled, with the seeds of the episodes and their samples.
        frame: Coordinate frame; needed where the family's is not known.
        device: Where to run it.
        dtype: What to compute in, weights included.
        name: By default the name of the directory.

    Raises:
        UsageError: The directory holds no such model, has no chat template, or the frame is not known.
        DataError: A file of it is damaged.
        MissingExtraError: Its processor needs torchvision, which is not here.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        sampling: Sampling = Sampling(temperature=0.0),  # noqa: B008
        seed: int = 0,
        frame: Frame | None = None,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        name: str = "",
    ) -> None:
        folder = model_directory(model)
        verify_checksums(folder)
        check_device(device, "device")
        self._processor = _processor(folder)
        self.frame: Frame = frame_of(folder, frame)
        self._model = _model(folder, dtype).to(device).eval()
        self._specials = special_texts(self._processor.tokenizer)
        self._sampling, self._seed = sampling, seed
        self.name = name or Path(model).resolve().name
        self.about = {"temperature": sampling.temperature, "max_new_tokens": sampling.max_new_tokens, "device": device}

    def act(self, episodes: Sequence[Trajectory]) -> list[Reply | AgentError]:
        """Return the next message of each episode, with its tokens; an error for one that outgrew the model's context.

        Raises:
            UsageError: An episode is played in another coordinate frame than the model's.
        """
        return [self._reply(episode) for episode in episodes]

    @torch.no_grad()
    def _reply(self, episode: Trajectory) -> Reply | AgentError:
        check_frame(episode, self.frame, self.name)
        inputs = self._encoded(episode)
        length, new = inputs["input_ids"].shape[1], self._sampling.max_new_tokens
        context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if context is not None and length + new > context:
            return AgentError(
                f"the conversation of sample {episode.sample.id!r} has {length} tokens, which with "
                f"max_new_tokens={new} exceed the {context} tokens of the model's context"
            )
        sampled: dict[str, Any] = {"do_sample": False}
        if self._sampling.temperature > 0:
            sampled = {"do_sample": True, "temperature": self._sampling.temperature, "top_k": 0, "top_p": 1.0}
        with torch.random.fork_rng(devices=[self._model.device] if self._model.device.type == "cuda" else []):
            torch.manual_seed(_seed(episode, self._seed))
            written = self._model.generate(**inputs, **sampled, max_new_tokens=new)[0, length:].tolist()
        text = self._processor.tokenizer.decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        cut = len(written) == new and written[-1] not in self._stops()
        return Reply(text, PolicyTokens(tuple(written)), "length" if cut else "stop")

    def _encoded(self, episode: Trajectory) -> Any:
        """Return what the model takes: the processor's tokens and images of the whole conversation."""
        messages = messages_of(episode, "text")
        shown = [{"role": message.role, "content": self._content(message)} for message in messages]
        text = self._processor.apply_chat_template(shown, tokenize=False, add_generation_prompt=True)
        last = episode.turns[-1].observation if episode.turns else None
        text += broken_up(last.prefill, self._specials) if last is not None else ""
        images = [to_pil(image.pixels()) for message in messages for image in message.images]
        # The template has written what begins a text already.
        made = self._processor(text=[text], images=[images], return_tensors="pt", add_special_tokens=False)
        return made.to(self._model.device, self._model.dtype)

    def _content(self, message: ChatMessage) -> list[dict[str, str]]:
        return [
            {"type": "image"}
            if isinstance(part, ImageRef)
            else {"type": "text", "text": broken_up(part, self._specials)}
            for part in content_parts(message)
        ]

    def _stops(self) -> set[int]:
        stop = self._model.generation_config.eos_token_id
        return set(stop if isinstance(stop, list) else [stop])


def _processor(folder: Path) -> Any:
    from transformers import AutoProcessor
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as KNOWN

    kind = check_directory(folder, ANY)
    if kind not in KNOWN:
        raise UsageError(f"model folder {str(folder)!r} holds a {kind!r} model, which transformers shows no images")
    try:
        processor: Any = AutoProcessor.from_pretrained(folder, **FROM_FILES)
    except Exception as error:  # whatever transformers raises for a damaged file, or without a package
        reason = " ".join(str(error).split())
        if find_spec("torchvision") is None:
            raise MissingExtraError(
                f"the processor of the model in {str(folder)!r} cannot be made without torchvision, which most "
                f"processors need and which is not installed; run: pip install torchvision ({reason:.120})"
            ) from error
        if isinstance(error, ImportError):
            raise MissingExtraError(
                f"the processor of the model in {str(folder)!r} needs a package that is not installed: {reason:.200}"
            ) from error
        raise _damaged(folder, "processor", error) from error
    if not getattr(processor, "chat_template", None):
        raise UsageError(f"model folder {str(folder)!r} has no chat template; add chat_template.jinja")
    return processor


def _model(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForImageTextToText

    try:
        return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, use_safetensors=True, **FROM_FILES)
    except Exception as error:  # whatever transformers and safetensors raise for a damaged file
        raise _damaged(folder, "model", error) from error


def _damaged(folder: Path, what: str, error: Exception) -> DataError:
    return DataError(
        f"the {what} in {str(folder)!r} cannot be loaded ({type(error).__name__}: {error!s:.200}); download it again"
    )


def _seed(episode: Trajectory, seed: int) -> int:
    numbers = (*seeds_of(episode, seed), len(episode.turns))
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "big")
