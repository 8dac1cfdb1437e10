"""report.md: the report as text, tables first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from deepeyes_env import labels
from deepeyes_env.agents.evaluation.effects import CreditSummary
from deepeyes_env.agents.evaluation.metrics import Condition, Estimate, Report, UnscoredEpisode
from deepeyes_env.agents.evaluation.statistics import PairedTest
from deepeyes_env.agents.run_folder import ABOUT
from deepeyes_env.telling import markdown_text
from deepeyes_env.trajectories.summary import written_counts

SHOWN = 20
"""Episodes without a verdict that the text lists; report.json has all."""

WITH = {"on": "with tools", "off": "without tools"}


def markdown(report: Report, plots: Sequence[str] = ()) -> str:
    """Return the report as Markdown; ``plots`` are paths of pictures relative to it."""
    parts = [
        f"# {markdown_text(report.policy)} on {markdown_text(report.title)}",
        _course(report),
        *_overview(report),
        *map(_sentence, hints(report)),
        *_difference(report),
        *_credit(report),
        *_tools(report),
        *_categories(report),
        *_repeats(report),
        *_yes_no(report),
        *(f"![{path}]({path})" for path in plots),
        *_listed("Not played", report.failed, "`--resume` asks them again."),
        *_listed("Not judged", report.unjudged, "`--resume` judges them again."),
        "Each episode with its images, boxes and messages: [index.html](index.html)." if report.conditions else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def overview(report: Report) -> list[list[str]]:
    """Return the rows of the main table: a name, then a cell for each condition."""
    conditions = report.conditions
    rows: list[tuple[str, Callable[[Condition], str]]] = [
        ("episodes", lambda each: str(each.episodes)),
        (labels.ACCURACY, lambda each: estimate(each.accuracy)),
        ("circular accuracy (CircularEval)", lambda each: estimate(each.circular_accuracy)),
        ("IoU of the answer", lambda each: estimate(each.answer_iou)),
        (labels.TOOL_USE_RATE, lambda each: f"{each.tool_use_rate:.1%}"),
        (labels.ZOOM_RATE, lambda each: f"{each.zoom_rate:.1%}"),
        (labels.BEST_IOU, lambda each: "-" if each.zoom_iou is None else f"{each.zoom_iou:.3f}"),
        (labels.TOOL_CALLS, lambda each: f"{each.calls:.2f}"),
        (labels.FAILED_CALLS, lambda each: written_counts(each.failed_calls)),
        (labels.TURNS, lambda each: f"{each.turns:.2f}"),
        (labels.RESPONSE_TOKENS, lambda each: f"{'' if each.tokens_counted else '~'}{each.written_tokens:.0f}"),
        ("context tokens per episode", lambda each: f"~{each.context_tokens:.0f}"),
        ("seconds per episode", lambda each: f"{each.seconds:.2f}"),
        (labels.ENDED_BY, lambda each: written_counts(each.stops)),
        ("answers that name no option", lambda each: f"{each.no_option} of {each.judged}" if each.no_option else "-"),
        ("messages ended by", lambda each: written_counts(each.finishes) if each.finishes else "-"),
    ]
    table = [[name, *(cell(each) for each in conditions)] for name, cell in rows]
    return [row for row in table if set(row[1:]) != {"-"} and row[1:]]


def estimate(value: Estimate | None) -> str:
    """Write a mean with its interval."""
    return "-" if value is None else f"{value.value:.1%} ({value.low:.1%} to {value.high:.1%})"


def test_result(test: PairedTest, first: str, second: str) -> str:
    """Write what a paired test found."""
    method = {"mcnemar": "exact McNemar test", "sign_flip": "sign-flip test"}[test.method]
    low, high = test.interval
    return (
        f"{second} minus {first}: {test.difference:+.1%} ({low:+.1%} to {high:+.1%}), p = {test.p_value:.3g} "
        f"({method}, {test.questions} questions: {test.better} better, {test.worse} worse)"
    )


def difference(report: Report) -> str:
    """Write what tools changed, and that it may not stay so while episodes are missing; empty if nothing is paired."""
    if report.difference is None:
        return ""
    found = test_result(report.difference, "without tools", "with tools")
    return found if report.complete else f"so far, {found}"


def state(report: Report) -> str:
    """Say how much of a run is there."""
    done = sum(each.judged for each in report.conditions)
    parts = [f"{done} of {report.planned} episodes played and judged"]
    parts += [f"{len(report.failed)} could not be played"] if report.failed else []
    parts += [f"{len(report.unjudged)} could not be judged"] if report.unjudged else []
    parts += [f"{report.missing} not asked yet"] if report.missing else []
    return ", ".join(parts)


def hints(report: Report) -> list[str]:
    """Say what went wrong in a way that is easily mended."""
    episodes = sum(each.episodes for each in report.conditions)
    cut = sum(each.cut for each in report.conditions)
    filtered = sum(each.finishes.get(name, 0) for each in report.conditions for name in ("content_filter", "refusal"))
    limit = report.settings.get("max_tokens")
    told = []
    if cut:
        at = f" ({limit})" if limit else ""
        told.append(
            f"in {cut} of {episodes} episodes a message was cut off at max new tokens{at}: give a larger --max-tokens"
        )
    if unclear := sum(each.no_option for each in report.conditions):
        told.append(
            f"{unclear} answers name no option, or several, as rules read them: see them in index.html; "
            "--judge chain asks a model about them"
        )
    if unknown := ", ".join(dict.fromkeys(name for each in report.conditions for name in each.unknown_tools)):
        told.append(f"rows' own prompts name tools that the environment lacks ({unknown}): see --prompt and --env")
    if filtered:
        told.append(f"{filtered} messages were refused or filtered; they count as no answer")
    return told


def _sentence(text: str) -> str:
    return f"{labels.capitalised(text)}."


def _course(report: Report) -> str:
    about = report.settings.get(ABOUT)
    facts = {**report.judge, "seed": report.settings.get("seed"), "environment": report.settings.get("env")}
    facts |= about if isinstance(about, Mapping) else {}
    told = "; ".join(f"{name.replace('_', ' ')}: {as_cell(str(value))}" for name, value in facts.items())
    over = "" if report.complete else " Accuracy is over those that were judged."
    return f"{state(report)}.{over} Intervals are 95 %.\n\n{_sentence(told)}"


def _overview(report: Report) -> Iterable[str]:
    if report.conditions:
        yield table(["", *(WITH[each.name] for each in report.conditions)], overview(report))


def _difference(report: Report) -> Iterable[str]:
    if report.difference:
        yield _sentence(difference(report))


def credit(found: CreditSummary) -> str:
    """Write what calls were worth."""
    shares = ", ".join(f"{count} {name}" for name, count in found.verdicts.items())
    return (
        f"{found.calls} calls of {found.episodes} episodes with their result as it was and {found.change}: {shares}; "
        f"a call changed the chance of a right answer by {found.effect:+.1%} ({found.low:+.1%} to {found.high:+.1%})"
    )


def _credit(report: Report) -> Iterable[str]:
    if report.credit:
        yield "## What calls were worth"
        yield _sentence(credit(report.credit))


def _tools(report: Report) -> Iterable[str]:
    rows = [
        [
            name,
            WITH[each.name],
            f"{rate.rate:.1%}",
            f"{rate.calls:.2f}",
            f"{rate.failed:.1%}",
            written_counts(rate.errors),
            f"{rate.seconds:.3f}",
            f"{rate.total_seconds:.1f}",
        ]
        for each in report.conditions
        for name, rate in each.tools.items()
    ]
    if rows:
        yield "## Tools"
        head = ["tool", "", "used in", "calls per episode", "calls that failed", "errors", "seconds a call", "seconds"]
        yield table(head, rows)


def _categories(report: Report) -> Iterable[str]:
    for name in dict.fromkeys(name for each in report.conditions for name in each.categories):
        values = sorted({value for each in report.conditions for value in each.categories.get(name, {})})
        rows = []
        for value in values:
            found = [each.categories.get(name, {}).get(value) for each in report.conditions]
            questions = max(each.questions for each in found if each)
            rows.append([value, str(questions), *map(estimate, found)])
        yield f"## Accuracy by {markdown_text(name)}"
        yield table([name, "questions", *(WITH[each.name] for each in report.conditions)], rows)


def _repeats(report: Report) -> Iterable[str]:
    rows = [
        [
            WITH[each.name],
            str(at.k),
            *("-" if share is None else f"{share:.1%}" for share in (at.passed, at.average, at.majority)),
            str(at.questions),
        ]
        for each in report.conditions
        for at in each.at_k
    ]
    if rows:
        yield "## Repeated samples: pass@k, avg@k, maj@k"
        yield table(["", "k", "pass@k", "avg@k", "maj@k", "questions"], rows)


def _yes_no(report: Report) -> Iterable[str]:
    rows = [
        [
            WITH[each.name],
            name or "all",
            *(f"{value:.1%}" for value in (said.accuracy, said.precision, said.recall, said.f1, said.yes_ratio)),
            str(said.unanswered),
        ]
        for each in report.conditions
        for name, said in each.yes_no.items()
    ]
    if rows:
        yield "## Yes or no"
        yield table(["", "split", "accuracy", "precision", "recall", "F1", "yes-ratio", "neither"], rows)


def _listed(title: str, listed: Sequence[UnscoredEpisode], remedy: str) -> Iterable[str]:
    if not listed:
        return
    yield f"## {title}"
    yield f"{len(listed)} episodes. {remedy}"
    rows = [[str(each.episode), each.sample, WITH[each.condition], each.error] for each in listed[:SHOWN]]
    yield table(["episode", "sample", "", "why"], rows)
    if len(listed) > SHOWN:
        yield f"And {len(listed) - SHOWN} more, in report.json."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [list(map(as_cell, head)), ["---"] * len(head), *(map(as_cell, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_cell(text: str) -> str:
    """Write a text that may hold anything into a cell of a table; a long one is cut."""
    return markdown_text(text if len(text) <= 300 else f"{text[:300]} …")
