"""A cold start: supervised fine-tuning on transcripts, with TRL's ``SFTTrainer`` and labels of our own."""

from deepeyes_env.trainers.sft.config import SFTSettings, load_settings
from deepeyes_env.trainers.sft.examples import Example, Reply
from deepeyes_env.trainers.sft.plan import Plan, check

__all__ = ["Example", "Plan", "Reply", "SFTSettings", "check", "load_settings"]
