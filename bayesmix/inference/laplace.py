"""A quick stand-in for NUTS: draws around the best fit with importance weights; k̂ says how far to trust them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import MultivariateStudentT

from bayesmix.compute import enable_x64, one_blas_thread, package_versions
from bayesmix.errors import InputError
from bayesmix.inference.drift import drift_draws
from bayesmix.inference.geometry import Geometry
from bayesmix.inference.pool import shared_priors
from bayesmix.inference.posterior import Posterior
from bayesmix.inference.prequential import SITE, with_record
from bayesmix.inference.reweight import smoothed, systematic
from bayesmix.inference.sampler import TargetProblem, as_arrays, settle
from bayesmix.inference.start import whitening
from bayesmix.model import BoundModel, Data, Form, Model
from bayesmix.priors import Prior
from bayesmix.runs.table import Runs

TAILS = 8.0
"""Degrees of freedom of what is sampled from: heavier tails than a Gaussian's keep the weights bounded."""
OVERSAMPLING = 4
LEAST = 3
"""Fewer targets say nothing about how much targets differ."""


@one_blas_thread
def laplace(
    model: Model, runs: Runs, *, seed: int = 0, draws: int = 1000, starts: int = 3
) -> tuple[Posterior, np.ndarray]:
    """Approximate the posterior of the model given the runs, a hundred times faster than `fit`.

    In the law's own coordinates the posterior is nearly Gaussian. Draws of a Student-t with the curvature at the best
    fit are weighted by the true density, Pareto-smoothed, and drawn again in proportion.

    Args:
        model: law, prior and noise.
        runs: the measured points.
        seed: of starts and draws.
        draws: how many.
        starts: how many optimisations a target.

    Returns:
        The posterior as one chain of independent draws, and Pareto k̂ of each target (target). Where k̂ is 0.7 or more
        the draws are those of the approximation alone in effect: use `fit`.
    """
    model = model.bind(runs)
    fits = [_one(problem, seed, draws, starts) for problem in problems_of(model, runs, seed=seed)]
    theta = {site: np.stack([parameters[site][:, 0] for parameters, *_ in fits], axis=1)[None] for site in fits[0][0]}
    weight = np.concatenate([np.asarray(problem.data.weight) for _, _, problem in fits], axis=1)
    nothing = np.zeros((1, draws, len(runs.targets)))
    stats = {name: nothing for name in ("energy", "steps", "accept", "potential")} | {"diverging": nothing > 0}
    drift = drift_draws(model, runs, theta, weight, seed)
    posterior = Posterior(model, runs, theta, stats, seed, package_versions(), drift=drift)
    return posterior, np.array([khat for _, khat, _ in fits])


def problems_of(model: BoundModel, runs: Runs, *, seed: int = 0) -> list[TargetProblem]:
    """The posterior of every target as the sampler reads it, with priors that pooling and the record have changed.

    Args:
        model: bound to the runs.
        runs: the measured points.
        seed: of the refits.
    """
    with enable_x64():
        priors = with_record(model, runs, pooled(model, runs, seed=seed).priors(len(runs.domains)), seed=seed)
        data = model.data(runs, pad=True)
    return [TargetProblem(model.form, prior, data.target(t)) for t, prior in enumerate(priors)]


def pooled(model: Model, runs: Runs, *, seed: int = 0, draws: int = 400) -> Model:
    """The model as its targets believe in it: where it asks for partial pooling, with priors learned from all of them.

    Every target keeps its own parameters. Each is approximated alone first; see `shared_priors` for what they then have
    in common. Amplitudes (E, A, B, M) are not pooled: they are what makes a target. Nor is `extrapolation`, of which
    the runs say nothing; the record of the table shares it.

    The priors are learned from the same runs that are fitted afterwards, as empirical Bayes does; with a handful of
    targets the bands are a little too narrow for it.

    Args:
        model: may be bound to the runs.
        runs: at least three targets, where there is pooling.
        seed: of the separate fits.
        draws: of each of them.

    Raises:
        InputError: there are too few targets.
    """
    if model.pooling == "none":
        return model
    if len(runs.targets) < LEAST:
        raise InputError(
            "pooling needs several targets",
            expected=f"at least {LEAST}",
            got=len(runs.targets),
            advice="Leave pooling at 'none'.",
        )
    unpooled = replace(model, pooling="none")
    # the record is for the fit itself
    discrepancy = model.discrepancy and replace(model.discrepancy, prequential=False)
    flat = laplace(replace(unpooled, discrepancy=discrepancy), runs, seed=seed, draws=draws)[0].flat
    with enable_x64():
        priors = unpooled.priors(len(runs.domains))
        shared = shared_priors(priors, flat, priors.keys() - unpooled.law.amplitudes - {SITE})
    return replace(unpooled, prior=Prior(unpooled.prior | shared))


def _one(
    problem: TargetProblem, seed: int, draws: int, starts: int
) -> tuple[dict[str, np.ndarray], float, TargetProblem]:
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
    return {site: np.asarray(value)[chosen] for site, value in theta.items()}, float(importance.khat), problem


@partial(jax.jit, static_argnums=(0, 6))
def _propose(
    form: Form, prior: Any, data: Data, centre: jax.Array, lower: jax.Array, key: jax.Array, count: int
) -> tuple[dict[str, jax.Array], jax.Array]:
    geometry = Geometry(form, prior, data)
    _, unravel = geometry.unravel()
    proposal = MultivariateStudentT(TAILS, centre, lower)
    z = proposal.sample(key, (count,))
    potential = jax.lax.map(geometry.potential, z, batch_size=64)
    theta = jax.vmap(lambda one: geometry.to_theta(unravel(one))[0])(z)
    return theta, -potential - proposal.log_prob(z)
