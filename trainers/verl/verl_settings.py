"""verl_settings: whether verl's own configuration takes the settings that it is started with."""

from __future__ import annotations

from collections.abc import Sequence

from deepeyes_env.errors import UsageError
from deepeyes_env.extras import needs_extra


def check_overrides(overrides: Sequence[str]) -> None:
    """Put verl's configuration together as its trainer does, and start nothing.

    Args:
        overrides: Settings, as they stand on its command line.

    Raises:
        UsageError: verl has no such setting, or a value is not written as Hydra reads it.
        MissingExtraError: verl is not installed.
    """
    with needs_extra("verl"):
        import verl.trainer.config
        from hydra import compose, initialize_config_module
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
    try:
        with initialize_config_module(verl.trainer.config.__name__, version_base=None):
            config = compose("ppo_trainer", list(overrides))
        OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(f"verl refuses its settings: {error}") from error
