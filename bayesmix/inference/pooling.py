"""Partial pooling: priors for each target that are learned from all targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from scipy.optimize import brentq
from scipy.special import digamma, logsumexp, polygamma
from scipy.stats import norm

from bayesmix.errors import InputError
from bayesmix.inference.density import TargetProblem
from bayesmix.inference.gaussian import approximate
from bayesmix.inference.prequential import SITE
from bayesmix.model.model import BoundModel
from bayesmix.model.priors import Prior, family
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64

SPREADS = np.geomspace(0.05, 1.0, 40)
"""Grid of the standard deviation between targets, as a fraction of the width of the prior."""

LEAST = 3
"""Minimum number of targets: fewer hold no information on how much targets differ."""
STARTS = 3
"""Number of optimisations for each target."""


def pooled(model: BoundModel, runs: Runs, *, seed: int = 0, draws: int = 400) -> BoundModel:
    """The model with priors learned from all targets, where it asks for partial pooling.

    Every target keeps its own parameters. Each is approximated alone first; see `shared_priors` for
    the priors that follow. Amplitudes (E, A, B, M) are not pooled: they are specific to a target.
    Nor is `extrapolation`, on which the runs hold no information; all targets share the record of
    the table instead.

    The priors are learned from the same runs that are fitted afterwards, as empirical Bayes does;
    with a handful of targets the bands are a little too narrow for it.

    Args:
        model: model bound to the runs.
        runs: runs with at least three targets, where there is pooling.
        seed: random seed of the separate fits.
        draws: number of draws of each separate fit.

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
    with enable_x64():
        priors, data = unpooled.priors(len(runs.domains)), unpooled.data(runs, pad=True)
    problems = [
        TargetProblem(unpooled.form, priors, data.target(t)) for t in range(len(runs.targets))
    ]
    fits = [approximate(problem, seed, draws, STARTS).theta for problem in problems]
    flat = {site: np.concatenate([theta[site] for theta in fits], axis=1) for site in fits[0]}
    with enable_x64():
        shared = shared_priors(priors, flat, priors.keys() - unpooled.law.amplitudes - {SITE})
    return replace(unpooled, prior=Prior(unpooled.prior | shared))


def shared_priors(
    priors: Mapping[str, dist.Distribution], draws: Mapping[str, np.ndarray], sites: Iterable[str]
) -> dict[str, dist.Distribution]:
    """Priors for each target, learned from the draws of all targets.

    For a parameter u of a site, on its free scale, the likelihood of target t is
    ûₜ ~ Normal(uₜ, vₜ), and uₜ ~ Normal(μ, τ²) with the prior for μ and a half-normal one, half as
    wide, for τ. The predictive distribution of a further target is the new prior, of the same
    family: narrow where the targets agree, hardly changed where they differ or hold no information,
    and never wider.

    Args:
        priors: priors of all sites.
        draws: draws of all sites (draw, target, ...), each target fitted alone.
        sites: sites to pool; those of other families than LogNormal, Normal, Beta and Dirichlet are
            left out.
    """
    beliefs = {site: _shared(priors[site], draws[site]) for site in sites}
    return {site: belief for site, belief in beliefs.items() if belief}


class Free(NamedTuple):
    """Mean and variance of a parameter on its free scale, where it is nearly Gaussian."""

    mean: np.ndarray  # (entry)
    var: np.ndarray  # (entry)


def _shared(belief: dist.Distribution, draws: np.ndarray) -> dist.Distribution | None:
    """Prior that the targets share, from draws (draw, target, ...).

    It is of the same family; None for families that are not pooled.
    """
    kind, base, entries = family(belief), _base(belief), draws.reshape(*draws.shape[:2], -1)
    if kind in (dist.LogNormal, dist.Normal):
        free = np.log(entries) if kind is dist.LogNormal else entries
        loc, scale = (
            np.broadcast_to(np.asarray(v, float), entries.shape[2:]) for v in (base.loc, base.scale)
        )
        predictive = population(free, Free(loc, scale**2))
        mean, sd = predictive.mean, np.sqrt(predictive.var)
        return _shaped(kind(jnp.asarray(mean), jnp.asarray(sd)), belief.event_shape)
    if kind is dist.Beta:
        concentrations = base.concentration1, base.concentration0
        a, b = (np.broadcast_to(np.asarray(v, float), entries.shape[2:]) for v in concentrations)
        prior = Free(digamma(a) - digamma(b), polygamma(1, a) + polygamma(1, b))
        predictive = population(np.log(entries) - np.log1p(-entries), prior)
        pairs = [
            concentration(np.array([m, -m]) / 2, v / 2) for m, v in zip(*predictive, strict=True)
        ]
        a, b = jnp.asarray(np.array(pairs).T)
        return _shaped(dist.Beta(a, b), belief.event_shape)
    if kind is dist.Dirichlet:
        alpha = np.asarray(base.concentration, float)
        logs = np.log(np.maximum(entries, 1e-12))
        predictive = population(logs - logs.mean(axis=2, keepdims=True), _centred(alpha))
        return dist.Dirichlet(
            jnp.asarray(
                concentration(predictive.mean - predictive.mean.mean(), predictive.var.sum())
            )
        )
    return None


def population(draws: np.ndarray, prior: Free) -> Free:
    """Predictive mean and variance of a further target's parameter (entry).

    They follow from draws (draw, target, entry) of the known targets. τ is summed over a grid, so
    that both its uncertainty and that of μ count.
    """
    mean, var = draws.mean(axis=0), draws.var(axis=0, ddof=1)
    # likelihood of a target: 1/vₜ = 1/var − 1/prior.var, ûₜ = vₜ (mean/var − prior.mean/prior.var)
    precision = np.maximum(1 / var - 1 / prior.var, 0.02 / prior.var)
    estimate = (mean / var - prior.mean / prior.var) / precision
    uninformative = 1 / var < 1.02 / prior.var
    estimate = np.where(uninformative, prior.mean, estimate)
    tau2 = (SPREADS[:, None] ** 2) * prior.var  # (spread, entry)
    # ûₜ ~ Normal(μ, τ² + vₜ) (spread, target, entry)
    total = tau2[:, None] + np.where(uninformative, np.inf, 1 / precision)
    weight = 1 / total
    post = 1 / (1 / prior.var + weight.sum(axis=1))  # variance of μ given τ
    mu = post * (prior.mean / prior.var + (weight * estimate).sum(axis=1))
    # log density of the estimates ûₜ, with μ integrated out
    logs = np.where(uninformative, 0.0, np.log(np.where(uninformative, 1.0, total)))
    square = (weight * (estimate - mu[:, None]) ** 2).sum(axis=1) + (
        mu - prior.mean
    ) ** 2 / prior.var
    score = -0.5 * (logs.sum(axis=1) + np.log(prior.var / post) + square)
    score += norm.logpdf(2 * SPREADS)[:, None] + np.log(np.gradient(SPREADS))[:, None]
    share = np.exp(score - np.asarray(logsumexp(score, axis=0)))
    centre = (share * mu).sum(axis=0)
    spread = (share * (tau2 + post + (mu - centre) ** 2)).sum(axis=0)
    return Free(centre, np.minimum(spread, prior.var))


def concentration(mean: np.ndarray, total: float) -> np.ndarray:
    """Dirichlet concentration (entry) with given moments of the centred logs.

    Args:
        mean: mean (entry) of the centred logs.
        total: sum of the variances of the centred logs.
    """

    def of(level: float) -> np.ndarray:
        return _inverse_digamma(mean - mean.max() + level)

    level = brentq(lambda trial: np.log(_centred(of(float(trial))).var.sum() / total), -60.0, 20.0)
    return of(float(level))  # type: ignore[arg-type]


def _centred(alpha: np.ndarray) -> Free:
    """Mean and variance of log pₖ less its mean over k, for p ~ Dirichlet(alpha)."""
    trigamma, size = polygamma(1, alpha), len(alpha)
    return Free(
        digamma(alpha) - digamma(alpha).mean(), trigamma * (1 - 2 / size) + trigamma.sum() / size**2
    )


def _inverse_digamma(y: np.ndarray) -> np.ndarray:
    """x with digamma(x) = y (Minka 2000, *Estimating a Dirichlet distribution*, appendix C)."""
    x = np.where(
        y > -2.22, np.exp(np.minimum(y, 50.0)) + 0.5, -1 / np.minimum(y + np.euler_gamma, -1e-3)
    )
    for _ in range(6):
        x = np.maximum(x - (digamma(x) - y) / np.asarray(polygamma(1, x)), 1e-12)
    return x


def _base(belief: Any) -> Any:
    while isinstance(belief, dist.ExpandedDistribution | dist.Independent):
        belief = belief.base_dist
    return belief


def _shaped(belief: Any, event_shape: tuple[int, ...]) -> dist.Distribution:
    """Join the distributions of entries into one event; a scalar site has the only entry's."""
    if event_shape:
        return belief.to_event(1)
    return type(belief)(*(jnp.asarray(getattr(belief, name))[0] for name in belief.arg_constraints))
