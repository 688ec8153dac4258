"""`plan`: the models to train, in an order that keeps an interrupted sweep balanced."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from scipy.stats import qmc

from bayesmix.errors import InputError
from bayesmix.pocket.corpora import Corpus, find_setting
from bayesmix.pocket.sizes import SIZES, find_size
from bayesmix.runs.io import write_table

FLOOR = 0.02  # lowest share of a domain, so that every share is measured
SCATTERED, ASIDE = 18, 5  # number of mixtures of a Sobol sequence, and of those held out
TOKENS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "multimodal": (512_000, 1_024_000, 2_048_000, 4_096_000),
        "language": (256_000, 512_000, 1_024_000, 2_048_000),
        "vision": (256_000, 512_000, 1_024_000, 2_048_000),
    }
)
LARGEST = max(SIZES)
REPEATED = ("S1", "S2")  # sizes trained with three seeds
FIELDS = ("train_run", "setting", "size", "seed", "tokens", "mixture", "hold_out")


@dataclass(frozen=True)
class TrainingJob:
    """One planned training run.

    Attributes:
        train_run: its name, unique in the plan.
        setting: name of the setting of the corpus.
        size: name of the decoder's size.
        seed: seed of weights and data order.
        tokens: numbers of tokens at which it is measured.
        weights: domain → weight.
        mixture: name of the mixture.
        hold_out: reason why fits leave it out: `size`, `mixture`, `both` or nothing.
    """

    train_run: str
    setting: str
    size: str
    seed: int
    tokens: tuple[int, ...]
    weights: Mapping[str, float]
    mixture: str = ""
    hold_out: str = ""


def mixtures(corpus: Corpus) -> dict[str, np.ndarray]:
    """Mixtures of a set, as name → weights (domain,) of three decimals.

    Uniform, natural, one heavy and one light in each domain, and scattered ones.
    """
    count = len(corpus.domains)
    recipes = {"uniform": np.full(count, 1 / count), "natural": corpus.natural}
    for number, domain in enumerate(corpus.domains):
        one = np.eye(count)[number]
        recipes[f"{domain}-heavy"] = 0.7 * one + 0.3 * (1 - one) / (count - 1)
        recipes[f"{domain}-light"] = 0.04 * one + 0.96 * (1 - one) / (count - 1)
    points = qmc.Sobol(count, scramble=True, rng=np.random.default_rng(0)).random_base2(5)[
        :SCATTERED
    ]
    spread = -np.log(points)  # exponentials; their shares are uniform on the simplex
    spread /= spread.sum(axis=1, keepdims=True)
    recipes |= {f"sobol-{number + 1:02d}": weights for number, weights in enumerate(spread)}
    return {name: _rounded(weights) for name, weights in recipes.items()}


def plan(setting: str, corpus: Corpus) -> list[TrainingJob]:
    """Planned runs of a shipped set.

    All mixtures at all sizes but the largest, which has the held-out ones, uniform, natural and two
    heavy ones; two mixtures at two sizes again with two more seeds. The most informative runs
    come first.
    """
    recipes = mixtures(corpus)
    aside = list(recipes)[-ASIDE:]
    heavy = [f"{domain}-heavy" for domain in corpus.domains]
    core = ["uniform", "natural", *heavy[:2], *aside]

    def job(name: str, size: str, seed: int = 0) -> TrainingJob:
        weights = dict(zip(corpus.domains, recipes[name].tolist(), strict=True))
        out = (
            ("both" if name in aside else "size")
            if size == LARGEST
            else "mixture"
            if name in aside
            else ""
        )
        return TrainingJob(
            f"{setting}-{size}-{name}-{seed}",
            setting,
            size,
            seed,
            TOKENS[setting],
            weights,
            mixture=name,
            hold_out=out,
        )

    smallest, *middle, last = [size for size in SIZES if size != LARGEST]
    first = [
        *core,
        *(name for name in recipes if name.endswith(("-heavy", "-light")) and name not in core),
    ]
    rest = [name for name in recipes if name not in first]
    jobs = [job(name, smallest) for name in recipes] + [
        job(name, size) for size in middle for name in first
    ]
    jobs += [job(name, last) for name in core]
    jobs += [
        job(name, size, seed)
        for size in REPEATED
        for name in ("uniform", heavy[0])
        for seed in (1, 2)
    ]
    jobs += [job(name, size) for size in middle for name in rest]
    jobs += [job(name, LARGEST) for name in core]
    return jobs + [job(name, last) for name in recipes if name not in core]


def write_plan(jobs: Iterable[TrainingJob], path: str | os.PathLike[str]) -> None:
    """Write jobs of one setting as a table.

    The columns are the fields of a job, with `tokens` separated by blanks, and `weight.<domain>`.
    """
    jobs = list(jobs)
    columns = {name: [getattr(job, name) for job in jobs] for name in FIELDS}
    columns["tokens"] = [" ".join(map(str, job.tokens)) for job in jobs]
    write_table(
        columns | {f"weight.{d}": [job.weights[d] for job in jobs] for d in jobs[0].weights}, path
    )


def read_plan(path: str | os.PathLike[str]) -> list[TrainingJob]:
    """Read the jobs of a table as `write_plan` writes it; `mixture` and `hold_out` may be missing.

    Raises:
        InputError: the file is missing, a column or a value is wrong, or a name stands twice.
    """
    if not Path(path).is_file():
        raise InputError(
            f"there is no plan {path}",
            expected="a CSV file",
            got="no file",
            advice="Check the path.",
        )
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in FIELDS[:5] if not rows or name not in rows[0]]
    if missing:
        raise InputError(
            f"{path} is not a plan",
            expected=f"columns {', '.join(FIELDS[:5])}, weight.<domain>…",
            got=list(rows[0]) if rows else "no rows",
            advice="`bayesmix pocket plan` writes one.",
        )
    jobs = [_job(row) for row in rows]
    names = [job.train_run for job in jobs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            "a run is planned twice", expected="distinct train_run", got=twice, advice="Rename one."
        )
    return jobs


def checked_weights(weights: Mapping[str, float], setting: str) -> np.ndarray:
    """Weights (domain,) in the order of the setting's domains.

    Raises:
        InputError: unknown domains, a negative weight, or a sum that is not 1.
    """
    domains = find_setting(setting).domains
    values = np.array([weights.get(domain, 0.0) for domain in domains])
    fine = set(weights) <= set(domains) and np.isfinite(values).all() and (values >= 0).all()
    if not fine or not math.isclose(values.sum(), 1, abs_tol=1e-6):
        raise InputError(
            "the weights are not a mixture",
            expected=f"weights of {', '.join(domains)}, at least 0, that sum to 1",
            got=dict(weights),
        )
    return values


def _job(row: Mapping[str, str]) -> TrainingJob:
    weights = {
        name.removeprefix("weight."): value
        for name, value in row.items()
        if name.startswith("weight.")
    }
    try:
        seed, tokens = int(row["seed"]), tuple(int(text) for text in row["tokens"].split())
        shares = {name: float(value) for name, value in weights.items()}
    except ValueError as error:
        raise InputError(
            f"the plan of {row['train_run']} cannot be read", expected="numbers", got=str(error)
        ) from None
    find_size(row["size"])
    checked_weights(shares, row["setting"])
    if not tokens:
        raise InputError(
            f"{row['train_run']} has no tokens",
            expected="at least one number",
            got="none",
            advice="Add.",
        )
    return TrainingJob(
        row["train_run"],
        row["setting"],
        row["size"],
        seed,
        tokens,
        shares,
        row.get("mixture", ""),
        row.get("hold_out", ""),
    )


def _rounded(weights: np.ndarray) -> np.ndarray:
    """Weights in thousandths, at least the floor, that sum to 1."""
    count = len(weights)
    raised = FLOOR + (1 - FLOOR * count) * weights if weights.min() < FLOOR else weights
    thousandths = np.round(1000 * raised).astype(int)
    thousandths[np.argmax(thousandths)] += 1000 - thousandths.sum()
    return thousandths / 1000
