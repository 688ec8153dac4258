"""`Finding`: one result of `lint` about a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

type Severity = Literal["fail", "review", "info"]


@dataclass(frozen=True)
class Finding:
    """One result of the checks of a table of runs.

    Attributes:
        code: short name that stays the same from version to version.
        severity: `fail` (refused or misleading as it is), `review` (decide whether it matters) or
            `info`.
        message: description of the finding, in a sentence.
        advice: remedy, in a sentence.
        count: number of rows, values, domains or targets that it concerns.
    """

    code: str
    severity: Severity
    message: str
    advice: str
    count: int
