"""What tables and plots call the figures of a run: one name for each, wherever it is shown."""

ACCURACY = "accuracy"
REWARD = "reward"
TOOL_USE_RATE = "tool-use rate"
ZOOM_RATE = "zoom rate"
BEST_IOU = "IoU of the best zoom box"
TOOL_CALLS = "tool calls per episode"
FAILED_CALLS = "failed calls"
UNKNOWN_TOOLS = "prompts that name unknown tools"
TURNS = "turns per episode"
RESPONSE_TOKENS = "response tokens per episode"
ENDED_BY = "ended by"


def capitalised(text: str) -> str:
    """Return a label or a sentence with its first letter a capital."""
    return text[:1].upper() + text[1:]
