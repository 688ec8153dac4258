"""`lint`: checks of a table of runs, before a model is fitted to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from bayesmix.runs.checks import all_findings
from bayesmix.runs.finding import Finding
from bayesmix.runs.lenient import LenientTable, lenient
from bayesmix.runs.runs import Runs
from bayesmix.text import wrapped


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
    body = [*wrapped(finding.message, 9, 9), *wrapped(f"-> {finding.advice}", 9, 9)]
    return "\n".join([head.rstrip(), *body])


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
    table, broken = (
        (LenientTable.of(runs), [])
        if isinstance(runs, Runs)
        else lenient(runs.reset_index(drop=True))
    )
    findings = [*broken, *all_findings(table)]
    rank = {"fail": 0, "review": 1, "info": 2}
    findings.sort(key=lambda f: rank[f.severity])
    return LintReport(len(table), table.domains, table.targets, tuple(findings))
