"""Least squares with a bootstrap over training runs, or with split conformal bands: today's practice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from bayesmix.design import Designs
from bayesmix.inference.coordinates import Geometry
from bayesmix.inference.density import TargetProblem, as_arrays
from bayesmix.inference.modes import settle
from bayesmix.laws.base import Law
from bayesmix.model.data import Data, Reference
from bayesmix.model.likelihood import Form, expected_loss
from bayesmix.model.model import Model
from bayesmix.model.noise import StudentT
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64

DELTA = 1e-3
"""Residuals beyond this many nats count linearly: Huber's loss, as in arXiv 2507.09404."""
COPIES = 40


def bootstrap(
    law: Law, runs: Runs, designs: Designs, copies: int = COPIES, seed: int = 0
) -> np.ndarray:
    """Losses (copy, run, target) of the designs: one fit a resampled table, plus a residual of that table.

    Training runs are drawn with replacement. Every fit starts at the best fit to the whole table.
    """
    rng = np.random.default_rng(seed)
    labels, index = np.unique(runs.train_run, return_inverse=True)
    out = np.empty((copies, len(designs), len(runs.targets)))
    with enable_x64():
        for t, least in enumerate(_LeastSquares.of(law, runs, designs, seed)):
            for copy in range(copies):
                counts = np.bincount(
                    rng.integers(len(labels), size=len(labels)), minlength=len(labels)
                )
                losses, residuals = least(weight := counts[index.reshape(-1)].astype(float))
                seen = np.repeat(residuals, (weight * least.observed).astype(int))
                out[copy, :, t] = losses * (1 + rng.choice(seen, len(designs)))
    return out


def conformal(
    law: Law, runs: Runs, designs: Designs, draws: int = 400, seed: int = 0
) -> np.ndarray:
    """Losses (draw, run, target) of the designs: a fit to two thirds of the runs, plus residuals of the others.

    Quantiles of the draws are the one-sided split conformal bounds, which are right for runs
    exchangeable with these.
    """
    rng = np.random.default_rng(seed)
    labels, index = np.unique(runs.train_run, return_inverse=True)
    part = rng.permutation(len(labels)) < max(2 * len(labels) // 3, 1)
    fitted = part[index.reshape(-1)]
    out = np.empty((draws, len(designs), len(runs.targets)))
    with enable_x64():
        for t, least in enumerate(_LeastSquares.of(law, runs, designs, seed)):
            losses, residuals = least(fitted.astype(float))
            others = residuals[~fitted & least.observed]
            out[:, :, t] = losses * (
                1 + rng.choice(others if len(others) else residuals, (draws, len(designs)))
            )
    return out


class _LeastSquares:
    """Huber's least squares of one target, from the best fit to the whole table on."""

    def __init__(
        self, problem: TargetProblem, start: np.ndarray, there: Data, rows: int, designs: int
    ):
        self.fixed = problem.form, as_arrays(dict(problem.prior)), as_arrays(problem.data)
        self.start, self.there, self.rows, self.designs = start, there, rows, designs
        self.observed = np.asarray(problem.data.observed[:rows, 0])

    @classmethod
    def of(cls, law: Law, runs: Runs, designs: Designs, seed: int) -> Iterator[_LeastSquares]:
        """One for every target."""
        model = Model(law, noise=StudentT(), discrepancy=None).at(Reference.of(runs))
        prior = model.priors(len(runs.domains))
        there = jax.tree.map(jnp.asarray, Data.of(designs, model.reference, runs.targets))
        data = model.data(runs, pad=True)
        for t in range(len(runs.targets)):
            problem = TargetProblem(model.form, prior, data.target(t))
            yield cls(
                problem, settle(problem, seed)[1][0].z, there.target(t), len(runs), len(designs)
            )

    def __call__(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses of the designs and relative residuals of the runs, for weights (run)."""
        padded = np.pad(weight, (0, len(self.fixed[2].n) - self.rows))

        def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = _huber(*self.fixed, z, padded)
            return float(value), np.asarray(slope)

        found = minimize(
            objective, self.start, jac=True, method="L-BFGS-B", options={"maxiter": 200}
        ).x
        losses, residuals = _losses(*self.fixed, found, self.there)
        return np.asarray(losses)[: self.designs], np.asarray(residuals)[: self.rows]


@partial(jax.jit, static_argnums=0)
def _huber(
    form: Form, prior: dict, data: Data, z: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array]:  # type: ignore[type-arg]
    def mean(z: jax.Array) -> jax.Array:
        loss = _law(form, prior, data, z, data)
        residual = jnp.abs(loss - data.loss[:, 0]) / DELTA
        each = jnp.where(residual < 1, 0.5 * residual**2, residual - 0.5)
        seen = weight * data.observed[:, 0]
        return jnp.sum(seen * each) / jnp.sum(seen)

    return jax.value_and_grad(mean)(z)


@partial(jax.jit, static_argnums=0)
def _losses(
    form: Form, prior: dict, data: Data, z: jax.Array, there: Data
) -> tuple[jax.Array, jax.Array]:  # type: ignore[type-arg]
    here = _law(form, prior, data, z, data)
    return _law(form, prior, data, z, there), data.loss[:, 0] / here - 1


def _law(form: Form, prior: dict, data: Data, z: jax.Array, at: Data) -> jax.Array:  # type: ignore[type-arg]
    geometry = Geometry(form, prior, data)
    theta, _ = geometry.transform_and_log_det(geometry.unravel()[1](z))
    return expected_loss(form.law, theta, at)[:, 0]
