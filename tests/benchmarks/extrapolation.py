"""Make docs/extrapolation.md: how far laws have missed beyond the sizes they were fitted to, and the prior of that.

Run with `uv run python -m tests.benchmarks.extrapolation`. It needs the tables of ../shared/data,
which are not part of the project. Refits are those of `bayesmix.misses`, which the model makes of
the user's own table too. What each table gave is kept in the folder given with --cache.
"""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import norm

from bayesmix.inference.prequential import BETWEEN, SITE, TEMPER, Misses, misses, weigh
from bayesmix.laws.additive import Additive
from bayesmix.laws.base import Law
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.model.discrepancy import Discrepancy
from bayesmix.model.model import Model
from bayesmix.runs.load import load_runs
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import keep_compiled_programs
from tests.benchmarks.calibration import DATA, ROOT, slimpajama

LEFT_OUT = ("mlp_teacher_student", "cifar5m_ladder")
"""Tables of the suite that are of other things than sequences, and of no use for a prior of losses."""


class Record(NamedTuple):
    """The misses of one table."""

    table: str
    setup: str
    misses: Misses


def tables() -> Iterator[tuple[str, Law, Callable[[], Runs]]]:
    """Name, law and loader; rows of fewer than two tokens a parameter are left out, where laws break."""

    def full(path: str | Path, where: str | None = None) -> Callable[[], Runs]:
        def load() -> Runs:
            runs = load_runs(path, where=where)
            return runs.take(runs.tokens >= 2 * runs.params)

        return load

    for folder in sorted((DATA / "suite").iterdir()):
        if folder.is_dir() and folder.name not in LEFT_OUT:
            yield folder.name, Chinchilla(), full(folder / "runs.csv")
    for corpus in ("c4_original", "rpj", "rw_original"):
        yield (
            f"gadre_{corpus}",
            Chinchilla(),
            full(DATA / "gadre" / "runs.csv", f"train_set == '{corpus}'"),
        )
    for setting in ("language", "multimodal", "vision"):
        yield f"pocket_{setting}", Additive(), full(f"pocket-{setting}", "seed == 0")
    yield "slimpajama_window", Additive(), lambda: slimpajama(window=True)


def records(cache: Path) -> list[Record]:
    """Those of all tables that have sizes to leave out, from the cache where they are there."""
    found = []
    for name, law, load in tables():
        path = cache / f"misses-{name}.pkl"
        if not path.exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                path.write_bytes(pickle.dumps(misses(Model(law), load())))
        record = pickle.loads(path.read_bytes())
        print(name, record, sep="\n", flush=True)
        if any(miss.axis == "N" for miss in record.refits):
            found.append(Record(name, name.split("_")[0], record))
    return found


def forecast(belief: dist.LogNormal, record: Misses) -> tuple[float, np.ndarray]:
    """Mean log density of every miss given those at smaller cuts, and its place in that forecast (miss × target)."""
    densities, places = [], []
    for k, miss in enumerate(record.refits):
        log_s, log_weight = weigh(belief, replace(record, refits=record.refits[:k]))
        for t in np.flatnonzero(np.isfinite(miss.share)):
            sd = np.sqrt(np.exp(2 * log_s) + miss.sd[t] ** 2)
            densities.append(logsumexp(log_weight[t] + norm.logpdf(miss.share[t], 0, sd)))
            places.append(np.sum(np.exp(log_weight[t]) * norm.cdf(miss.share[t], 0, sd)))
    return float(np.mean(densities)), np.array(places)


def best(found: list[Record]) -> tuple[float, float]:
    """Median and standard deviation of log s under which the misses of these tables are most likely, setups alike."""

    def cost(x: np.ndarray) -> float:
        belief = dist.LogNormal(x[0], np.exp(x[1]))
        by_setup: dict[str, list[float]] = {}
        for record in found:
            by_setup.setdefault(record.setup, []).append(forecast(belief, record.misses)[0])
        return -sum(float(np.mean(v)) for v in by_setup.values())

    options = {"xatol": 0.02, "fatol": 0.01, "maxiter": 60}
    x = minimize(cost, [np.log(0.25), np.log(0.6)], method="Nelder-Mead", options=options).x
    return float(np.exp(x[0])), float(np.exp(x[1]))


def page(found: list[Record]) -> str:
    """Markdown."""
    prior: Any = Discrepancy().priors()[SITE]
    median, scale = best(found)
    rows = [
        (
            "| setup | misses | median and sd of log s from the others | 68 % | 90 % | median of"
            " the absolute share |"
        ),
        "|---|---:|---:|---:|---:|---:|",
    ]
    covers = []
    for setup in dict.fromkeys(record.setup for record in found):
        own = [record for record in found if record.setup == setup]
        others = best([record for record in found if record.setup != setup])
        belief = dist.LogNormal(np.log(others[0]), others[1])
        places = np.concatenate([forecast(belief, record.misses)[1] for record in own])
        inside = [np.mean(np.abs(places - 0.5) < level / 2) for level in (0.68, 0.9)]
        covers.append(inside)
        size = np.nanmedian(
            np.abs(np.concatenate([m.share for record in own for m in record.misses.refits]))
        )
        prior_says = f"{others[0]:.2f}, {others[1]:.2f}"
        rows.append(
            f"| {setup} | {len(places)} | {prior_says} | {inside[0]:.2f} | {inside[1]:.2f} |"
            f" {size:.2f} |"
        )
    mean = np.mean(covers, axis=0)
    return "\n\n".join(
        [
            "# How far laws miss beyond their runs",
            (
                "Made by `uv run python -m tests.benchmarks.extrapolation` from tables that are not"
                " part of the project. Each table was cut at up to three sizes, each at least .75"
                " octaves of N below the next; the law was fitted to what lies below, and its"
                " misses above are in units of its own further fall (above 0: too high). Rows of"
                " fewer than two tokens a parameter are left out."
            ),
            "## The prior",
            (
                "A miss is Normal(0, s² + sd²), with sd what the law's own uncertainty explains,"
                " and log s Normal. Most likely, with all setups counting alike: median"
                f" {median:.2f}, standard deviation of log s {scale:.2f}. The package has median"
                f" {float(np.exp(prior.loc)):.2f} and {float(prior.scale):.2f}. Targets of one"
                f" table differ by {BETWEEN:.2f} in log s, and a miss counts as {TEMPER:.1f} of an"
                " independent one."
            ),
            "## Leave one setup out",
            (
                "Places of the misses of a setup in their forecasts: from the prior that the other"
                " setups give, and from the table's own misses at smaller sizes. Mean over setups:"
                f" {mean[0]:.2f} of the nominal 68 %, {mean[1]:.2f} of the nominal 90 %."
            ),
            "\n".join(rows),
            "## Every table",
            *(f"### {record.table}\n\n```text\n{record.misses}\n```" for record in found),
        ]
    )


def main() -> None:
    """Refit what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "extrapolation")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    keep_compiled_programs()
    text = page(records(options.cache))
    (ROOT / "docs" / "extrapolation.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
