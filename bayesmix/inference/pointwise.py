"""The log-likelihood of each training run, for cross-validation that leaves whole runs out."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.compute import double
from bayesmix.discrepancy import Draws, effect, log_prob_by_group
from bayesmix.inference.drift import SITES, of_target
from bayesmix.inference.posterior import Posterior
from bayesmix.model import Data, Form, expected_loss, reference_loss, relative_errors
from bayesmix.noise import RowNoise, Rows


def log_likelihood_by_train_run(posterior: Posterior, step: int = 1) -> np.ndarray:
    """Log density (chain, draw, train_run, target) of the losses of each training run, given parameters and drift.

    Training runs are in the order of their sorted labels. Their effects are integrated out.

    Args:
        posterior: where the draws come from.
        step: only every so many draws.
    """
    runs, model = posterior.runs, posterior.model
    draws = {site: value[:, ::step] for site, value in {**posterior.draws, **posterior.drift}.items()}
    chains, size = next(iter(draws.values())).shape[:2]
    groups = len(set(runs.train_run))
    out = np.empty((chains, size, groups, len(runs.targets)), np.float32)
    with double():
        cells = model.cells(runs.designs)
        data = jax.tree.map(jnp.asarray, Data.of(runs, posterior.reference, runs.targets, cells=cells))
        for t in range(len(runs.targets)):
            theta = {site: jnp.asarray(v[:, :, t].reshape(-1, 1, *v.shape[3:])) for site, v in draws.items()}
            values = np.asarray(_by_train_run(model.form, groups, theta, data.target(t)))
            out[..., t] = values.reshape(chains, size, groups)
    return out


@partial(jax.jit, static_argnums=(0, 1))
def _by_train_run(form: Form, groups: int, theta: dict[str, jax.Array], data: Data) -> jax.Array:
    return jax.lax.map(lambda one: _of_draw(form, groups, one, data), theta, batch_size=16)


def _of_draw(form: Form, groups: int, theta: dict[str, jax.Array], data: Data) -> jax.Array:
    """Log density (train_run) under one draw, one target."""
    observed = data.observed[:, 0]

    def total(values: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(jnp.where(observed, values, 0.0), data.train_run, num_segments=groups)

    if isinstance(form.noise, RowNoise):
        rows = Rows(data.train_run[:, None], data.late[:, None], data.loss_se)
        around = form.noise.around(theta, expected_loss(form.law, theta, data), rows)
        return total(around.log_prob(data.loss)[:, 0])
    assert data.misfit is not None
    errors, loss = relative_errors(form, theta, data)
    errors = of_target(errors)
    if form.discrepancy:
        surface, paths = SITES
        nothing = jnp.zeros_like(data.misfit.length)
        drift = Draws(theta[surface][0], theta[paths][0] if paths in theta else nothing)
        at_reference = reference_loss(form.law, theta, data)[:, 0]
        off = effect(drift, loss[:, 0], at_reference, data.misfit) / loss[:, 0]
        errors = errors._replace(error=errors.error - off)
    return log_prob_by_group(errors, data.misfit) - total(jnp.log(loss[:, 0]))
