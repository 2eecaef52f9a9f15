"""The errors of the harness and the exit code of each.

MdhError                    4   anything the harness itself reports
├── UsageError              2   the request is wrong: unknown name, bad file, impossible combination
├── GateFailed              1   the gate ran and the candidate did not pass
├── Inconclusive            3   the gate ran and the data cannot decide
└── RunError                4   the work failed: disk, model, data, plugin
    └── ProviderError       4   a paid or remote service failed

An unexpected exception is 4 as well, never 1, and so is a `sys.exit` of code that is not ours; a
signal is 128 and its number, so an interrupt is 130.  Every message is one line:
what is wrong, where, and the next move.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "GateFailed",
    "Inconclusive",
    "Interrupted",
    "MdhError",
    "ProviderError",
    "RunError",
    "UsageError",
    "did_you_mean",
    "first_line",
    "is_interrupt",
]


class MdhError(Exception):
    """Root of the tree: a failure that the harness can explain in one line.

    `message` says what is wrong and where; `hint` says the next move.
    """

    exit_code = 4

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(MdhError):
    """The request cannot be carried out as it was written."""

    exit_code = 2


class GateFailed(MdhError):
    """The gate ran and the candidate did not pass."""

    exit_code = 1


class Inconclusive(MdhError):
    """The gate ran and the data cannot decide."""

    exit_code = 3


class RunError(MdhError):
    """The work itself failed; what was finished stays in the store."""


class ProviderError(RunError):
    """A paid or remote service failed."""


class Interrupted(KeyboardInterrupt):
    """A signal asked the program to end: Ctrl-C, SIGTERM, SIGHUP."""

    handled = False
    """True where the command line's own handlers raise this, so that nothing else is a signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.exit_code = 128 + signal_number


def is_interrupt(error: BaseException) -> bool:
    """Say whether `error` comes from a signal and not from code that raised KeyboardInterrupt."""
    if Interrupted.handled:
        return isinstance(error, Interrupted)
    return isinstance(error, KeyboardInterrupt)


def did_you_mean(unknown: str, known: Iterable[str], *, most: int = 3) -> str:
    """Return "Did you mean 'x'?" for the nearest known names, or the list of a few known names."""
    names = sorted(set(known))
    near = difflib.get_close_matches(unknown, names, n=most, cutoff=0.6)
    if near:
        return "Did you mean " + " or ".join(repr(name) for name in near) + "?"
    if not names:
        return "None are known."
    shown = ", ".join(names[:12])
    return f"Known: {shown}{', …' if len(names) > 12 else ''}."


def first_line(error: BaseException) -> str:
    """Return what stands first in an exception's text, to end a line of our own, cut if long.

    Without the full stop; the name of its type when it says nothing.
    """
    lines = (line.strip(" .\t") for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:300]
