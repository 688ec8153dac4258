"""Least squares with a bootstrap over training runs: the bands of today's practice."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from bayesmix.compute import double
from bayesmix.design import Designs
from bayesmix.inference.geometry import Geometry
from bayesmix.inference.sampler import Problem, as_arrays, settle
from bayesmix.laws.base import Law
from bayesmix.model import Data, Form, Model, Reference, expected_loss
from bayesmix.noise import StudentT
from bayesmix.runs.table import Runs

DELTA = 1e-3
"""Residuals beyond this many nats count linearly: Huber's loss, as in arXiv 2507.09404."""
COPIES = 40


def bootstrap(law: Law, runs: Runs, designs: Designs, copies: int = COPIES, seed: int = 0) -> np.ndarray:
    """Losses (copy, run, target) of the designs: one fit a resampled table, plus a residual of that table.

    Training runs are drawn with replacement. Every fit starts at the best fit to the whole table.
    """
    rng = np.random.default_rng(seed)
    labels, index = np.unique(runs.train_run, return_inverse=True)
    model = Model(law, noise=StudentT(), discrepancy=None).at(Reference.of(runs))
    assert model.reference is not None
    out = np.empty((copies, len(designs), len(runs.targets)))
    with double():
        prior = model.priors(len(runs.domains))
        there = jax.tree.map(jnp.asarray, Data.of(designs, model.reference, runs.targets))
        all_data = Data.of(runs, model.reference, runs.targets, pad=True)
        for t in range(len(runs.targets)):
            data = all_data.target(t)
            problem = Problem(model.form, prior, data)
            fixed = (model.form, as_arrays(dict(prior)), as_arrays(data))
            start = settle(problem, seed)[1][0].z
            for copy in range(copies):
                counts = np.bincount(rng.integers(len(labels), size=len(labels)), minlength=len(labels))
                weight = np.pad(counts[index.reshape(-1)].astype(float), (0, len(data.n) - len(runs)))

                def objective(
                    z: np.ndarray, fixed: tuple = fixed, weight: np.ndarray = weight
                ) -> tuple[float, np.ndarray]:
                    value, slope = _huber(*fixed, z, weight)
                    return float(value), np.asarray(slope)

                found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
                losses, residuals = _losses(*fixed, found, there.target(t))
                seen = np.repeat(np.asarray(residuals), (weight * np.asarray(data.observed[:, 0])).astype(int))
                out[copy, :, t] = np.asarray(losses)[: len(designs)] * (1 + rng.choice(seen, len(designs)))
    return out


@partial(jax.jit, static_argnums=0)
def _huber(form: Form, prior: dict, data: Data, z: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:  # type: ignore[type-arg]
    def mean(z: jax.Array) -> jax.Array:
        loss = _law(form, prior, data, z, data)
        residual = jnp.abs(loss - data.loss[:, 0]) / DELTA
        each = jnp.where(residual < 1, 0.5 * residual**2, residual - 0.5)
        seen = weight * data.observed[:, 0]
        return jnp.sum(seen * each) / jnp.sum(seen)

    return jax.value_and_grad(mean)(z)


@partial(jax.jit, static_argnums=0)
def _losses(form: Form, prior: dict, data: Data, z: jax.Array, there: Data) -> tuple[jax.Array, jax.Array]:  # type: ignore[type-arg]
    here = _law(form, prior, data, z, data)
    return _law(form, prior, data, z, there), data.loss[:, 0] / here - 1


def _law(form: Form, prior: dict, data: Data, z: jax.Array, at: Data) -> jax.Array:  # type: ignore[type-arg]
    geometry = Geometry(form, prior, data)
    theta, _ = geometry.to_theta(geometry.unravel()[1](z))
    return expected_loss(form.law, theta, at)[:, 0]
