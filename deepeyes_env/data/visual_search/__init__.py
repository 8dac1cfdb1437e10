"""The procedural tasks: find a detail in scenes that the view does not show, and read it after a zoom."""

from deepeyes_env.data.visual_search.code_search import CodeSearch
from deepeyes_env.data.visual_search.dataset import VisualSearch
from deepeyes_env.data.visual_search.facts import write_facts
from deepeyes_env.data.visual_search.names import built_in, of_settings
from deepeyes_env.data.visual_search.nested import NestedSearch
from deepeyes_env.data.visual_search.patterns import pattern_search
from deepeyes_env.data.visual_search.scene import Scene
from deepeyes_env.data.visual_search.several import ImageSearch, pattern_pairs

__all__ = [
    "CodeSearch",
    "ImageSearch",
    "NestedSearch",
    "Scene",
    "VisualSearch",
    "built_in",
    "of_settings",
    "pattern_pairs",
    "pattern_search",
    "write_facts",
]
