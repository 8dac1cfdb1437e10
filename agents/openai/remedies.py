"""What to do about a server that refuses a request, told from its status and its own words."""

from __future__ import annotations

import re

_KEY = "give the right api_key, or set OPENAI_API_KEY"
NO_STOP = "if it cannot take stop strings, as `transformers serve` cannot: --no-stop, in Python stop=()"
"""The remedy for a server that fails without a reason on requests with stop strings."""

_BY_WORDS = (
    (
        r"max_completion_tokens",
        "--max-tokens none sends no limit, in Python max_tokens=None; extra={'max_completion_tokens': N} sends one",
    ),
    (r"\btemperature\b", "--temperature none sends none, in Python temperature=None"),
    (r"\bstop(_strings?|_sequences?|_words?)?\b", "--no-stop sends no stop strings, in Python stop=()"),
    (
        r"at most \d+ \w*images?|limit[-_]mm[-_]per[-_]prompt|too many images",
        "start the server with a higher limit (vLLM: --limit-mm-per-prompt '{\"image\": 32}'), or bound the images of "
        "a request: --tools off, in Python budget=Budget(max_images=N, overflow='drop')",
    ),
)


def remedy(status: int, words: str) -> str:
    """Return what helps against a refusal; empty if that is not known.

    Args:
        status: HTTP status.
        words: What the server said.
    """
    if status in (401, 403):
        return _KEY
    return next((advice for pattern, advice in _BY_WORDS if re.search(pattern, words[:2000], re.IGNORECASE)), "")
