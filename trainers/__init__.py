"""Where policies will learn: advantage estimators and losses, a GRPO trainer on Ray, adapters to verl and TRL."""
