"""Images: names (``ImageRef``), shared decoding (``ImageStore``), views, coordinate frames, geometry, codecs."""
from deepeyes_env.images.codec import ImageError
from deepeyes_env.images.ref import Image, ImageLike, ImageRef, Renderable
from deepeyes_env.images.views import ViewBudget, shown_size

__all__ = ["Image", "ImageError", "ImageLike", "ImageRef", "Renderable", "ViewBudget", "shown_size"]
