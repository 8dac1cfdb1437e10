"""Environments: ``VisualToolboxEnv``, its variants, wrappers, and many of them at once."""

from deepeyes_env.envs.limits import Limits
from deepeyes_env.envs.registration import register_builtin
from deepeyes_env.envs.snapshot import Snapshot
from deepeyes_env.envs.toolbox import Toolbox, get_toolbox, register_toolbox, toolbox_of
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv

register_builtin()

__all__ = ["Limits", "Snapshot", "Toolbox", "VisualToolboxEnv", "get_toolbox", "register_toolbox", "toolbox_of"]
