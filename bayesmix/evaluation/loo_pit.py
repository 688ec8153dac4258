"""`loo_pit`: probability integral transforms of training runs, predicted from the others."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import arviz_base
import numpy as np
from arviz_stats.ecdf_utils import compute_ecdf, ecdf_pit
from arviz_stats.loo import loo as psis_loo
from arviz_stats.loo import loo_pit as psis_loo_pit

from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.resample import KHAT_LIMIT
from bayesmix.posterior.storage import log_densities

FALSE_ALARM = 0.05
"""Probability that the ECDF of uniform values leaves its band somewhere."""
FEWEST = 10
"""Minimum number of training runs to judge the shape of the ECDF."""


class Ecdf(NamedTuple):
    """ECDF of values that should be uniform, and its simultaneous band."""

    points: np.ndarray
    ecdf: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, alarm: float = FALSE_ALARM) -> Ecdf:
        """ECDF of values in [0, 1], and the band that holds all of it but for `alarm` of cases.

        The band is simulated (Säilynoja et al. 2022, arXiv 2103.10522).
        """
        points, low, high = _band(len(values), alarm)
        return cls(points, compute_ecdf(values, points), low, high)

    @property
    def excess(self) -> float:
        """Largest distance of the ECDF from its band; negative when it stays inside."""
        return float(np.max(np.maximum(self.ecdf - self.high, self.low - self.ecdf)[1:-1]))


@lru_cache
def _band(count: int, alarm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, lower and upper bound of the band of `count` values, simulated once."""
    any_values = (np.arange(count) + 0.5) / count
    rng = np.random.default_rng(0)
    points, _, low, high = ecdf_pit(any_values, 1 - alarm, n_simulations=int(20 / alarm), rng=rng)
    return points, low, high


@dataclass(frozen=True, eq=False)
class LooPit:
    """Probability integral transforms of losses under leave-one-run-out predictions.

    Attributes:
        values: P(predicted loss ≤ measured loss) of the last checkpoint of each training run, with
            the whole run left out (train_run, target); NaN where nothing was measured.
        pareto_k: Pareto k of the importance weights (train_run, target); above 0.7 the value is
            rough.
        train_runs: labels of the training runs, sorted.
        targets: names of the targets.
    """

    values: np.ndarray
    pareto_k: np.ndarray
    train_runs: tuple[str, ...]
    targets: tuple[str, ...]

    def of(self, target: str) -> np.ndarray:
        """Finite values of one target."""
        values = self.values[:, self.targets.index(target)]
        return values[np.isfinite(values)]

    def inside(self, target: str) -> float:
        """Share of the training runs inside their 90 % band."""
        values = self.of(target)
        return float(np.mean((values > 0.05) & (values < 0.95)))

    @cached_property
    def problems(self) -> Mapping[str, str]:
        """Problems of the bands, as target → sentence.

        A target whose ECDF stays in its band is left out.
        """
        problems = {}
        for target in self.targets:
            values = self.of(target)
            if (
                len(values) >= FEWEST
                and Ecdf.of(values, FALSE_ALARM / len(self.targets)).excess > 0
            ):
                problems[target] = _shape(values)
        return problems

    def as_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return {
            target: {
                "inside_90": self.inside(target),
                "rough": int((self.pareto_k[:, t] > KHAT_LIMIT).sum()),
                "problem": self.problems.get(target),
            }
            for t, target in enumerate(self.targets)
        }

    def __str__(self) -> str:
        inside = np.mean([self.inside(target) for target in self.targets])
        lines = [
            f"each training run predicted from the others: {inside:.0%} lie inside their 90% band"
        ]
        lines += [f"{target}: {problem}" for target, problem in self.problems.items()]
        rough = np.mean(self.pareto_k[np.isfinite(self.pareto_k)] > KHAT_LIMIT)
        lines += (
            [f"{rough:.0%} of these predictions are rough (Pareto k above {KHAT_LIMIT})"]
            if rough > 0.1
            else []
        )
        return "\n".join(lines)

    __repr__ = __str__


def loo_pit(posterior: Posterior, seed: int = 0) -> LooPit:
    """P(predicted ≤ measured) of every training run, given the other runs.

    The predictions come from importance sampling. Checkpoints of a run are not independent, so that
    whole runs are left out and the last checkpoint of each is judged. When the bands are right the
    values are uniform; they crowd at both ends when bands are too narrow, in the middle when they
    are too wide. They judge bands among the fitted runs; `backtest` judges those beyond.

    Args:
        posterior: a fitted posterior.
        seed: random seed of the predictions.
    """
    runs = posterior.runs
    density = log_densities(posterior)["loss"]
    # the last measured row of each run
    ends = np.full((len(runs.train_runs), len(runs.targets)), -1)
    for row in np.argsort(runs.tokens, kind="stable"):
        ends[runs.train_run_index[row], np.isfinite(runs.loss[row])] = row
    rows = np.unique(ends[ends >= 0])
    predicted = posterior.predict(
        runs.designs.take(rows), seed, octaves_left=runs.octaves_left[rows]
    ).draws
    # long likelihoods are thinned
    chains, draw_index = density.sizes["chain"], np.asarray(density["draw"])
    predicted = predicted.reshape(chains, -1, *predicted.shape[1:])[:, draw_index]
    values, pareto_k = np.full((2, *ends.shape), np.nan)
    for t in range(len(runs.targets)):
        measured = np.flatnonzero(ends[:, t] >= 0)
        last = ends[measured, t]
        data = arviz_base.from_dict(
            {
                "posterior": {
                    site: draws[:, draw_index, t] for site, draws in posterior.draws.items()
                },
                "posterior_predictive": {"loss": predicted[:, :, np.searchsorted(rows, last), t]},
                "log_likelihood": {
                    "loss": np.asarray(density.isel(target=t, train_run=measured), float)
                },
                "observed_data": {"loss": runs.loss[last, t]},
            }
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # large k are reported
            values[measured, t] = np.asarray(psis_loo_pit(data, var_names="loss")["loss"])
            left_out: Any = psis_loo(data, pointwise=True, var_name="loss")
            pareto_k[measured, t] = np.asarray(left_out.pareto_k)
    return LooPit(values, pareto_k, runs.train_runs, runs.targets)


def _shape(values: np.ndarray) -> str:
    """Sentence on how the values of one target deviate from uniform ones."""
    if abs(values.mean() - 0.5) > 2 / np.sqrt(12 * len(values)):
        side = "above" if values.mean() > 0.5 else "below"
        return f"losses lie {side} what is predicted from the other runs"
    if values.var() > 1 / 12:
        return "bands are too narrow: too many runs lie at the edges of what the others predict"
    return "bands are too wide: too many runs lie in the middle of what the others predict"
