"""Posteriors with fewer draws, and posteriors whose draws are reweighted by new runs."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from arviz_stats.base.array import BaseArray

from bayesmix.errors import InputError
from bayesmix.posterior.log_likelihood import log_likelihood_of_table
from bayesmix.posterior.posterior import Posterior, flat_draws
from bayesmix.runs.runs import Runs

KHAT_LIMIT = 0.7
"""Pareto k̂ above which weighted draws and PSIS-LOO are not to be used.

Source: Vehtari et al. 2024, *JMLR* 25, arXiv 1507.02646.
"""
NOTHING = 600.0
"""Nats below the largest log weight at which smaller ones are cut off.

Such a weight counts for nothing, and far lower ones leave floating point.
"""


class Smoothed(NamedTuple):
    """Pareto-smoothed importance weights."""

    weights: np.ndarray  # (..., draw), summing to 1
    khat: np.ndarray  # (...)


def smoothed(log_ratios: np.ndarray) -> Smoothed:
    """Pareto-smoothed importance weights from log ratios (..., draw).

    k̂ is infinite where no tail can be fitted.
    """
    flat = log_ratios.reshape(-1, log_ratios.shape[-1])
    # the fit of a tail divides by its weights
    flat = np.maximum(flat, flat.max(axis=1, keepdims=True) - NOTHING)
    # nothing to smooth, and a Pareto tail cannot be fitted to it
    constant = np.ptp(flat, axis=1) < 1e-12
    log_weights, khat = np.zeros_like(flat), np.zeros(len(flat))
    if not constant.all():
        # `psislw` takes log-likelihoods of leave-one-out, which are minus the log ratios
        with np.errstate(over="ignore"):  # a very heavy tail overflows; its k̂ is large
            log_weights[~constant], khat[~constant] = BaseArray().psislw(-flat[~constant], axis=-1)
        khat = np.where(np.isnan(khat), np.inf, khat)
    weights = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return Smoothed(weights.reshape(log_ratios.shape), khat.reshape(log_ratios.shape[:-1]))


def thinned(posterior: Posterior, max_draws: int) -> Posterior:
    """The posterior with at most `max_draws` draws, evenly spaced, as one chain.

    A posterior that has no more draws is returned as it is.
    """
    if posterior.n_draws <= max_draws:
        return posterior
    keep = np.linspace(0, posterior.n_draws - 1, max_draws).round().astype(int)
    flat, drift = (
        {site: value[keep] for site, value in draws.items()}
        for draws in (posterior.flat, _drift(posterior))
    )
    return with_draws(posterior, flat, drift, keep)


def with_draws(
    posterior: Posterior,
    flat: dict[str, np.ndarray],
    drift: dict[str, np.ndarray],
    keep: np.ndarray,
) -> Posterior:
    """The posterior with the given draws (draw, target, ...) as one chain.

    Its sampler statistics are those of the draws `keep`.
    """
    stats = {
        name: value.reshape(-1, value.shape[-1])[keep][None]
        for name, value in posterior.stats.items()
    }
    one_chain = [{site: value[None] for site, value in draws.items()} for draws in (flat, drift)]
    return replace(posterior, draws=one_chain[0], drift=one_chain[1], stats=stats)


def reweighted(posterior: Posterior, new: Runs, seed: int = 0) -> tuple[Posterior, float]:
    """The posterior after further runs, by importance resampling of its draws.

    The weights are the likelihood of the new runs. Each target is weighted by itself, since targets
    are independent of each other. Where k̂ is 0.7 or more the draws must not be used, and the model
    has to be fitted again.

    Args:
        posterior: posterior given the runs before; its `runs` stay as they are.
        new: runs that it was not fitted to, with the same domains and targets.
        seed: random seed of the resampling.

    Returns:
        The posterior with as many draws as before, and the largest k̂ over the targets.

    Raises:
        InputError: the new runs have other targets.
    """
    if set(new.targets) != set(posterior.targets):
        raise InputError(
            "the new runs have other targets",
            expected=str(sorted(posterior.targets)),
            got=sorted(new.targets),
            advice="Give every target a column; a loss that was not measured may be missing.",
        )
    weights, khat = smoothed(log_likelihood_of_table(posterior, new.only(posterior.targets)).T)
    rng = np.random.default_rng(seed)
    by_target = [rng.permutation(systematic(w, len(w), rng.random())) for w in weights]
    index = np.stack(by_target, axis=1)  # (draw, target)
    column = np.arange(index.shape[1])
    flat, drift = (
        {site: value[index, column] for site, value in draws.items()}
        for draws in (posterior.flat, _drift(posterior))
    )
    return with_draws(posterior, flat, drift, np.arange(len(index))), float(khat.max())


def _drift(posterior: Posterior) -> dict[str, np.ndarray]:
    return {site: flat_draws(value) for site, value in posterior.drift.items()}


def systematic(weights: np.ndarray, count: int, offset: float) -> np.ndarray:
    """Systematic resampling: positions (count) in ascending order.

    Each occurs `count` times its weight, rounded up or down.

    Args:
        weights: weights (draw) that sum to 1.
        count: number of positions.
        offset: uniform number in [0, 1).
    """
    return np.searchsorted(np.cumsum(weights)[:-1], (offset + np.arange(count)) / count)
