"""The commands that let a policy play: ``rollout``, ``play``, ``eval``, ``compare``, ``view``."""
