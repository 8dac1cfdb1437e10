"""Images that are read part by part: whole-slide files, pages of documents, frames of videos, very large images."""

from deepeyes_env.images.sources.named import source_of
from deepeyes_env.images.sources.region_source import RegionSource

__all__ = ["RegionSource", "source_of"]
