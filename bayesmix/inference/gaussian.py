"""Importance-weighted draws around a posterior mode."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import MultivariateStudentT

from bayesmix.inference.coordinates import Geometry
from bayesmix.inference.density import TargetProblem, as_arrays
from bayesmix.inference.modes import settle, whitening
from bayesmix.model.data import Data
from bayesmix.model.likelihood import Form
from bayesmix.model.priors import Prior
from bayesmix.posterior.resample import smoothed, systematic
from bayesmix.runtime.compute import enable_x64

TAILS = 8.0
"""Degrees of freedom of the Student-t proposal.

Tails heavier than those of a Gaussian keep the importance weights bounded.
"""
OVERSAMPLING = 4


class Approximation(NamedTuple):
    """Approximate draws from the posterior of one problem."""

    theta: dict[str, np.ndarray]  # (draw, target, ...)
    khat: float  # Pareto k̂ of the weights
    problem: TargetProblem  # with its training runs weighed


def approximate(problem: TargetProblem, seed: int, draws: int, starts: int) -> Approximation:
    """Draw from a Student-t around the mode, and resample by importance.

    The weights are ratios of the posterior density to the proposal's, Pareto-smoothed.
    """
    problem, (best, *_) = settle(problem, seed, starts)
    key, uniform_key = jax.random.split(jax.random.key(seed))
    lower = np.asarray(whitening(best.hessian))
    with enable_x64():
        fixed = as_arrays(Prior(problem.prior)), as_arrays(problem.data)
        theta, log_ratio = _propose(
            problem.form, *fixed, jnp.asarray(best.z), jnp.asarray(lower), key, OVERSAMPLING * draws
        )
    importance = smoothed(np.asarray(np.where(np.isfinite(log_ratio), log_ratio, -np.inf)))
    chosen = systematic(importance.weights, draws, float(jax.random.uniform(uniform_key)))
    chosen = np.random.default_rng(seed).permutation(chosen)
    chosen_theta = {site: np.asarray(value)[chosen] for site, value in theta.items()}
    return Approximation(chosen_theta, float(importance.khat), problem)


@partial(jax.jit, static_argnums=(0, 6))
def _propose(
    form: Form,
    prior: Any,
    data: Data,
    centre: jax.Array,
    lower: jax.Array,
    key: jax.Array,
    count: int,
) -> tuple[dict[str, jax.Array], jax.Array]:
    geometry = Geometry(form, prior, data)
    _, unravel = geometry.unravel()
    proposal = MultivariateStudentT(TAILS, centre, lower)
    z = proposal.sample(key, (count,))
    potential = jax.lax.map(geometry.potential, z, batch_size=64)
    theta = jax.vmap(lambda one: geometry.transform_and_log_det(unravel(one))[0])(z)
    return theta, -potential - proposal.log_prob(z)
