"""GRPO and its relatives on one machine: rollouts through vector environments, one generator, one learner."""
