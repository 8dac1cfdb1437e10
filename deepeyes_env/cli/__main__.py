"""``python -m deepeyes_env.cli`` is the ``deepeyes`` command."""

from deepeyes_env.cli import main

main()
