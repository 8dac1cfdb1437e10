"""Counterfactuals: the same questions under several conditions, and the same episodes with other results of a call.

outcomes = run_conditions(dataset, agent, scoring, out="runs/with-and-without", conditions=("without", "with"), k=8)
for outcome in outcomes:
print(outcome.sample, outcome.condition, outcome.repeat, outcome.right, outcome.error)
"""

from deepeyes_env.agents.counterfactuals.cost import Cost, cost_of
from deepeyes_env.agents.counterfactuals.credit import play_credit
from deepeyes_env.agents.counterfactuals.engine import run_conditions
from deepeyes_env.agents.counterfactuals.outcomes import Outcome, last_outcomes, read_outcomes
from deepeyes_env.agents.counterfactuals.plan import Asked, ConditionPlan

__all__ = [
    "Asked",
    "ConditionPlan",
    "Cost",
    "Outcome",
    "cost_of",
    "last_outcomes",
    "play_credit",
    "read_outcomes",
    "run_conditions",
]
