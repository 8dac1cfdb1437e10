"""GRPO and its relatives on one machine: rollouts through vector environments, one generator, one learner."""

from deepeyes_env.extras import require_extra

require_extra("train", "torch", "transformers", "yaml")
