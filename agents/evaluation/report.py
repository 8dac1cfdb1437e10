"""The report of an evaluation: report.json, report.md, plots, and the page of its episodes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from deepeyes_env.agents.evaluation import metrics, report_text
from deepeyes_env.agents.evaluation.effects import read_effects, summary_of
from deepeyes_env.agents.evaluation.metrics import Report, UnscoredEpisode
from deepeyes_env.agents.evaluation.plan import CONDITIONS
from deepeyes_env.agents.evaluation.plots import draw
from deepeyes_env.agents.evaluation.rows import Row, read_rows, scored_trajectories
from deepeyes_env.agents.evaluation.run import Run, open_run, read_failures
from deepeyes_env.agents.evaluation.score_file import judge_of
from deepeyes_env.agents.run_folder import PLOTS, REPORT, REPORT_TEXT
from deepeyes_env.files import replacing
from deepeyes_env.trajectories import write_page


def make_report(run: Run, rows: list[Row]) -> Report:
    """Return what a run found, from its rows."""
    failed = tuple(_failures(run))
    played = {row.episode for row in rows}
    unjudged = tuple(
        UnscoredEpisode(row.episode, row.sample_id, row.condition, row.reason) for row in rows if row.score is None
    )
    report = Report(
        benchmark=run.benchmark.name,
        title=run.benchmark.title,
        policy=run.policy,
        judge=judge_of(run.folder),
        settings=run.settings,
        planned=len(run.plan),
        failed=failed,
        unjudged=unjudged,
        missing=sum(each.number not in played for each in run.plan) - len(failed),
        credit=summary_of(read_effects(run.folder)),
    )
    names = [name for name in CONDITIONS if any(row.condition == name for row in rows)]
    by_name = {name: [row for row in rows if row.condition == name] for name in names}
    conditions = tuple(metrics.condition_of(name, by_name[name], run.benchmark) for name in names)
    return replace(report, conditions=conditions, difference=metrics.difference(rows))


def write_report(folder: str | Path) -> Report:
    """Write the report of a run into its folder, from what is recorded there.

    Raises:
        DataError: The folder holds no evaluation, or its records cannot be read.
    """
    run = open_run(folder)
    rows = read_rows(run)
    report = make_report(run, rows)
    with replacing(run.folder / REPORT) as beside:
        beside.write_text(json.dumps(report.as_json(), indent=2, default=str) + "\n", encoding="utf-8")
    drawn = draw(report, rows, run.folder / PLOTS)
    with replacing(run.folder / REPORT_TEXT) as beside:
        beside.write_text(report_text.markdown(report, drawn), encoding="utf-8", errors="replace")
    if rows:
        write_page(run.folder, trajectories=scored_trajectories(run))
    return report


def _failures(run: Run) -> list[UnscoredEpisode]:
    listed = []
    for number, record in sorted(read_failures(run.folder).items()):
        sample = record.get("sample") or f"number {run.plan.sample_of(number)}"
        listed.append(UnscoredEpisode(number, sample, run.plan.condition_of(number), str(record["error"])))
    return listed
