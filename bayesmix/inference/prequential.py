"""`misses`: prediction errors of a law for larger runs, when fitted to the smaller ones alone.

The errors of a law beyond the runs cannot be learned from its fit to them, but from its own record:
cheap refits stop one size, or a factor of D, earlier, and predict the losses measured next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.special import logsumexp
from scipy.stats import norm

from bayesmix.deprecation import renamed
from bayesmix.design import count
from bayesmix.inference.coordinates import Geometry
from bayesmix.inference.density import TargetProblem, as_arrays
from bayesmix.inference.modes import Mode, mode, whitening
from bayesmix.model.data import Data
from bayesmix.model.likelihood import Form, expected_loss, reference_loss
from bayesmix.model.model import Model
from bayesmix.model.noise import Rows, StudentT
from bayesmix.model.priors import Prior, family
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64, one_blas_thread
from bayesmix.text import table

SITE = "extrapolation"
STARTS = 2
CUTS = {"N": (0.75, 3), "D": (1.0, 2)}
"""Minimum number of octaves of N or D between two cuts, and maximum number of cuts."""
LEAST = 2
"""Minimum number of sizes, or of token counts, of a refit.

It also needs half as many losses again as the law has parameters.
"""
SMALL = 0.003
"""Minimum fall of the law beyond the cut for a miss to count, as a fraction of the loss."""
BETWEEN, TEMPER = 0.5, 0.7
"""Standard deviation of log scales between targets of one table, and power of a miss's likelihood.

The power is below 1, as the misses of one table are not independent.
"""
MOST_BETWEEN = 0.9
"""Maximum of `BETWEEN`, as a fraction of the prior's own width."""
STEP = 0.01
"""Step of the finite differences of losses, in posterior standard deviations."""
GRID = 61


class Miss(NamedTuple):
    """Prediction error of one refit for the losses measured next.

    Attributes:
        axis: "N" or "D".
        cut: largest N or D among the fitted runs.
        share: (prediction − measured)/fall of the law beyond the cut, over the runs that were left
            out (target).
        sd: standard deviation (target) of the share that the law's own uncertainty and the scatter
            of the runs that were left out explain.
    """

    axis: str
    cut: float
    share: np.ndarray
    sd: np.ndarray


@renamed(each="refits")
@dataclass(frozen=True, eq=False)
class Misses:
    """Prequential record of a law on a table: the prediction errors of its refits.

    Attributes:
        targets: names of the targets.
        refits: errors of each refit; empty where the table has too few sizes to leave one out.
    """

    targets: tuple[str, ...]
    refits: tuple[Miss, ...]

    def as_dict(self) -> list[dict[str, object]]:
        """Plain values of each refit, ready for JSON; null where too little was measured."""

        def numbers(values: np.ndarray) -> dict[str, float | None]:
            return {
                t: float(v) if np.isfinite(v) else None
                for t, v in zip(self.targets, values, strict=True)
            }

        return [
            {"axis": m.axis, "cut": m.cut, "share": numbers(m.share), "sd": numbers(m.sd)}
            for m in self.refits
        ]

    def __str__(self) -> str:
        if not self.refits:
            return "no record: too few sizes to leave one out, or too few losses without it"
        lines = [
            "how far refits without the larger runs missed them,",
            "as a share of the law's own fall from there (positive: predicted too high)",
        ]
        heads = [f"{m.axis} ≤ {count(m.cut)}" for m in self.refits]
        rows = [
            [target]
            + [
                f"{m.share[t]:+.2f} ± {m.sd[t]:.2f}" if np.isfinite(m.share[t]) else "–"
                for m in self.refits
            ]
            for t, target in enumerate(self.targets)
        ]
        return "\n".join([*lines, *table(["", *heads], rows, "< >14")])

    __repr__ = __str__


@one_blas_thread
def misses(model: Model, runs: Runs, *, seed: int = 0) -> Misses:
    """Refit the law without the larger runs, and measure its prediction errors for them.

    The law is fitted by its posterior mode, with independent Student-t rows and without a
    discrepancy. A miss is the log of prediction over measurement, in units of the fall that the law
    predicts between the cut and the run, averaged over the runs beyond the cut with the square of
    that fall as weight. Sizes are left out; only in a table without three of them, the largest
    numbers of tokens: over the last octave of D, losses depend on schedules more than on laws.

    Args:
        model: model whose law and priors are used.
        runs: the table.
        seed: random seed of the starts of the optimisations.
    """
    bound = model.bind(runs)
    sites = bound.law.priors(len(runs.domains)) | StudentT().priors()
    prior_of_law = Prior({site: prior for site, prior in bound.prior.items() if site in sites})
    refit_model = Model(bound.law, prior_of_law, StudentT(), None).at(bound.reference)
    entries = []
    with enable_x64():
        prior = as_arrays(Prior(refit_model.priors(len(runs.domains))))
        whole = refit_model.data(runs, pad=True)
        cuts = [
            (axis, values <= cut)
            for axis, values in (("N", runs.params), ("D", runs.tokens))
            for cut in _cuts(axis, values)
        ]
        if any(axis == "N" for axis, _ in cuts):
            cuts = [cut for cut in cuts if cut[0] == "N"]
        shares = np.full((len(cuts), len(runs.targets), 2), np.nan)
        for t in range(len(runs.targets)):
            shares[:, t] = _of_target(
                refit_model.form,
                prior,
                whole.target(t),
                runs,
                t,
                [fitted for _, fitted in cuts],
                seed,
            )
        for (axis, fitted), values in zip(cuts, shares, strict=True):
            size = (runs.params if axis == "N" else runs.tokens)[fitted].max()
            entries.append(Miss(axis, float(size), *values.T))
    refits = [miss for miss in entries if np.isfinite(miss.share).any()]
    return Misses(runs.targets, tuple(refits))


def _cuts(axis: str, values: np.ndarray) -> list[float]:
    """Largest N or D of each refit, in ascending order.

    Each cut leaves out some octaves more than the next.
    """
    octaves, max_cuts = CUTS[axis]
    cuts, upper = [], values.max()
    for value in np.unique(values)[::-1]:
        if value <= upper / 2**octaves * (1 + 1e-9) and len(cuts) < max_cuts:
            cuts.append(float(value))
            upper = value
    return [cut for cut in cuts[::-1] if len(np.unique(values[values <= cut])) >= LEAST]


def _of_target(
    form: Form,
    prior: Any,
    data: Data,
    runs: Runs,
    target: int,
    cuts: Sequence[np.ndarray],
    seed: int,
) -> np.ndarray:
    """Shares and their standard deviations (cut, 2) of one target; NaN with too few losses.

    The last cut is optimised first and starts at prior draws; each of the others starts at the
    optimum before.
    """
    results = np.full((len(cuts), 2), np.nan)
    measured = np.isfinite(runs.loss[:, target])
    min_losses = 1.5 * sum(int(np.prod(site.event_shape)) for site in prior.values())
    start, previous = None, measured
    for i in range(len(cuts))[::-1]:
        fitted = measured & cuts[i]
        # too few losses, or none left out since the last refit
        if np.sum(fitted) < min_losses or np.array_equal(fitted, previous):
            continue
        previous = fitted
        mask = np.pad(cuts[i], (0, len(data.n) - len(cuts[i])))
        subset = data._replace(observed=np.asarray(data.observed) & mask[:, None])
        try:
            best = mode(TargetProblem(form, prior, subset), seed, STARTS, start)
        except RuntimeError:
            continue
        start = best.z
        results[i] = _miss(form, prior, subset, runs, target, cuts[i], best)
    return results


def _miss(
    form: Form, prior: Any, data: Data, runs: Runs, target: int, fitted: np.ndarray, best: Mode
) -> tuple[float, float]:
    loss = runs.loss[:, target]
    sizes = [np.asarray(v) for v in (data.n, data.d)]
    clipped = [
        np.clip(v, v[: len(fitted)][fitted].min(), v[: len(fitted)][fitted].max()) for v in sizes
    ]
    fixed = form, prior, as_arrays(data)
    log_loss, fall, scatter = (
        np.asarray(v)[: len(fitted)] for v in _beyond(*fixed, best.z, *clipped)
    )
    rows = np.flatnonzero(np.isfinite(loss) & ~fitted & (fall > SMALL))
    if not len(rows):
        return float("nan"), float("nan")
    # share = Σ φ (log L − log y)/Σ φ², with φ the fall, L the prediction and y the measured loss
    weight = fall[rows] / np.sum(fall[rows] ** 2)
    share = np.sum(weight * (log_loss[rows] - np.log(loss[rows])))
    steps = STEP * whitening(best.hessian).T
    slopes = [
        np.subtract(*(_beyond(*fixed, best.z + sign * step, *clipped)[0] for sign in (1, -1)))
        for step in steps
    ]
    of_law = np.sum(np.square(np.array(slopes)[:, rows] @ weight)) / (2 * STEP) ** 2
    # checkpoints of a run may scatter together
    by_run = np.bincount(np.asarray(data.train_run)[rows], weights=weight * scatter[rows])
    return float(share), float(np.sqrt(of_law + np.sum(by_run**2)))


@partial(jax.jit, static_argnums=0)
def _beyond(
    form: Form, prior: Any, data: Data, z: jax.Array, n: jax.Array, d: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log loss (run), fall of the law (run) and relative scatter (run) at a point.

    The fall is that from (n, d) to the row's own N and D.
    """
    geometry = Geometry(form, prior, data)
    theta, _ = geometry.transform_and_log_det(geometry.unravel()[1](z))
    edge_loss, row_loss = (
        reference_loss(form.law, theta, d)[:, 0] for d in (data._replace(n=n, d=d), data)
    )
    loss = expected_loss(form.law, theta, data)[:, 0]
    rows = Rows(data.train_run, data.late, data.loss_se[:, 0])
    scatter, _ = form.noise.spread(
        {site: theta[site][0] for site in form.noise.priors()}, loss, rows
    )
    return jnp.log(loss), jnp.log(edge_loss / row_loss), scatter / loss


def weigh(belief: dist.LogNormal, record: Misses) -> tuple[np.ndarray, np.ndarray]:
    """Grid of log s (level, step) and its log weights (target, level, step) given a record.

    With s the scale of a target, its misses are Normal(0, s² + sd²); log s differs from target to
    target of a table by a standard deviation of `BETWEEN`, around a level whose prior makes log s
    as wide as it is in the given prior.

    Args:
        belief: prior of s, the same for all targets.
        record: record of the table.
    """
    loc, scale = (float(np.asarray(getattr(belief, name))) for name in ("loc", "scale"))
    between_sd = min(BETWEEN, MOST_BETWEEN * scale)
    grid = np.linspace(-3.5, 3.5, GRID)
    log_s = loc + np.sqrt(scale**2 - between_sd**2) * grid[:, None] + between_sd * grid
    log_likelihood = np.zeros((len(record.targets), GRID, GRID))
    for miss in record.refits:
        for t in np.flatnonzero(np.isfinite(miss.share)):
            log_likelihood[t] += TEMPER * norm.logpdf(
                miss.share[t], 0, np.sqrt(np.exp(2 * log_s) + miss.sd[t] ** 2)
            )
    log_prior = norm.logpdf(grid)
    by_level: Any = logsumexp(log_likelihood + log_prior, axis=2)  # (target, level)
    total = log_prior + by_level.sum(axis=0)
    log_weight = log_likelihood + log_prior + (total - by_level)[:, :, None]
    whole: Any = logsumexp(log_weight, axis=(1, 2), keepdims=True)
    return log_s, log_weight - whole


def updated_priors(belief: dist.Distribution, record: Misses) -> Sequence[dist.Distribution]:
    """Priors of `extrapolation` for each target, given the record of all targets.

    Each is the LogNormal with the mean and variance of log s that `weigh` gives. With an empty
    record, or a prior of another family, the prior is unchanged.
    """
    if family(belief) is not dist.LogNormal or not record.refits:
        return [belief] * len(record.targets)
    log_s, log_weight = weigh(belief, record)  # type: ignore[arg-type]
    weight = np.exp(log_weight)
    mean = np.sum(weight * log_s, axis=(1, 2))
    sd = np.sqrt(np.sum(weight * (log_s - mean[:, None, None]) ** 2, axis=(1, 2)))
    return [dist.LogNormal(m, s) for m, s in zip(mean, sd, strict=True)]


def with_record(
    model: Model, runs: Runs, priors: Mapping[str, dist.Distribution], *, seed: int = 0
) -> Sequence[Mapping[str, dist.Distribution]]:
    """Priors of every target, with that of `extrapolation` updated by the record of the table.

    Args:
        model: model whose record counts; its own priors are those of the refits.
        runs: the table.
        priors: site → prior, the same for all targets.
        seed: random seed of the refits.
    """
    if SITE not in priors or not (model.discrepancy and model.discrepancy.prequential):
        return [priors] * len(runs.targets)
    return [
        {**priors, SITE: belief}
        for belief in updated_priors(priors[SITE], misses(model, runs, seed=seed))
    ]
