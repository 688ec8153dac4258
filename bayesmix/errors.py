"""The errors and warnings a user can meet, split by what to do about them."""

import os
import warnings

PACKAGE = os.path.join(os.path.dirname(__file__), "")


class BayesmixError(Exception):
    """Base of every error bayesmix raises on purpose."""

    exit_code = 1


class InputError(BayesmixError, ValueError):
    """What was given is not what is needed: a table, a card, an argument, a file."""

    exit_code = 2

    def __init__(self, problem: str, *, expected: str, got: object, advice: str = ""):
        self.expected = expected
        self.got = got
        self.advice = advice
        super().__init__(f"{problem}: expected {expected}, got {got}. {advice}".rstrip())


class DiagnosticsError(BayesmixError):
    """The computation ran to its end, but its diagnostics say not to trust it (raised with ``strict=True``)."""

    exit_code = 3


class InfeasibleError(InputError):
    """No mixture satisfies all the constraints."""

    exit_code = 4


class WorkerError(BayesmixError):
    """Work that was given to other processes did not come back."""

    exit_code = 6


class DataWarning(UserWarning):
    """The runs are usable, but something about them limits what can be learned."""


class DiagnosticsWarning(UserWarning):
    """A result is numerically doubtful: chains disagree, an optimiser stopped early."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn of what the caller of this package wrote: at the innermost line that is not the package's own."""
    warnings.warn(message, category, skip_file_prefixes=(PACKAGE,))
