"""Evaluation: a policy answers a benchmark; what it did is recorded, judged, reported and compared."""

from deepeyes_env.agents.evaluation.comparison import Comparison, compare
from deepeyes_env.agents.evaluation.evaluate import evaluate, rescore
from deepeyes_env.agents.evaluation.metrics import Report
from deepeyes_env.agents.evaluation.run import open_run
from deepeyes_env.agents.evaluation.scoring import ACCURACY, Scoring

__all__ = ["ACCURACY", "Comparison", "Report", "Scoring", "compare", "evaluate", "open_run", "rescore"]
