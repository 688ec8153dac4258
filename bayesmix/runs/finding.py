"""`Finding`: one thing that is found about a table of runs, with its remedy."""

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

    @property
    def remark(self) -> str:
        """Message and advice as one clause, as warnings and lists of advice have them."""
        return "; ".join(
            sentence[:1].lower() + sentence[1:].removesuffix(".")
            for sentence in (self.message, self.advice)
        )
