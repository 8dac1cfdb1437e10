"""Runs as files of other tools: for training elsewhere, and for other evaluations."""

from deepeyes_env.conversation import Calls, ChatMessage
from deepeyes_env.trajectories.export.conversation import Conversation, conversation_of
from deepeyes_env.trajectories.export.export import Contents, Export, check, export
from deepeyes_env.trajectories.export.formats import FORMATS, Format, Sheet, register_export
from deepeyes_env.trajectories.export.selection import Selection

__all__ = [
    "FORMATS",
    "Calls",
    "ChatMessage",
    "Contents",
    "Conversation",
    "Export",
    "Format",
    "Selection",
    "Sheet",
    "check",
    "conversation_of",
    "export",
    "register_export",
]
