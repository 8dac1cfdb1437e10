"""Protocols: how a model writes calls and answers, and how the environment writes back.

The numbered ones follow the original's toolboxes: what they read and how many calls of a message they run.
"""

from deepeyes_env.protocols.deepeyes_v2 import DeepEyesV2Protocol
from deepeyes_env.protocols.native import (
    RETURNED,
    NativeProtocol,
    portable,
    read_call,
    read_message,
    result_texts,
    without_images,
)
from deepeyes_env.protocols.plain import PlainProtocol
from deepeyes_env.protocols.protocol import (
    MalformedCall,
    ParsedCall,
    ParsedMessage,
    Protocol,
    neutral,
    quote,
    without_marks,
)
from deepeyes_env.protocols.registry import (
    PROTOCOLS,
    V1,
    V2,
    V3,
    V4,
    V5,
    ProtocolLike,
    get_protocol,
    register_protocol,
)
from deepeyes_env.protocols.tagged import TaggedProtocol
from deepeyes_env.protocols.tags import ANSWER, THINK, TOOL_CALL, TOOL_RESPONSE, Tag, after_thought
from deepeyes_env.protocols.template import PromptTemplate

__all__ = [
    "ANSWER",
    "PROTOCOLS",
    "RETURNED",
    "THINK",
    "TOOL_CALL",
    "TOOL_RESPONSE",
    "V1",
    "V2",
    "V3",
    "V4",
    "V5",
    "DeepEyesV2Protocol",
    "MalformedCall",
    "NativeProtocol",
    "ParsedCall",
    "ParsedMessage",
    "PlainProtocol",
    "PromptTemplate",
    "Protocol",
    "ProtocolLike",
    "Tag",
    "TaggedProtocol",
    "after_thought",
    "get_protocol",
    "neutral",
    "portable",
    "quote",
    "read_call",
    "read_message",
    "register_protocol",
    "result_texts",
    "without_images",
    "without_marks",
]
