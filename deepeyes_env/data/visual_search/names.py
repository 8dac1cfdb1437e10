"""The built-in tasks by name, and by the settings that are left of one in JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deepeyes_env.data.visual_search.code_search import CodeSearch
from deepeyes_env.data.visual_search.dataset import VisualSearch
from deepeyes_env.data.visual_search.nested import NestedSearch
from deepeyes_env.data.visual_search.patterns import pattern_search
from deepeyes_env.data.visual_search.several import ImageSearch, pattern_pairs

_MAKERS: Mapping[str, Callable[..., VisualSearch]] = {
    "visual_search": VisualSearch,
    "pattern_search": pattern_search,
    "image_search": ImageSearch,
    "pattern_pairs": pattern_pairs,
    "nested_search": NestedSearch,
    "code_search": CodeSearch,
}
_OWN_SETTING: Mapping[str, type[VisualSearch]] = {"images": ImageSearch, "fields": NestedSearch, "kinds": CodeSearch}
"""Settings that only one of the classes has."""


def built_in(name: str, **options: Any) -> VisualSearch:
    """Make the built-in task of a name; ``deepeyes_env.data.dataset.BUILT_IN`` has the names."""
    return _MAKERS[name](**options)


def of_settings(settings: Mapping[str, Any]) -> VisualSearch:
    """Make a built-in task of its settings as JSON gives them back.

    Raises:
        UsageError: There is no such setting, or a value is out of range.
    """
    kind = next((kind for own, kind in _OWN_SETTING.items() if own in settings), VisualSearch)
    return kind.of(settings)
