"""`compare`: log predictive density of laws for held-out runs, and their stacking weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import arviz_base
import numpy as np
from arviz_stats.loo import loo as psis_loo
from scipy.special import logsumexp

from bayesmix.deprecation import renamed
from bayesmix.errors import DataWarning, DiagnosticsWarning, InputError
from bayesmix.evaluation.splits import GroupBy, Split, split
from bayesmix.inference.fit import fit
from bayesmix.model.model import BoundModel
from bayesmix.posterior.log_likelihood import log_likelihood_of_new
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.resample import KHAT_LIMIT
from bayesmix.posterior.storage import log_densities
from bayesmix.runs.runs import Runs
from bayesmix.runtime.parallel import parallel_map
from bayesmix.runtime.progress import bar
from bayesmix.text import table


@dataclass(frozen=True, eq=False)
class Comparison:
    """Comparison of laws by the log predictive density of held-out losses.

    A difference of log density has a standard error over training runs, because checkpoints of one
    run are not independent. Weights are those of stacking (Yao et al. 2018, doi 10.1214/17-BA1091):
    the mixture of the laws' predictions with the highest log score. They are computed from the
    refits where there are any, else from PSIS-LOO.

    Attributes:
        laws: names of the posteriors.
        targets: names of the targets.
        train_run: labels of the training runs (train_run).
        loo: log density of the losses of each training run given all others (law, train_run,
            target), by PSIS; NaN where nothing was measured.
        pareto_k: Pareto k of each entry of `loo`; above 0.7 the entry is unreliable.
        left_out: log density of the losses of each training run given only other groups (law,
            train_run, target), by refits; NaN for runs that no split predicts. None without refits.
        group_by: kind of group that each refit left out, or None.
        splits: names of the groups that each refit left out.
        failed: posteriors and refits with failing diagnostics, in words.
    """

    laws: tuple[str, ...]
    targets: tuple[str, ...]
    train_run: tuple[str, ...]
    loo: np.ndarray
    pareto_k: np.ndarray
    left_out: np.ndarray | None = None
    group_by: GroupBy | None = None
    splits: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def log_density(self) -> np.ndarray:
        """Log density (law, train_run, target) that laws are compared by.

        That of the refits if there are any, else that of PSIS-LOO.
        """
        return self.loo if self.left_out is None else self.left_out

    @cached_property
    def weights(self) -> dict[str, float]:
        """Stacking weight of each law, the same for all targets."""
        return dict(
            zip(
                self.laws,
                stacking(self.log_density.reshape(len(self.laws), -1)).tolist(),
                strict=True,
            )
        )

    @cached_property
    def weights_by_target(self) -> dict[str, np.ndarray]:
        """Stacking weight of each law for every target on its own (target)."""
        columns = [stacking(self.log_density[:, :, t]) for t in range(len(self.targets))]
        return dict(zip(self.laws, np.stack(columns, axis=1), strict=True))

    @property
    def order(self) -> list[int]:
        """Positions of the laws, best first."""
        return np.argsort(-np.nansum(self.log_density, axis=(1, 2)), kind="stable").tolist()

    def elpd(self, loo: bool = False) -> np.ndarray:
        """Sum of the log densities (law, target), in nats."""
        return np.nansum(self.loo if loo else self.log_density, axis=1)

    def difference(
        self, law: str, target: str | None = None, loo: bool = False
    ) -> tuple[float, float]:
        """Difference of a law's elpd from the best law's, and its standard error.

        The standard error is over training runs; both are of all targets when none is given.
        """
        values = self.loo if loo else self.log_density
        log_density = values[:, :, slice(None) if target is None else [self.targets.index(target)]]
        best = int(np.argmax(np.nansum(log_density, axis=(1, 2))))
        gap = np.nansum(log_density[self.laws.index(law)] - log_density[best], axis=1)
        measured = np.isfinite(log_density).any(axis=(0, 2))
        labels, index = np.unique(np.array(self.train_run)[measured], return_inverse=True)
        by_run = np.bincount(index, weights=gap[measured])
        error = np.sqrt(len(labels)) * by_run.std(ddof=1) if len(labels) > 1 else np.nan
        return float(by_run.sum()), float(error)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        worst = np.nanmax(self.pareto_k, axis=1)
        laws = {}
        for i, law in enumerate(self.laws):
            difference, error = self.difference(law)
            laws[law] = {
                "weight": self.weights[law],
                "elpd": float(self.elpd()[i].sum()),
                "elpd_difference": difference,
                "elpd_difference_se": error,
                "elpd_loo": float(self.elpd(loo=True)[i].sum()),
                "pareto_k_worst": float(worst[i].max()),
                "pareto_k_bad_share": self._bad(i),
                "targets": {
                    target: {
                        "weight": float(self.weights_by_target[law][t]),
                        "elpd": float(self.elpd()[i, t]),
                        "elpd_difference": self.difference(law, target)[0],
                        "elpd_difference_se": self.difference(law, target)[1],
                        "elpd_loo": float(self.elpd(loo=True)[i, t]),
                        "pareto_k_worst": float(worst[i, t]),
                    }
                    for t, target in enumerate(self.targets)
                },
            }
        return {
            "by": self.group_by,
            "splits": list(self.splits),
            "laws": laws,
            "failed": list(self.failed),
        }

    def _bad(self, law: int) -> float:
        k = self.pareto_k[law]
        return float((k[np.isfinite(k)] > KHAT_LIMIT).mean())

    def __str__(self) -> str:
        width = max([len(law) for law in self.laws] + [3])
        points = int(np.isfinite(self.log_density[0]).sum())
        method = (
            f"left out by {self.group_by}, {len(self.splits)} refit(s) a law"
            if self.group_by
            else "PSIS-LOO"
        )
        lines = [
            f"elpd of {points} runs × targets not seen ({method}); higher is better",
            f"{'law':<{width}}  weight       elpd  from best ± se     by LOO  k > {KHAT_LIMIT}",
        ]
        for i in self.order:
            law = self.laws[i]
            gap, error = self.difference(law)
            apart = "          –     " if i == self.order[0] else f"{gap:9.1f} ± {error:<6.1f}"
            lines.append(
                f"{law:<{width}}  {self.weights[law]:6.2f}  {self.elpd()[i].sum():9.1f}  {apart}  "
                f"{self.elpd(loo=True)[i].sum():9.1f}  {100 * self._bad(i):5.1f}%"
            )
        return "\n".join(
            [*lines, *self._target_lines(), *(f"diagnostics fail: {name}" for name in self.failed)]
        )

    def _target_lines(self) -> list[str]:
        if len(self.targets) == 1:
            return []
        rows = [
            [target]
            + [
                f"{self.weights_by_target[law][t]:.2f}  {self.difference(law, target)[0]:8.1f}"
                for law in self.laws
            ]
            for t, target in enumerate(self.targets)
        ]
        title = "by target: weight, and elpd from the best law"
        return ["", title, *table(["target", *self.laws], rows)]

    __repr__ = __str__


@renamed(by="group_by")
def compare(
    posteriors: Mapping[str, Posterior],
    *,
    group_by: GroupBy | None = "run",
    folds: int = 5,
    steps: int = 1,
    seed: int = 0,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 500,
    progress: bool = False,
    executor: Executor | None = None,
) -> Comparison:
    """Compare laws by how well each predicts held-out runs.

    PSIS-LOO leaves out one training run at a time without a refit, but other runs of its mixture
    and size stay. So each law is also refitted without whole groups: folds of training runs,
    mixtures, the largest size or token counts.

    Args:
        posteriors: name → posterior, all of the same runs.
        group_by: kind of group that is left out; None for PSIS-LOO alone, without refits.
        folds: number of folds of training runs or mixtures, each one refit a law.
        steps: number of the largest sizes or token counts that are left out in turn, each one refit
            a law.
        seed: random seed of the folds and of the refits.
        chains: chains of a refit.
        warmup: warm-up of a refit.
        draws: draws of a refit.
        progress: show a bar over the refits on standard error.
        executor: executor of the refits, each of a law and a split one task; one after the other in
            this process when not given.

    Raises:
        InputError: there are fewer than two posteriors, they are of different runs, or nothing can
            be left out.
        WorkerError: workers of the executor died.
    """
    runs = _common_runs(posteriors)
    failed = [name for name, posterior in posteriors.items() if not posterior.diagnostics.passed]
    loo, pareto_k = (
        np.stack(values) for values in zip(*(_psis(p) for p in posteriors.values()), strict=True)
    )
    labels = runs.train_runs
    if group_by is None:
        return Comparison(
            tuple(posteriors), runs.targets, labels, loo, pareto_k, failed=tuple(failed)
        )
    splits = split(runs, group_by, folds=folds, steps=steps, seed=seed)
    left_out = np.full((len(posteriors), len(labels), len(runs.targets)), np.nan)
    options = {"seed": seed, "chains": chains, "warmup": warmup, "draws": draws}
    items = [(posterior.model, part) for posterior in posteriors.values() for part in splits]
    task_names = [f"{name} without {part.name}" for name in posteriors for part in splits]
    with bar(doing="refits", total=len(items), unit="fit", visible=progress) as refits:
        results = iter(
            parallel_map(
                partial(_unseen, runs, options),
                items,
                executor,
                lambda _: refits.update(),
                task_names,
            )
        )
    for law, name in enumerate(posteriors):
        for part in splits:
            density, passed = next(results)
            left_out[law, np.isin(labels, np.array(runs.train_run)[part.test])] = density
            failed += [] if passed else [f"{name} without {part.name}"]
    names = tuple(part.name for part in splits)
    return Comparison(
        tuple(posteriors),
        runs.targets,
        labels,
        loo,
        pareto_k,
        left_out,
        group_by,
        names,
        tuple(failed),
    )


def _unseen(
    runs: Runs, options: dict[str, Any], item: tuple[BoundModel, Split]
) -> tuple[np.ndarray, bool]:
    """Log density of the runs that a split leaves out, and whether the diagnostics pass.

    Both are of a refit to the other runs.
    """
    model, part = item
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticsWarning)
        warnings.simplefilter("ignore", DataWarning)  # issued for the whole table already
        refit = fit(model.unbound, runs.take(part.train), **options)
    return log_predictive_density(refit, runs.take(part.test)), refit.diagnostics.passed


def log_predictive_density(posterior: Posterior, runs: Runs) -> np.ndarray:
    """Log predictive density (train_run, target) of runs that the posterior was not fitted to.

    It is the log of the mean over the draws of their density; NaN where nothing was measured.
    """
    values = log_likelihood_of_new(posterior, runs)
    log_density = logsumexp(values, axis=0) - np.log(len(values))
    return np.where(runs.measured, log_density, np.nan)


def stacking(log_density: np.ndarray, tolerance: float = 1e-8, steps: int = 100_000) -> np.ndarray:
    """Stacking weights (law) that maximise Σ log Σ w·p over the points, given log p (law, point).

    Points with NaN are left out. The multiplicative update w ← w · mean(p / Σ w p) raises the score
    at every step and stays on the simplex; the largest factor minus 1 bounds the distance of the
    mean log score from its maximum. Densities are taken relative to the best law of each point, so
    none underflows (ArviZ's stacking exponentiates them as they are).
    """
    complete = np.isfinite(log_density).all(axis=0)
    density = np.exp(log_density[:, complete] - log_density[:, complete].max(axis=0))
    weights = np.full(len(density), 1 / len(density))
    for _ in range(steps):
        factor = (density / (weights @ density)).mean(axis=1)
        if factor.max() - 1 < tolerance:
            break
        weights = weights * factor
    return weights / weights.sum()


def _psis(posterior: Posterior) -> tuple[np.ndarray, np.ndarray]:
    """PSIS-LOO log density and Pareto k (train_run, target)."""
    values = log_densities(posterior)["loss"]
    draw_index = np.asarray(values["draw"])  # long likelihoods are thinned
    elpd, k = np.full((2, *values.shape[2:]), np.nan)
    for t, target in enumerate(posterior.targets):
        measured = np.flatnonzero(posterior.runs.measured[:, t])
        log_likelihood = np.asarray(values.isel(target=t, train_run=measured), float)
        theta = {site: draws[:, draw_index, t] for site, draws in posterior.draws.items()}
        data = arviz_base.from_dict(
            {"posterior": theta, "log_likelihood": {target: log_likelihood}}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # large k are reported, with their share
            result: Any = psis_loo(data, pointwise=True, var_name=target)
        elpd[measured, t], k[measured, t] = np.asarray(result.elpd_i), np.asarray(result.pareto_k)
    return elpd, k


def _common_runs(posteriors: Mapping[str, Posterior]) -> Runs:
    if len(posteriors) < 2:
        raise InputError(
            "nothing to compare",
            expected="at least two posteriors",
            got=list(posteriors),
            advice="Fit another law.",
        )
    (first, one), *rest = posteriors.items()
    for name, other in rest:
        matched = other.runs.fingerprint == one.runs.fingerprint and other.targets == one.targets
        if not (matched and other.designs.ids == one.designs.ids):
            raise InputError(
                f"{first} and {name} were fitted to different runs",
                expected="the same rows and targets, in the same order",
                got=f"{len(one.runs)} and {len(other.runs)} rows",
                advice="Fit all laws to one table.",
            )
    return one.runs
