"""Runs pieces of code, each in a process of its own that has the package imported already: a fork.

    python -m tests.docs.fork_server

reads jobs from standard input, a JSON object a line (``code``, ``name``, ``folder``, ``log``, ``seconds``), and writes
the exit status of each. To import the package takes longer than most code blocks of the documentation do.
"""

import json
import os
import signal
import sys
import types

import gymnasium  # noqa: F401

import deepeyes_env  # noqa: F401


def run(job: dict) -> None:
    """Run a piece of code as a script in its folder, with what it prints in a log."""
    signal.alarm(job["seconds"])
    os.chdir(job["folder"])
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(job["code"], job["name"], "exec"), main.__dict__)


def serve() -> None:
    """Run jobs until there are no more."""
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if not child:
            run(json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
