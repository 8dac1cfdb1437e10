"""The plots of a curation: how labels are distributed, what each filter keeps, how looks and boxes agree."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepeyes_env.agents.run_folder import PLOTS
from deepeyes_env.extras import missing_extra
from deepeyes_env.plotting import COLOURS, finish, new_figure, save

_SHOWN = ("difficulty", "utility", "gain", "agreement", "open", "duplicate", "near_image", "label_ok")

logger = logging.getLogger(__name__)


def draw(report: Mapping[str, Any], folder: Path) -> list[str]:
    """Draw what there is to draw; returns the paths of the pictures, relative to the report.

    Without matplotlib there are no pictures, and a warning says what to install.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        logger.warning("no plots: %s", missing_extra("matplotlib", "curate"))
        return []
    drawn = []
    names = [name for name in _SHOWN if name in report["labels"]]
    if names:
        drawn.append(_distributions(report["labels"], names, folder / "labels.png"))
    presets = {name: each for name, each in report["presets"].items() if "filters" in each}
    if presets:
        drawn.append(_filters(presets, folder / "filters.png"))
    if "bins" in report["boxes"]:
        drawn.append(_overlap(report["boxes"], folder / "boxes.png"))
    return [f"{PLOTS}/{path.name}" for path in drawn]


def _distributions(labels: Mapping[str, Any], names: list[str], out: Path) -> Path:
    rows = -(-len(names) // 2)
    figure, axes = new_figure(rows, 2, 2.1 * rows + 0.3)
    for axis, name in zip(axes, names, strict=False):
        low, high, count = zip(*labels[name]["bins"], strict=True)
        axis.bar(
            low, count, [b - a for a, b in zip(low, high, strict=True)], align="edge", color=COLOURS[0], ec="white"
        )
        finish(axis, f"{name}, mean {labels[name]['mean']:.2f}", x=name, y="questions")
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    save(figure, out)
    return out


def _filters(presets: Mapping[str, Any], out: Path) -> Path:
    figure, axes = new_figure(len(presets), 1, 0.8 + 1.9 * len(presets))
    for axis, (name, each) in zip(axes, presets.items(), strict=True):
        parts = [part["part"] for part in each["filters"]]
        places = range(len(parts))
        axis.barh(places, [part["alone"] for part in each["filters"]], 0.75, color=COLOURS[5], label="alone")
        left = [part["left"] for part in each["filters"]]
        axis.barh(places, left, 0.4, color=COLOURS[0], label="with those before it")
        axis.set_yticks(places, parts, parse_math=False)
        axis.invert_yaxis()
        title = f"{name} keeps {each['kept']} of {each['of']}"
        finish(axis, title, x="questions", xlim=(0, max(1, each["of"])), legend_beside=True)
    save(figure, out)
    return out


def _overlap(boxes: Mapping[str, Any], out: Path) -> Path:
    figure, (axis,) = new_figure(1, 1, 2.6)
    places = [i / len(boxes["bins"]) for i in range(len(boxes["bins"]))]
    axis.bar(places, boxes["bins"], 1 / len(places), align="edge", color=COLOURS[2], ec="white")
    title = f"Best look of an episode and the true box: mean IoU {boxes['mean_iou']:.2f}"
    finish(axis, title, x="IoU", y="episodes", xlim=(0, 1))
    save(figure, out)
    return out
