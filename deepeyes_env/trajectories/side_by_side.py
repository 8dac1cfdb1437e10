"""What pages that set policies side by side share: outcomes of questions, buttons to choose them, a table, a legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from deepeyes_env.trajectories.markup import text

Outcome: TypeAlias = Literal["second", "first", "changed", "both", "neither", "mixed", "unjudged"]
"""How the policies did on one question.

``second``, ``first``: of two policies, only that one was right. ``changed``: of more, some were. ``both``, ``neither``:
all or none. ``mixed``: a policy was right in some of its tries only. ``unjudged``: nobody has judged them all.
"""

OUTCOMES: Mapping[Outcome, str] = {
    "second": "only {1} right",
    "first": "only {0} right",
    "changed": "only some right",
    "mixed": "right in some tries",
    "both": "all right",
    "neither": "none right",
    "unjudged": "not judged",
}
"""What each outcome is called, with the names of the policies; in the order in which a page shows them."""

STYLE = """
button { font: inherit; color: inherit; background: var(--card); cursor: pointer; padding: .25rem .7rem;
  margin: 0 .3rem .5rem 0; border: 1px solid var(--line); border-radius: 8px; }
button[aria-pressed=true] { background: var(--ink); color: var(--page); }
.choose { margin: 0 0 .5rem; }
.scroll { overflow-x: auto; margin: 0 0 1rem; }
table { border-collapse: collapse; background: var(--card); }
th, td { border: 1px solid var(--line); padding: .25rem .7rem; text-align: left; font-variant-numeric: tabular-nums; }
thead th { font-weight: 600; } tbody th { font-weight: 400; color: var(--soft); }
.legend { color: var(--soft); margin: 0 0 1rem; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }
.legend svg { width: 26px; height: 16px; vertical-align: -3px; margin-right: .35rem; background: #8a8d92;
  border-radius: 3px; }
.legend .mark { display: inline-block; width: 4px; height: 16px; vertical-align: -3px; margin-right: .45rem; }
.mark.right { background: var(--right); } .mark.wrong { background: var(--wrong); }
"""

SCRIPT = """
for (const button of document.querySelectorAll("button")) button.onclick = () => {
  for (const other of document.querySelectorAll("button")) other.ariaPressed = String(other === button);
  for (const each of document.querySelectorAll("[data-kind]"))
    each.hidden = button.value !== "" && each.dataset.kind !== button.value;
};
"""


def outcome(shares: Sequence[float | None]) -> Outcome:
    """Return how a question came out.

    Args:
        shares: For each policy, in which share of its tries it was right; ``None`` where it was not judged.
    """
    judged = [share for share in shares if share is not None]
    if len(judged) < len(shares) or not judged:
        return "unjudged"
    if not {0.0, 1.0}.issuperset(judged):
        return "mixed"
    if len(set(judged)) == 1:
        return "both" if judged[0] else "neither"
    if len(judged) == 2:
        return "first" if judged[0] else "second"
    return "changed"


def place(kind: Outcome) -> int:
    """Return where questions of an outcome stand on a page: those that changed come first."""
    return list(OUTCOMES).index(kind)


def buttons(kinds: Sequence[Outcome], names: Sequence[str]) -> str:
    """Return buttons that show all questions, or those of one outcome; elements name theirs as ``data-kind``."""
    counts = Counter(kinds)
    parts = [f'<button value="" aria-pressed="true">all {len(kinds)}</button>']
    for kind, words in OUTCOMES.items():
        if counts[kind]:
            label = text(words.format(*names))
            parts.append(f'<button value="{kind}" aria-pressed="false">{label}: {counts[kind]}</button>')
    return f'<div class="choose" role="group" aria-label="Questions">{"".join(parts)}</div>\n'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a small table; the first cell of each row is its name."""
    head = "".join(f'<th scope="col">{text(cell)}</th>' for cell in heads)
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n'


def legend(edges: bool) -> str:
    """Return what the boxes mean, and the edges of the columns where they are coloured."""
    box = '<svg viewBox="0 0 26 16" aria-hidden="true"><rect class="{}" x="3" y="3" width="20" height="10"/></svg>'
    parts = [
        f"{box.format('truth')}where the answer is (ground truth)",
        f"{box.format('asked')}where the policy looked",
    ]
    if edges:
        parts += [f'<i class="mark {kind}"></i>{kind} answer' for kind in ("right", "wrong")]
    return f'<p class="legend">{"".join(f"<span>{part}</span>" for part in parts)}</p>\n'
