"""What an attack is."""

from typing import NamedTuple

DENIED = r"denied"


class Attack(NamedTuple):
    name: str
    code: str
    expected: str = DENIED
    slow: bool = False
    seconds: float = 30.0
    poisons: bool = False  # the session is of no more use to its own program


def tries(statement, name, expected=DENIED, before="", slow=False):
    """An attack that one statement is: if it raises, it is denied."""
    body = "\n    ".join(statement.split("\n"))
    code = f"import os, sys, ctypes, socket, signal\n{before}\ntry:\n    {body}\n    print('ESCAPED')\n"
    return Attack(
        name, code + "except BaseException as error:\n    print('denied', type(error).__name__)\n", expected, slow
    )


def calls(call, name, before=""):
    """An attack that is a call of libc, which says -1 if it is denied."""
    code = f"import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n{before}\n"
    return Attack(name, code + f"print('ESCAPED' if {call} >= 0 else 'denied', ctypes.get_errno())")
