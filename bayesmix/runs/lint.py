"""`lint`: checks of a table of runs, before a model is fitted to it."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from bayesmix.runs.checks import all_findings
from bayesmix.runs.finding import Finding
from bayesmix.runs.io import runs_columns
from bayesmix.runs.lenient import lenient
from bayesmix.runs.runs import Runs

WIDTH = 80


@dataclass(frozen=True)
class LintReport:
    """The findings of `lint`, the gravest first; prints as a table of 80 columns."""

    rows: int
    domains: tuple[str, ...]
    targets: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether a finding says that the table should not be fitted as it is."""
        return any(f.severity == "fail" for f in self.findings)

    def of(self, code: str) -> Finding | None:
        """The finding of that code, or None."""
        return next((f for f in self.findings if f.code == code), None)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            "rows": self.rows,
            "domains": list(self.domains),
            "targets": list(self.targets),
            "failed": self.failed,
            "findings": [asdict(f) for f in self.findings],
        }

    def __str__(self) -> str:
        head = f"{self.rows} rows, {len(self.domains)} domains, {len(self.targets)} targets: "
        if not self.findings:
            return head + "nothing to report"
        kinds = {s: sum(f.severity == s for f in self.findings) for s in ("fail", "review", "info")}
        return "\n".join(
            [
                head + ", ".join(f"{n} {s}" for s, n in kinds.items() if n),
                *map(_entry, self.findings),
            ]
        )


def _entry(finding: Finding) -> str:
    head = f"{finding.severity:<7}{finding.code:<23}{finding.count:>6}  "
    body = textwrap.wrap(finding.message, WIDTH - 9) + textwrap.wrap(
        f"-> {finding.advice}", WIDTH - 9
    )
    return "\n".join([head.rstrip(), *(" " * 9 + line for line in body)])


def lint(runs: Runs | pd.DataFrame) -> LintReport:
    """Look for properties of a table that spoil a fit.

    Repeats, broken rows, unidentified exponents, constant domains, pseudo-replicates. Works on
    tables that `load_runs` refuses, and gives the reason.

    Args:
        runs: loaded runs, or a table with the contract's column names as `read_table` gives it.

    Returns:
        The findings. `fail`: the table would be refused or would mislead the fit; `review`: decide
        whether it matters; `info`: worth knowing.
    """
    frame = (
        pd.DataFrame(runs_columns(runs)) if isinstance(runs, Runs) else runs.reset_index(drop=True)
    )
    table, broken = lenient(frame)
    findings = [*broken, *all_findings(table)]
    rank = {"fail": 0, "review": 1, "info": 2}
    findings.sort(key=lambda f: rank[f.severity])
    return LintReport(len(frame), table.domains, table.targets, tuple(findings))
