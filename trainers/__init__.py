"""Training: advantage estimators, policy losses, a GRPO trainer, the tiny policy, and the tracking of runs."""
