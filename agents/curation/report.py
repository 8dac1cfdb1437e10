"""The report of a curation: report.json, report.md, plots, and pages of the episodes under each condition."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from deepeyes_env.agents.curation.asking import Questions
from deepeyes_env.agents.curation.curation import PAGES, Curation
from deepeyes_env.agents.curation.disagreements_page import write_disagreements
from deepeyes_env.agents.curation.kept import PRESETS, choose, parse_keep
from deepeyes_env.agents.curation.label_file import COLUMNS, LabelTable, label_path, read_labels
from deepeyes_env.agents.curation.label_stage import disagreements
from deepeyes_env.agents.curation.plots import draw
from deepeyes_env.agents.run_folder import PLOTS, REPORT, REPORT_TEXT
from deepeyes_env.files import replacing
from deepeyes_env.telling import markdown_text
from deepeyes_env.trajectories import read_trajectories, write_page
from deepeyes_env.trajectories.files import RECORDS

BINS = 10
"""Bars of a distribution."""

MOST_EPISODES = 2000
"""How many episodes a page shows."""

_VARIES = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\d+|/[^\s:]+")


def write_report(curation: Curation) -> Mapping[str, Any]:
    """Write the report of a curation from its labels, and its pages; returns what ``report.json`` holds."""
    folder = curation.folder
    table = LabelTable(folder, len(curation.dataset))
    against = disagreements(folder)
    report = {
        "settings": dict(curation.settings),
        "stages": {stage: _stage(table, stage) for stage in table.stages},
        "labels": {name: _label(table.values(name)) for name in COLUMNS if table.values(name)},
        "presets": {name: _preset(table, name) for name in PRESETS},
        "boxes": _boxes(folder, table),
        "disagreements": len(against),
    }
    with replacing(folder / REPORT) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    drawn = draw(report, folder / PLOTS)
    pages = _pages(folder)
    if "label" in table.stages:
        pages = [write_disagreements(folder, Questions(curation), against), *pages]
    with replacing(folder / REPORT_TEXT) as temporary:
        links = [path.relative_to(folder).as_posix() for path in pages]
        temporary.write_text(_markdown(report, drawn, links), encoding="utf-8", errors="replace")
    return report


def _stage(table: LabelTable, stage: str) -> dict[str, Any]:
    reasons = Counter(_VARIES.sub("…", each) for each in table.reasons(stage).values())
    return {"labelled": table.rows - reasons.total(), "of": table.rows, "reasons": dict(reasons.most_common(20))}


def _label(values: Sequence[float]) -> dict[str, Any]:
    low, high = min(0.0, *values), max(1.0, *values)
    width = (high - low) / BINS
    bins = Counter(min(BINS - 1, int((value - low) / width)) for value in values)
    return {
        "questions": len(values),
        "mean": fmean(values),
        "zero": sum(value == 0 for value in values),
        "one": sum(value == 1 for value in values),
        "bins": [[low + width * i, low + width * (i + 1), bins[i]] for i in range(BINS)],
    }


def _preset(table: LabelTable, name: str) -> dict[str, Any]:
    keep = parse_keep(name)
    lacks = [each for each in keep.names if COLUMNS[each][0] not in table.stages]
    if lacks:
        return {"condition": str(keep), "lacks": lacks}
    kept = choose(table, keep)
    filters = [{"part": part, "alone": alone, "left": left} for part, alone, left in kept.filters]
    return {"condition": str(keep), "kept": len(kept.rows), "of": kept.of, "filters": filters}


def _boxes(folder: Path, table: LabelTable) -> dict[str, Any]:
    """Return how the model's looks and the true boxes agree."""
    best = [iou for each in read_labels(label_path(folder, "gain")) for iou in each.found.get("ious", ())]
    utility = table.values("utility")
    found: dict[str, Any] = {}
    if best:
        hits = sum(iou >= 0.5 for iou in best) / len(best)
        bins = Counter(min(BINS - 1, int(iou * BINS)) for iou in best)
        found |= {"looks": len(best), "mean_iou": fmean(best), "iou_half": hits, "bins": [bins[i] for i in range(BINS)]}
    if utility:
        found |= {
            "boxed": len(utility),
            "helps": sum(each > 0 for each in utility),
            "hurts": sum(each < 0 for each in utility),
        }
    return found


def _pages(folder: Path) -> list[Path]:
    """Write a page of the recorded episodes for each condition; returns them."""
    runs = [path.parent for path in sorted(folder.glob(f"*/{RECORDS}"))]
    pages = []
    for run in runs:
        names = sorted({str(each.metadata.get("condition", "")) for each in read_trajectories(run)})
        for name in names:
            chosen = (each for each in read_trajectories(run) if each.metadata.get("condition") == name)
            out = folder / PAGES / f"{run.name}-{name}"
            pages.append(write_page(run, out, trajectories=islice(chosen, MOST_EPISODES)))
    return pages


def _markdown(report: Mapping[str, Any], drawn: Sequence[str], pages: Sequence[str]) -> str:
    data = markdown_text(str(report["settings"].get("data", "")))
    lines = [f"# Curation of {data}", "", *_table(["stage", "labelled", "of"], _stage_rows(report))]
    for stage, each in report["stages"].items():
        lines += [f"- {stage}: {count} without a label: {markdown_text(why)}" for why, count in each["reasons"].items()]
    lines += ["", "## Labels", ""]
    lines += _table(
        ["label", "questions", "mean", "at 0", "at 1", "meaning"],
        [
            [name, each["questions"], f"{each['mean']:.3f}", each["zero"], each["one"], COLUMNS[name][1]]
            for name, each in report["labels"].items()
        ],
    )
    lines += [f"\n![{Path(each).stem}]({each})" for each in drawn]
    lines += ["", "## What presets keep", ""]
    for name, each in report["presets"].items():
        lines += [f"`{name}`: `{each['condition']}`", ""]
        if "lacks" in each:
            lines += [f"Not known yet: no labels {', '.join(each['lacks'])}.", ""]
            continue
        rows = [[f"`{part['part']}`", part["alone"], part["left"]] for part in each["filters"]]
        lines += [*_table(["condition", "keeps alone", "with those before it"], rows), ""]
        lines += [f"Kept: {each['kept']} of {each['of']}.", ""]
    lines += _box_lines(report["boxes"])
    if pages:
        lines += ["## Pages", "", *(f"- [{page}]({page})" for page in pages)]
    return "\n".join(lines).rstrip() + "\n"


def _stage_rows(report: Mapping[str, Any]) -> list[list[object]]:
    return [[stage, each["labelled"], each["of"]] for stage, each in report["stages"].items()]


def _box_lines(boxes: Mapping[str, Any]) -> list[str]:
    if not boxes:
        return []
    lines = ["## Agreement with the true boxes", ""]
    if "looks" in boxes:
        lines.append(
            f"Of {boxes['looks']} episodes that looked at a box, the best one overlaps the true box with a mean IoU of "
            f"{boxes['mean_iou']:.3f}; {boxes['iou_half']:.1%} with 0.5 or more."
        )
    if "boxed" in boxes:
        lines.append(
            f"Of {boxes['boxed']} questions with a true box, showing it helps in {boxes['helps']} and hurts in "
            f"{boxes['hurts']}."
        )
    return [*lines, ""]


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
        "",
    ]
