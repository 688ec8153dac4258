"""Log-likelihood of each training run, for cross-validation that leaves whole runs out."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.model.data import Data
from bayesmix.model.discrepancy import effect
from bayesmix.model.likelihood import Form, expected_loss, log_likelihood_by_run, reference_loss
from bayesmix.model.noise import Noise, Rows
from bayesmix.posterior.discrepancy import SITES, draws_of
from bayesmix.posterior.measurement_noise import late_of
from bayesmix.posterior.posterior import Posterior
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64


def log_likelihood_by_train_run(posterior: Posterior, step: int = 1) -> np.ndarray:
    """Log density (chain, draw, train_run, target) of the losses of each training run.

    It is conditional on the parameters and the drift of each draw; effects of training runs are
    integrated out. Training runs are in the order of their sorted labels.

    Args:
        posterior: posterior of the draws.
        step: thinning; every `step`-th draw is used.
    """
    runs, model = posterior.runs, posterior.model
    draws = {
        site: value[:, ::step] for site, value in {**posterior.draws, **posterior.drift}.items()
    }
    chains, size = next(iter(draws.values())).shape[:2]
    groups = len(runs.train_runs)
    out = np.empty((chains, size, groups, len(runs.targets)), np.float32)
    with enable_x64():
        data = jax.tree.map(jnp.asarray, model.data(runs))
        for t in range(len(runs.targets)):
            theta = {
                site: jnp.asarray(v[:, :, t].reshape(-1, 1, *v.shape[3:]))
                for site, v in draws.items()
            }
            values = np.asarray(_by_train_run(model.form, theta, data.target(t)))
            out[..., t] = values.reshape(chains, size, groups)
    return out


@partial(jax.jit, static_argnums=0)
def _by_train_run(form: Form, theta: dict[str, jax.Array], data: Data) -> jax.Array:
    return jax.lax.map(lambda one: _of_draw(form, one, data), theta, batch_size=16)


def _of_draw(form: Form, theta: dict[str, jax.Array], data: Data) -> jax.Array:
    """Log density (train_run) of the losses of one target under one draw."""
    loss = expected_loss(form.law, theta, data)
    if form.discrepancy and data.misfit is not None:
        drift = draws_of({site: theta[site][0] for site in SITES if site in theta}, data.misfit)
        at_centre = reference_loss(form.law, theta, data)[:, 0]
        loss = loss + effect(drift, loss[:, 0], at_centre, data.misfit, data.train_run)[:, None]
    return log_likelihood_by_run(form.noise, theta, loss, data)[:, 0]


def log_likelihood_of_table(posterior: Posterior, runs: Runs) -> np.ndarray:
    """Log-likelihood (draw, target) of the measured losses of all the given runs together."""
    return log_likelihood_of_new(posterior, runs).sum(axis=1)


def log_likelihood_of_new(posterior: Posterior, runs: Runs) -> np.ndarray:
    """Log-likelihood (draw, train_run, target) of runs that the posterior was not fitted to.

    It is conditional on the drift of each draw; effects of training runs are integrated out.
    """
    loss = posterior.predict(
        runs.designs, posterior.seed, noise=False, octaves_left=runs.octaves_left
    ).draws
    groups, group = len(runs.train_runs), runs.train_run_index
    with enable_x64():
        theta = {site: jnp.asarray(value) for site, value in posterior.flat.items()}
        late, se = late_of(posterior, runs.designs), jnp.asarray(runs.loss_se)
        return np.asarray(
            _log_likelihood(posterior.model.noise, groups, theta, loss, runs.loss, late, se, group)
        )


@partial(jax.jit, static_argnums=(0, 1))
def _log_likelihood(
    noise: Noise,
    groups: int,
    theta: dict[str, jax.Array],
    loss: jax.Array,
    measured: jax.Array,
    late: jax.Array,
    loss_se: jax.Array,
    group: jax.Array,
) -> jax.Array:
    def one(
        theta: dict[str, jax.Array], loss: jax.Array, measured: jax.Array, se: jax.Array
    ) -> jax.Array:
        return noise.log_prob_by_run(theta, loss, Rows(group, late, se), measured, groups)

    by_target = jax.vmap(one, (0, 1, 1, 1), 1)
    return jax.lax.map(
        lambda item: by_target(item[0], item[1], measured, loss_se), (theta, loss), batch_size=64
    )
