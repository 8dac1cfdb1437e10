"""A custom reward with a per-call penalty: the policy learns adaptive tool use, a zoom only where it is needed.

    deepeyes train --plugin examples/call_penalty.py --config tiny env.rubric=call_penalty model=CHECKPOINT

docs/ablation.md has the results.
"""

from deepeyes_env.rewards import Rubric, Term, register_rubric, terms

PENALTY = 0.3
"""Less than a zoom gains in a hard scene (0.8 x the accuracy that it adds), more than it gains in an easy one."""

register_rubric(
    "call_penalty",
    Rubric(
        [
            Term("acc", terms.accuracy, 0.8),
            Term("format", terms.format_broken, 0.2),
            Term("calls", terms.calls, -PENALTY),
        ]
    ),
)
