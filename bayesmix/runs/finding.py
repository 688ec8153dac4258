"""`Finding`: one thing `lint` has to say about a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

type Severity = Literal["fail", "review", "info"]


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing about a table of runs.

    Attributes:
        code: a short name that stays the same from version to version.
        severity: `fail` (refused or misleading as it is), `review` (decide whether it matters) or
            `info`.
        message: what was found.
        advice: what to do about it.
        count: how many rows, values, domains or targets it concerns.
    """

    code: str
    severity: Severity
    message: str
    advice: str
    count: int
