"""Protocols by name: the original's v1 to v5, DeepEyesV2's, native tool calls, no protocol, and a user's own."""

from __future__ import annotations

from typing import TypeAlias

from deepeyes_env.errors import UsageTypeError
from deepeyes_env.protocols.deepeyes_v2 import DeepEyesV2Protocol
from deepeyes_env.protocols.native import NativeProtocol
from deepeyes_env.protocols.plain import PlainProtocol
from deepeyes_env.protocols.protocol import Protocol
from deepeyes_env.protocols.tagged import TaggedProtocol
from deepeyes_env.protocols.tags import TOOL_RESPONSE
from deepeyes_env.protocols.template import PromptTemplate
from deepeyes_env.registry import Registry, letters_and_digits

ProtocolLike: TypeAlias = str | Protocol
"""A registered protocol's name, or a protocol."""

V1 = TaggedProtocol(keep="first")
"""``VisualToolbox-v1``: JSON in ``<tool_call>`` tags; the first call of a message is run."""

_WITHIN = PromptTemplate(observation=TOOL_RESPONSE.around("{{ results }}{{ instructions }}"))
"""As the original's v2 and v4 reply: what the row asks for stands within the tags."""

_EACH = PromptTemplate(
    result=TOOL_RESPONSE.around("\n{{ result }}\n") + "\n", observation="{{ results }}{{ instructions }}"
)
"""As the original's v5 replies: a tag a call, then what the row asks for."""

V2 = TaggedProtocol(keep="last", row_reply=_WITHIN)
"""``VisualToolbox-v2``, the default: JSON in ``<tool_call>`` tags; the last call of a message is run."""

V3 = TaggedProtocol(opening="```json", closing="```", style="flat", keep="last", explain=False)
"""``VisualToolbox-v3``: a fenced json block that names a ``function``; tools are explained after the question."""

V4 = TaggedProtocol(style="flat", keep="last", explain=False, row_reply=_WITHIN)
"""``VisualToolbox-v4``: as ``V3``, in ``<tool_call>`` tags."""

V5 = TaggedProtocol(keep="first", max_calls=3, row_reply=_EACH)
"""``VisualToolbox-v5``: as ``V2``; the first three calls of a message are run."""

PROTOCOLS: Registry[Protocol] = Registry("protocol", spelling=letters_and_digits, of=Protocol)
"""Every protocol that has a name."""

register_protocol = PROTOCOLS.register
"""Make a protocol known by a name, ``register_protocol("mine", MyProtocol())``; see ``Registry.register``."""


def get_protocol(protocol: ProtocolLike) -> Protocol:
    """Look a protocol up by name; a protocol comes back as it is.

    Raises:
        UnknownNameError: No protocol has that name; the message has the nearest one.
        UsageTypeError: ``protocol`` is neither a name nor a protocol.
    """
    if isinstance(protocol, Protocol):
        return protocol
    if not isinstance(protocol, str):
        raise UsageTypeError(f"{protocol!r} is not a protocol; give a name, or an instance of a subclass of Protocol")
    return PROTOCOLS.get(protocol)


for _name, _protocol in {
    "v1": V1,
    "v2": V2,
    "v3": V3,
    "v4": V4,
    "v5": V5,
    "deepeyes_v2": DeepEyesV2Protocol(),
    "native": NativeProtocol(),
    "plain": PlainProtocol(),
}.items():
    register_protocol(_name, _protocol)
PROTOCOLS.protect()
