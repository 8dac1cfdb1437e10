"""Images: names (``ImageRef``), shared decoding (``ImageStore``), views, coordinate frames, geometry, codecs."""

from deepeyes_env.images.codec import Image
from deepeyes_env.images.ref import ImageLike, ImageRef, Renderable
from deepeyes_env.images.store import ImageStore, shared_store
from deepeyes_env.images.views import ViewBudget, shown_size

__all__ = [
    "Image",
    "ImageLike",
    "ImageRef",
    "ImageStore",
    "Renderable",
    "ViewBudget",
    "shared_store",
    "shown_size",
]
