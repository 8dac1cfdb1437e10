"""The options ``--prompt`` and ``--prompt-template``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepeyes_env.envs.prompt_files import read_prompt_template
from deepeyes_env.envs.row_prompt import check_prompt_source


def prompt_kwargs(prompt: str, template: Path | None) -> dict[str, Any]:
    """Return the options as arguments of an environment, but for those that are as ever: older runs lack them.

    Raises:
        UnknownNameError: ``prompt`` is unknown.
        DataError: The file cannot be read, or is no template.
    """
    check_prompt_source(prompt)
    chosen = {} if prompt == "auto" else {"prompt": prompt}
    return {**chosen, **({} if template is None else {"prompt_template": read_prompt_template(template).parts()})}
