"""The log-likelihood of each training run, for cross-validation that leaves whole runs out."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.compute import enable_x64
from bayesmix.discrepancy import effect
from bayesmix.inference.drift import SITES, draws_of
from bayesmix.inference.posterior import Posterior
from bayesmix.model import Data, Form, expected_loss, log_likelihood_by_run, reference_loss


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
    groups = len(runs.train_runs)
    out = np.empty((chains, size, groups, len(runs.targets)), np.float32)
    with enable_x64():
        data = jax.tree.map(jnp.asarray, model.data(runs))
        for t in range(len(runs.targets)):
            theta = {site: jnp.asarray(v[:, :, t].reshape(-1, 1, *v.shape[3:])) for site, v in draws.items()}
            values = np.asarray(_by_train_run(model.form, theta, data.target(t)))
            out[..., t] = values.reshape(chains, size, groups)
    return out


@partial(jax.jit, static_argnums=0)
def _by_train_run(form: Form, theta: dict[str, jax.Array], data: Data) -> jax.Array:
    return jax.lax.map(lambda one: _of_draw(form, one, data), theta, batch_size=16)


def _of_draw(form: Form, theta: dict[str, jax.Array], data: Data) -> jax.Array:
    """Log density (train_run) under one draw, one target."""
    loss = expected_loss(form.law, theta, data)
    if form.discrepancy and data.misfit is not None:
        drift = draws_of({site: theta[site][0] for site in SITES if site in theta}, data.misfit)
        at_centre = reference_loss(form.law, theta, data)[:, 0]
        loss = loss + effect(drift, loss[:, 0], at_centre, data.misfit, data.train_run)[:, None]
    return log_likelihood_by_run(form.noise, theta, loss, data)[:, 0]
