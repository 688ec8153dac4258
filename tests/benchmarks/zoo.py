"""Make docs/zoo.md: the laws of other papers on published runs. Run with `uv run python -m tests.benchmarks.zoo`.

Every fit is kept in the folder given with --cache, so that an interrupted run goes on where it
stopped. Where laws are named, theirs are the rows made anew; those of the others stay as the page
has them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bayesmix.laws.base import Law
from bayesmix.laws.bimix import BiMix
from bayesmix.laws.capacity import Capacity
from bayesmix.laws.dcpt import DCPT
from bayesmix.laws.exponential import Exponential
from bayesmix.laws.full import Full
from bayesmix.laws.simple import Simple
from bayesmix.posterior.posterior import Posterior
from bayesmix.runs import Runs
from bayesmix.runtime.compute import keep_compiled_programs
from bayesmix.runtime.files import atomic_write
from tests.benchmarks.results import ROOT, alone, fitted, mre, slimpajama

LAWS: tuple[Law[Any], ...] = (Simple(), Exponential(), BiMix(), DCPT(), Capacity(), Full())
PAGE = ROOT / "docs" / "zoo.md"
HEAD = """\
| law | R-hat | ESS | divergences | steps a draw | steps, worst | targets that fail | MRE % |
|---|---:|---:|---:|---:|---:|---|---:|"""
APART = """\
| law, target | R-hat | log density, by chain | chains are furthest apart in | its mean, by chain | its sd in a chain |
|---|---:|---|---|---|---:|"""
FAILING = (
    "† Not to be relied on: these targets fail, after chains went on twice. Where chains fall into"
    " groups, further apart than the draws of a chain spread, the posterior has several modes,"
    " between which NUTS does not move; log densities say how much higher one lies, in nats, not"
    " how much of the posterior it holds."
)


def rows(law: Law[Any], runs: Runs, cache: Path) -> list[str]:
    """The row of the law, then those of its targets that fail."""
    posterior = fitted(cache, f"slimpajama-{law.name}", alone(law), runs)
    failing = [apart(posterior, i) for i, t in enumerate(posterior.diagnostics.targets) if t.fails]
    return [row(posterior, runs), *failing]


def row(posterior: Posterior, runs: Runs) -> str:
    """Diagnostics of the worst target, and the error on the fitted runs."""
    law, found = posterior.model.law, posterior.diagnostics.targets
    error = mre(posterior.loss(runs.designs).mean, runs.loss)
    failed = ", ".join(t.target for t in found if t.fails) or "none"
    return (
        f"| {law.name} | {max(t.rhat for t in found):.3f} |"
        f" {min(min(t.ess_bulk, t.ess_tail) for t in found):.0f} |"
        f" {sum(t.divergences for t in found)} | {np.mean([t.steps for t in found]):.0f} |"
        f" {max(t.steps for t in found):.0f} | {failed} |"
        f" {error.mean():.2f}{'' if failed == 'none' else '†'} |"
    )


def apart(posterior: Posterior, target: int) -> str:
    """What chains that disagree disagree on."""
    found = posterior.diagnostics.targets[target]
    density = -posterior.stats["potential"][:, :, target].mean(axis=1)
    _, site, means, sd = max(_separations(posterior, target), key=lambda one: one[0])
    densities, by_chain = (
        ", ".join(f"{x:.1f}" for x in density),
        ", ".join(f"{x:.3f}" for x in means),
    )
    law = posterior.model.law.name
    return (
        f"| {law}, {found.target} | {found.rhat:.2f} | {densities} | `{site}` | {by_chain} |"
        f" {sd:.3f} |"
    )


def _separations(
    posterior: Posterior, target: int
) -> Iterator[tuple[float, str, np.ndarray, float]]:
    """Of every parameter: how many of its sds the means of chains spread over, its name, those means and that sd."""
    for site, draws in posterior.draws.items():
        own = draws[:, :, target].reshape(*draws.shape[:2], -1)
        means, sds = own.mean(axis=1), own.std(axis=1).mean(axis=0)
        for k, (spread, sd) in enumerate(zip(np.ptp(means, axis=0), sds, strict=True)):
            name = site if own.shape[2] == 1 else f"{site}[{k}]"
            yield float(spread / sd), name, means[:, k], float(sd)


def kept(law: Law[Any]) -> list[str]:
    """The rows of a law that the page has."""
    lines = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    return [line for line in lines if line.startswith((f"| {law.name} |", f"| {law.name}, "))]


def main() -> None:
    """Fit everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "results")
    parser.add_argument(
        "--laws", nargs="+", choices=[law.name for law in LAWS], default=[law.name for law in LAWS]
    )
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    keep_compiled_programs()
    runs = slimpajama()
    made = {
        law.name: rows(law, runs, options.cache) if law.name in options.laws else kept(law)
        for law in LAWS
    }
    missing = [f"`{name}`" for name, lines in made.items() if not lines]
    failing = [line for lines in made.values() for line in lines[1:]]
    sections = [
        "# The other laws on published runs",
        (
            "Made by `uv run python -m tests.benchmarks.zoo` from a table that is not part of the"
            " project (`tests/benchmarks/results.py` says where it is expected)."
        ),
        (
            f"slimpajama, the paper's window: {len(runs)} points, {len(runs.targets)} targets, 4"
            " chains × 1000 draws, without drift. R-hat and ESS are those of the worst target,"
            " divergences those of all; MRE is the mean of |posterior mean − measured| / measured"
            " on the fitted runs, in percent, over all targets. D-CPT learns which domains are the"
            " target's own, so all seven stay."
        ),
        "\n".join([HEAD, *(lines[0] for lines in made.values() if lines)]),
        *([FAILING, "\n".join([APART, *failing])] if failing else []),
        *([f"Not fitted yet: {', '.join(missing)}."] if missing else []),
    ]
    with atomic_write(PAGE) as draft:
        draft.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
