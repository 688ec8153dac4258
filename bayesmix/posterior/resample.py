"""Draws reused: fewer of them, or the same ones weighted by what new runs say of them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from arviz_stats.base.array import BaseArray

from bayesmix.errors import InputError
from bayesmix.posterior.log_likelihood import log_likelihood_of_table
from bayesmix.posterior.posterior import Posterior, flat_draws
from bayesmix.runs.runs import Runs

KHAT = 0.7
"""Above this Pareto k̂, weighted draws and PSIS-LOO say nothing (Vehtari et al. 2024, *JMLR* 25, arXiv 1507.02646)."""
NOTHING = 600.0
"""A weight so many nats below the largest is none; far lower ones leave floating point."""


class Smoothed(NamedTuple):
    """Pareto-smoothed importance weights."""

    weights: np.ndarray  # (..., draw), summing to 1
    khat: np.ndarray  # (...)


def smoothed(log_ratios: np.ndarray) -> Smoothed:
    """Pareto-smoothed importance weights from log ratios (..., draw); k̂ is infinite where no tail can be fitted."""
    flat = log_ratios.reshape(-1, log_ratios.shape[-1])
    flat = np.maximum(
        flat, flat.max(axis=1, keepdims=True) - NOTHING
    )  # the fit of a tail divides by its weights
    constant = (
        np.ptp(flat, axis=1) < 1e-12
    )  # nothing to smooth, and a Pareto tail cannot be fitted to it
    log_weights, khat = np.zeros_like(flat), np.zeros(len(flat))
    if not constant.all():
        # it is written for leave-one-out, where the log ratio is minus the log-likelihood it is
        # given
        with np.errstate(over="ignore"):  # of a tail so heavy that k̂ says all there is to say
            log_weights[~constant], khat[~constant] = BaseArray().psislw(-flat[~constant], axis=-1)
        khat = np.where(np.isnan(khat), np.inf, khat)
    weights = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return Smoothed(weights.reshape(log_ratios.shape), khat.reshape(log_ratios.shape[:-1]))


def thinned(posterior: Posterior, max_draws: int) -> Posterior:
    """The posterior with at most so many draws, evenly spaced, as one chain; itself when it has no more."""
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
    """The posterior with the given draws (draw, target, ...) as one chain, and the statistics of the draws `keep`."""
    stats = {
        name: value.reshape(-1, value.shape[-1])[keep][None]
        for name, value in posterior.stats.items()
    }
    one_chain = [{site: value[None] for site, value in draws.items()} for draws in (flat, drift)]
    return replace(posterior, draws=one_chain[0], drift=one_chain[1], stats=stats)


def reweighted(posterior: Posterior, new: Runs, seed: int = 0) -> tuple[Posterior, float]:
    """The posterior after further runs, by weighting its draws with their likelihood and drawing again.

    Each target is weighted by itself, since targets are independent of each other. The draws are
    only as good as k̂: from 0.7 on they must not be used, and the model has to be fitted again.

    Args:
        posterior: fitted to the runs before; its `runs` stay as they are.
        new: runs it has not seen, with the same domains and targets.
        seed: of the drawing.

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
    index = np.stack(
        [rng.permutation(systematic(w, len(w), rng.random())) for w in weights], axis=1
    )  # (draw, target)
    column = np.arange(index.shape[1])
    flat, drift = (
        {site: value[index, column] for site, value in draws.items()}
        for draws in (posterior.flat, _drift(posterior))
    )
    return with_draws(posterior, flat, drift, np.arange(len(index))), float(khat.max())


def _drift(posterior: Posterior) -> dict[str, np.ndarray]:
    return {site: flat_draws(value) for site, value in posterior.drift.items()}


def systematic(weights: np.ndarray, count: int, offset: float) -> np.ndarray:
    """Positions (count) in ascending order, each as often as its weight says, up to one: systematic resampling.

    Args:
        weights: that sum to 1 (draw).
        count: how many positions.
        offset: uniform in [0, 1).
    """
    return np.searchsorted(np.cumsum(weights)[:-1], (offset + np.arange(count)) / count)
