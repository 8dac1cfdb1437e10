"""Curation: which questions of a data set are worth training on. Its stages label and never delete."""

from deepeyes_env.agents.curation.curation import Curation, begin_curation
from deepeyes_env.agents.curation.format_stage import label_format
from deepeyes_env.agents.curation.keep import Keep
from deepeyes_env.agents.curation.kept import PRESETS, Kept, parse_keep, write_kept
from deepeyes_env.agents.curation.label_file import COLUMNS, STAGES, Labelled, LabelTable

__all__ = [
    "COLUMNS",
    "PRESETS",
    "STAGES",
    "Curation",
    "Keep",
    "Kept",
    "LabelTable",
    "Labelled",
    "begin_curation",
    "label_format",
    "parse_keep",
    "write_kept",
]
