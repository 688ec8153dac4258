"""Make docs/zoo.md: the laws of other papers on published runs. Run with `uv run python -m tests.benchmarks.zoo`.

Every fit is kept in the folder given with --cache, so that an interrupted run goes on where it stopped. Where laws are
named, theirs are the rows made anew; those of the others stay as the page has them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from bayesmix.compute import keep_compiled_programs
from bayesmix.files import atomic_write
from bayesmix.laws.base import Law
from bayesmix.laws.bimix import BiMix
from bayesmix.laws.capacity import Capacity
from bayesmix.laws.dcpt import DCPT
from bayesmix.laws.exponential import Exponential
from bayesmix.laws.full import Full
from bayesmix.laws.simple import Simple
from tests.benchmarks.results import ROOT, alone, fitted, mre, slimpajama

LAWS: tuple[Law[Any], ...] = (Simple(), Exponential(), BiMix(), DCPT(), Capacity(), Full())
PAGE = ROOT / "docs" / "zoo.md"
HEAD = """\
| law | R-hat | ESS | divergences | steps a draw | steps, worst | targets that fail | MRE % |
|---|---:|---:|---:|---:|---:|---|---:|"""


def row(law: Law[Any], cache: Path) -> str:
    """Diagnostics of the worst target, and the error on the fitted runs."""
    runs = slimpajama()
    posterior = fitted(cache, f"slimpajama-{law.name}", alone(law), runs)
    found = posterior.diagnostics.targets
    error = mre(posterior.loss(runs.designs).mean, runs.loss)
    failed = ", ".join(t.target for t in found if t.fails) or "none"
    return (
        f"| {law.name} | {max(t.rhat for t in found):.3f} | {min(min(t.ess_bulk, t.ess_tail) for t in found):.0f} "
        f"| {sum(t.divergences for t in found)} | {np.mean([t.steps for t in found]):.0f} "
        f"| {max(t.steps for t in found):.0f} | {failed} | {error.mean():.2f} |"
    )


def kept() -> dict[str, str]:
    """Law → its row of the page, where there is one."""
    lines = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    return {law.name: line for law in LAWS for line in lines if line.startswith(f"| {law.name} |")}


def main() -> None:
    """Fit everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "results")
    parser.add_argument("--laws", nargs="+", choices=[law.name for law in LAWS], default=[law.name for law in LAWS])
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    keep_compiled_programs()
    runs, rows = slimpajama(), kept()
    rows |= {law.name: row(law, options.cache) for law in LAWS if law.name in options.laws}
    missing = [f"`{law.name}`" for law in LAWS if law.name not in rows]
    sections = [
        "# The other laws on published runs",
        "Made by `uv run python -m tests.benchmarks.zoo` from a table that is not part of the project "
        "(`tests/benchmarks/results.py` says where it is expected).",
        f"slimpajama, the paper's window: {len(runs)} points, {len(runs.targets)} targets, 4 chains × 1000 draws, "
        "without drift. R-hat and ESS are those of the worst target, divergences those of all; MRE is the mean of "
        "|posterior mean − measured| / measured on the fitted runs, in percent, over all targets. D-CPT learns which "
        "domains are the target's own, so all seven stay.",
        "\n".join([HEAD, *(rows[law.name] for law in LAWS if law.name in rows)]),
        *([f"Not fitted yet: {', '.join(missing)}."] if missing else []),
    ]
    with atomic_write(PAGE) as draft:
        draft.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
