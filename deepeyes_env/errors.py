"""Every error of this package; all are a ``DeepEyesError``.

    DeepEyesError
    ├── UsageError              an argument, an option or a setting is wrong
    │   ├── UnknownNameError    nothing is registered under that name
    │   ├── UsageTypeError      an argument has the wrong type; also a ``TypeError``
    │   └── ToolSetupError      a tool has not what it runs on
    ├── MissingExtraError       an optional dependency is not installed
    ├── DataError               a file or a row holds what cannot be used
    │   ├── RowError            one row of a data file
    │   ├── RecordError         one recorded trajectory
    │   └── UnexportableError   one episode has no place in a format
    ├── ImageError              an image cannot be read
    ├── ToolError               a tool refuses
    │   ├── ArgumentError       because of the arguments of the call
    │   ├── ToolTimeoutError    it did not return in time
    │   └── ToolExitError       it tried to end the process
    ├── ToolServerError         a server of tools cannot be reached, or what it says of its tools is of no use
    ├── RayLostError            Ray's own process on this machine has ended
    └── JudgeError              a judge could not be reached or understood
        ├── ScoringError          for some trajectories of a batch (``deepeyes_env.rewards.rubric`` raises it)
        └── UnreadableReplyError  a judging model's reply is no judgement

Agents and trainers add ``AgentError``, ``CheckpointError`` and the like under the same base. What the *policy* gets
wrong is no error: it becomes an observation, and a record in ``info``.
"""

from __future__ import annotations


class DeepEyesError(Exception):
    """The base of all errors of this package; the message says what is wrong and how to mend it."""


class UsageError(DeepEyesError, ValueError):
    """An argument, an option or a setting is wrong; the message names it, its value and the remedy."""


class UnknownNameError(UsageError, LookupError):
    """Nothing is registered under that name; the message has the nearest name and all known ones."""


class UsageTypeError(UsageError, TypeError):
    """An argument has the wrong type, or there is no such argument; the message says what is accepted."""


class ToolSetupError(UsageError):
    """A tool has not what it runs on, whatever is asked of it; the message has the remedy.

    Raised while a tool opens or runs, it is raised to the user: the policy can do nothing about it.
    """


class MissingExtraError(DeepEyesError, ImportError):
    """An optional dependency is not installed; the message has the command that installs it."""


class DataError(DeepEyesError, ValueError):
    """A data file holds something that cannot be used; the message names file, row and reason."""


class RowError(DataError):
    """One row of a data file cannot be used.

    Attributes:
        file: The file.
        row: The row in it, counted from 0 without a header line.
        reason: What is wrong with it.
    """

    def __init__(self, file: str, row: int, reason: str) -> None:
        super().__init__(file, row, reason)
        self.file = file
        self.row = row
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.reason}"


class RecordError(DataError):
    """A record does not have the form of a trajectory; the message names the field."""


class UnexportableError(DataError):
    """An episode has no place in a format; the message is the reason, in a few words."""


class ImageError(DeepEyesError, ValueError):
    """An image cannot be read; the message names it."""


class ToolError(DeepEyesError, ValueError):
    """A tool refuses; the message tells the policy why and how to do better."""


class ArgumentError(ToolError):
    """Arguments that do not fit a tool; the message tells the policy what would."""


class ToolTimeoutError(ToolError):
    """A tool did not return in time: it was given up, and the episode with it."""


class ToolExitError(ToolError):
    """A tool tried to end the process, as ``sys.exit`` does: the episode is given up, and the process goes on."""


class ToolServerError(DeepEyesError, RuntimeError):
    """A server of tools cannot be reached, or what it says of its tools is of no use; the message names the server."""


class RayLostError(DeepEyesError, RuntimeError):
    """Ray's own process on this machine has ended: no actor can be asked or replaced."""


class JudgeError(DeepEyesError, RuntimeError):
    """A judge could not be reached, or its reply could not be understood: there is no verdict, not even a zero."""


class UnreadableReplyError(JudgeError):
    """A reply of the judging model is not a judgement."""
