"""Runs RL Logging Board's own page over the episodes of a run, and prints what it read."""

import json
import sys
from pathlib import Path

from streamlit.testing.v1 import AppTest

board, root = map(Path, sys.argv[1:])
page = AppTest.from_file(str(board / "rl_logging_board.py"), default_timeout=300).run()
page.text_input[0].set_value(str(root)).run()
page.selectbox[0].set_value("logging_board").run()
next(button for button in page.button if button.label == "Load & View").click().run()
data = page.session_state["logging_data"]
result = {
    "errors": [str(error.value) for error in (*page.exception, *page.error)],
    "toast": [toast.value for toast in page.toast],
    "steps": {step: len(row["prompt"]) for step, row in data.items()},
    "tokens": [length for row in data.values() for length in row["response_tokens_len"]],
    "rewards": [reward for row in data.values() for reward in row["reward"]],
    "tables": len(page.dataframe),
}
print(json.dumps(result))
