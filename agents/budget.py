"""Budget: how much of a conversation a model is sent; and the ledger of what it was sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from deepeyes_env.agents.families import FAMILIES, ModelFamily
from deepeyes_env.envs.limits import approximate_tokens
from deepeyes_env.errors import UsageError

Policy: TypeAlias = Literal["refuse", "drop", "shrink"]
"""What happens when a conversation outgrows its budget.

``refuse``: the episode fails with an ``AgentError``. ``drop``: the oldest crops are left out.
``shrink``: all crops are made smaller, only as far as is needed; what still does not fit is left out, oldest first.
"""

POLICIES: tuple[Policy, ...] = ("refuse", "drop", "shrink")


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a request may hold.

    Attributes:
        max_tokens: Most tokens of a request, text and images: the model's context less the longest reply. ``None``: no
            limit.
        max_images: Most images of a request; ``None``: no limit.
        policy: What to do about a conversation that holds more; see ``Policy``.
        family: What an image costs; Qwen2.5-VL by default.
        count_tokens: Counts the tokens of a text: an estimate by default, a tokenizer's if exactness matters.

    Raises:
        ValueError: A limit is less than 1, or the policy is unknown.
    """

    max_tokens: int | None = None
    max_images: int | None = None
    policy: Policy = "refuse"
    family: ModelFamily = FAMILIES["qwen2_5_vl"]
    count_tokens: Callable[[str], int] = approximate_tokens

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_images"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise UsageError(f"{name}={limit}: must be at least 1, or None for no limit")
        if self.policy not in POLICIES:
            raise UsageError(f"policy={self.policy!r}: must be one of {', '.join(POLICIES)}")


@dataclass(frozen=True, slots=True)
class Entry:
    """What one request held.

    Attributes:
        text_tokens: Tokens of texts, marks and overhead.
        visual_tokens: Tokens of images.
        images: Number of images.
        dropped: Images left out, by their number in the conversation from 0, the sample's own included.
        shrunk: Images made smaller: ``(number, width, height)``.
    """

    text_tokens: int
    visual_tokens: int
    images: int
    dropped: tuple[int, ...] = ()
    shrunk: tuple[tuple[int, int, int], ...] = ()

    @property
    def tokens(self) -> int:
        """All tokens of the request."""
        return self.text_tokens + self.visual_tokens


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the requests of an episode held, and what they were allowed to hold.

    Attributes:
        policy: See ``Policy``.
        max_tokens: See ``Budget``.
        max_images: See ``Budget``.
        requests: One entry for each message that the agent was asked for.
    """

    policy: Policy
    max_tokens: int | None
    max_images: int | None
    requests: tuple[Entry, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the ledger as JSON-able objects."""
        return asdict(self)

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Ledger:
        """Read what ``as_json`` wrote, also after a trip through a file."""
        entries = (
            Entry(**{**each, "dropped": tuple(each["dropped"]), "shrunk": tuple(map(tuple, each["shrunk"]))})
            for each in written["requests"]
        )
        return cls(**{**written, "requests": tuple(entries)})
