"""Errors and warnings of the package, by their remedy."""

import os
import warnings

PACKAGE = os.path.join(os.path.dirname(__file__), "")


class BayesmixError(Exception):
    """Base of every error bayesmix raises on purpose."""

    exit_code = 1


class InputError(BayesmixError, ValueError):
    """Invalid input: a table, a card, an argument or a file."""

    exit_code = 2

    def __init__(self, problem: str, *, expected: str, got: object, advice: str = ""):
        self.expected = expected
        self.got = got
        self.advice = advice
        super().__init__(f"{problem}: expected {expected}, got {got}. {advice}".rstrip())


class DiagnosticsError(BayesmixError):
    """The diagnostics of a finished computation fail, so that its result cannot be used.

    Raised with ``strict=True``.
    """

    exit_code = 3


class InfeasibleError(InputError):
    """No mixture satisfies all the constraints."""

    exit_code = 4


class WorkerError(BayesmixError):
    """Tasks that were given to other processes have no result."""

    exit_code = 6


class DataWarning(UserWarning):
    """The runs are usable, but something about them limits what can be learned."""


class DiagnosticsWarning(UserWarning):
    """A result is numerically doubtful: chains disagree, an optimiser stopped early."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line of the caller: the innermost one that is not the package's own."""
    warnings.warn(message, category, skip_file_prefixes=(PACKAGE,))
