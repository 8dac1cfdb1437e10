"""ModelDirectory: what encodes a conversation, of a model directory whose weights are left where they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, BatchFeature

from deepeyes_env.agents.families import family_of
from deepeyes_env.agents.transformers.chat import Chat, processor_template
from deepeyes_env.agents.transformers.policy import check_directory
from deepeyes_env.agents.transformers.processor import ImagePatches, ImageTextProcessor, load_processor
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.images.frames import Frame, Size
from deepeyes_env.images.views import ViewBudget

SMALL = ViewBudget(112 * 112, 240 * 240)
"""The sizes in which recorded episodes show images, as far as the model's processor leaves them as they are."""


class _Grids(ImagePatches):
    """Tells how many patches an image has, and makes none: pixels decide no token."""

    @classmethod
    def like(cls, images: ImagePatches) -> _Grids:
        """Return one with the sizes of another image processor."""
        return cls(size=images.size, patch_size=images.patch_size, merge_size=images.merge_size)

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        shown = [image for each in images for image in (each if isinstance(each, list | tuple) else [each])]
        return BatchFeature({"image_grid_thw": np.array([[1, 1, self.patches_of(image.size)] for image in shown])})

    def patches_of(self, size: Size) -> int:
        """Return the number of patches of an image of ``(width, height)`` pixels."""
        width, height = size
        return int(self.get_number_of_image_patches(height, width, {}))


class CountingProcessor(ImageTextProcessor):
    """A processor for tokens alone; it lets a cut conversation pass: comparing it tells more than an error."""

    def tokens_of(self, size: Size) -> int:
        """Return how many tokens an image of ``(width, height)`` pixels is."""
        return int(self.image_processor.patches_of(size)) // int(self.image_processor.merge_size) ** 2

    def _check_special_mm_tokens(self, *args: Any, **kwargs: Any) -> None:
        pass


@dataclass(frozen=True, slots=True)
class ModelDirectory:
    """The parts of a model directory that decide a conversation's tokens.

    Attributes:
        path: The folder.
        chat: How our trainer, our agents and our loop in verl write it.
        processor: What transformers' chat endpoint does with it, its own chat template included.
        image_token: Id of the token that stands for (a part of) an image.
        factor: Side of the square of pixels that becomes one image token, by the model's ``config.json``.
        context: Length of the model's context in tokens.
        view: The sizes in which images are shown.
        frame: Coordinates in which the model writes boxes.
    """

    path: Path
    chat: Chat
    processor: CountingProcessor
    image_token: int
    factor: int
    context: int
    view: ViewBudget
    frame: Frame

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.chat.tokenizer

    @classmethod
    def load(cls, folder: str | Path) -> ModelDirectory:
        """Read the directory of a model of a family that is run here.

        Raises:
            UsageError: There is no such directory, it lacks a file, or holds a model of another kind.
            DataError: A file of it is damaged.
        """
        path = Path(folder)
        check_directory(path)
        try:
            config: Any = AutoConfig.from_pretrained(path, local_files_only=True)
            processor = load_processor(path)
        except UsageError:
            raise
        except Exception as error:  # whatever transformers raises for a damaged file
            raise DataError(
                f"model folder {str(path)!r} cannot be read ({type(error).__name__}: {error}); download it again"
            ) from error
        tokenizer = processor.tokenizer
        tokenizer.chat_template = tokenizer.chat_template or processor_template(path)
        own = _template_of_processor(path) or tokenizer.chat_template
        processor = CountingProcessor(_Grids.like(processor.image_processor), tokenizer, own)
        factor = config.vision_config.patch_size * config.vision_config.spatial_merge_size
        family = family_of(path)
        return cls(
            path=path,
            chat=Chat(tokenizer, config.image_token_id, factor),
            processor=processor,
            image_token=config.image_token_id,
            factor=factor,
            context=config.text_config.max_position_embeddings,
            view=family.view_within(SMALL),
            frame=family.frame,
        )

    def image_sides(self) -> str:
        """Return in words how many pixels an image token is to the model, and how many to its processor."""
        images = self.processor.image_processor
        return (
            f"config.json's vision_config makes a token of {self.factor} x {self.factor} pixels; "
            f"patch_size {images.patch_size} x merge_size {images.merge_size} of the processor's settings of "
            f"{images.patch_size * images.merge_size}"
        )


def _template_of_processor(folder: Path) -> str | None:
    """Return the chat template that ``AutoProcessor`` reads, which may be another one than ``AutoTokenizer``'s."""
    alone = folder / "chat_template.jinja"
    if alone.is_file():
        return alone.read_text(encoding="utf-8")
    return processor_template(folder)
