"""Protocols: how a model writes calls and answers, and how the environment writes back.

The numbered ones follow the original's toolboxes: what they read and how many calls of a message they run.
"""

from deepeyes_env.protocols.native import RETURNED, NativeProtocol, read_message, result_texts, without_images
from deepeyes_env.protocols.plain import PlainProtocol
from deepeyes_env.protocols.protocol import MalformedCall, ParsedCall, ParsedMessage, Protocol, neutral, quote
from deepeyes_env.protocols.tagged import TaggedProtocol
from deepeyes_env.protocols.tags import ANSWER, THINK, TOOL_CALL, TOOL_RESPONSE, Tag

V1 = TaggedProtocol(keep="first")
"""``VisualToolbox-v1``: JSON in ``<tool_call>`` tags; the first call of a message is run."""

V2 = TaggedProtocol(keep="last")
"""``VisualToolbox-v2``, the default: JSON in ``<tool_call>`` tags; the last call of a message is run."""

V3 = TaggedProtocol(opening="```json", closing="```", style="flat", keep="last", explain=False)
"""``VisualToolbox-v3``: a fenced json block that names a ``function``; tools are explained after the question."""

V4 = TaggedProtocol(style="flat", keep="last", explain=False)
"""``VisualToolbox-v4``: as ``V3``, in ``<tool_call>`` tags."""

V5 = TaggedProtocol(keep="first", max_calls=3)
"""``VisualToolbox-v5``: as ``V2``; the first three calls of a message are run."""

__all__ = [
    "ANSWER",
    "RETURNED",
    "THINK",
    "TOOL_CALL",
    "TOOL_RESPONSE",
    "V1",
    "V2",
    "V3",
    "V4",
    "V5",
    "MalformedCall",
    "NativeProtocol",
    "ParsedCall",
    "ParsedMessage",
    "PlainProtocol",
    "Protocol",
    "Tag",
    "TaggedProtocol",
    "neutral",
    "quote",
    "read_message",
    "result_texts",
    "without_images",
]
