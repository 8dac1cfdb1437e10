"""Curation: which questions of a data set are worth training on. Its stages label and never delete."""

from deepeyes_env.agents.curation.asking import Asking
from deepeyes_env.agents.curation.curation import Curation, begin_curation
from deepeyes_env.agents.curation.format_stage import label_format
from deepeyes_env.agents.curation.keep import Keep
from deepeyes_env.agents.curation.kept import PRESETS, Kept, parse_keep, write_kept
from deepeyes_env.agents.curation.label_file import COLUMNS, STAGES, Labelled, LabelTable
from deepeyes_env.agents.curation.label_stage import label_answers, take_decisions
from deepeyes_env.agents.curation.model_stages import label_by_model
from deepeyes_env.agents.curation.report import write_report

__all__ = [
    "COLUMNS",
    "PRESETS",
    "STAGES",
    "Asking",
    "Curation",
    "Keep",
    "Kept",
    "LabelTable",
    "Labelled",
    "begin_curation",
    "label_answers",
    "label_by_model",
    "label_format",
    "parse_keep",
    "take_decisions",
    "write_kept",
    "write_report",
]
