"""Budget: how much of a conversation goes into a prompt; and the log of what each prompt held."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from deepeyes_env.agents.families import FAMILIES, ModelFamily
from deepeyes_env.envs.limits import approximate_tokens
from deepeyes_env.errors import UsageError

OverflowStrategy: TypeAlias = Literal["refuse", "drop", "shrink"]
"""What happens when a conversation outgrows its budget.

``refuse``: the episode fails with an ``AgentError``. ``drop``: the oldest crops are left out.
``shrink``: all crops are made smaller, only as far as is needed; what still does not fit is left out, oldest first.
"""

OVERFLOW_STRATEGIES: tuple[OverflowStrategy, ...] = ("refuse", "drop", "shrink")


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a request may hold.

    Attributes:
        max_tokens: Most tokens of a request, text and images: the model's context less max new tokens. ``None``: no
            limit.
        max_images: Most images of a request; ``None``: no limit.
        overflow: What to do about a conversation that holds more; see ``OverflowStrategy``.
        family: What an image costs; Qwen2.5-VL by default.
        count_tokens: Counts the tokens of a text: an estimate by default, a tokenizer's if exactness matters.

    Raises:
        UsageError: A limit is less than 1, or the overflow strategy is unknown.
    """

    max_tokens: int | None = None
    max_images: int | None = None
    overflow: OverflowStrategy = "refuse"
    family: ModelFamily = FAMILIES["qwen2_5_vl"]
    count_tokens: Callable[[str], int] = approximate_tokens

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_images"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise UsageError(f"{name}={limit}: must be at least 1, or None for no limit")
        if self.overflow not in OVERFLOW_STRATEGIES:
            raise UsageError(f"overflow={self.overflow!r}: must be one of {', '.join(OVERFLOW_STRATEGIES)}")


@dataclass(frozen=True, slots=True)
class RequestUsage:
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
class ContextLog:
    """What the requests of an episode held, and what they were allowed to hold.

    Attributes:
        overflow: See ``OverflowStrategy``.
        max_tokens: See ``Budget``.
        max_images: See ``Budget``.
        requests: The usage of the request for each of the agent's messages.
    """

    overflow: OverflowStrategy
    max_tokens: int | None
    max_images: int | None
    requests: tuple[RequestUsage, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the log as JSON-able objects."""
        return asdict(self)

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> ContextLog:
        """Read what ``as_json`` wrote, also after a trip through a file."""
        requests = (
            RequestUsage(**{**each, "dropped": tuple(each["dropped"]), "shrunk": tuple(map(tuple, each["shrunk"]))})
            for each in written["requests"]
        )
        return cls(**{**written, "requests": tuple(requests)})
