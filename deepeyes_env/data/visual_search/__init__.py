"""The procedural task: find a detail in a scene that the view does not show, and read it after a zoom."""

from deepeyes_env.data.visual_search.dataset import VisualSearch
from deepeyes_env.data.visual_search.patterns import pattern_search
from deepeyes_env.data.visual_search.scene import Scene

__all__ = ["Scene", "VisualSearch", "pattern_search"]
