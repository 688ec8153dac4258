"""Plots of prior against posterior."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bayesmix.deprecation import renamed
from bayesmix.errors import InputError
from bayesmix.evaluation.identifiability import prior_draws
from bayesmix.plots.style import BLUE, GREY, calm, key, key_above, plain, rows_of
from bayesmix.posterior.labels import entries
from bayesmix.posterior.posterior import Posterior

BINS = 50
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def plot_prior_posterior(
    posterior: Posterior, parameter: str, *, target: str, ax: Axes, seed: int = 0
) -> Axes:
    """Plot the prior and the posterior density of one parameter.

    Args:
        posterior: a fitted posterior.
        parameter: site, with the domain in brackets where it has one for each, such as ``alpha`` or
            ``gamma[web]``.
        target: the target of the parameter.
        ax: axes to draw on.
        seed: seed of the prior draws.

    Raises:
        InputError: there is no such parameter or target.
    """
    prior_sample, posterior_sample = _pair(posterior, parameter, target, seed)
    # the prior may have a long tail; what matters is where either has its mass
    low = min(np.quantile(prior_sample, 0.005), posterior_sample.min())
    high = max(np.quantile(prior_sample, 0.98), posterior_sample.max())
    edges = np.linspace(low, high, BINS + 1)
    ax.hist(prior_sample, edges, density=True, color=GREY, alpha=0.5, linewidth=0, label="prior")
    ax.hist(
        posterior_sample, edges, density=True, color=BLUE, alpha=0.6, linewidth=0, label="posterior"
    )
    _, _, amplitude = _site(posterior, parameter)
    ax.set_xlim(low, high)
    ax.set_xlabel(
        f"{plain(parameter, 40)} of {plain(target)}" + (" (nats/token)" if amplitude else "")
    )
    ax.set_ylabel("density")
    ax.set_yticks([])
    key(ax)
    return calm(ax)


@renamed(most="max_parameters")
def plot_learned(
    posterior: Posterior, *, target: str, ax: Axes, max_parameters: int = 30, seed: int = 0
) -> Axes:
    """Plot the posterior of every parameter of the law in quantiles of its prior.

    Bars are 50 and 90 % intervals. A bar over the whole width means that the runs do not inform the
    parameter; one at an edge disagrees with the prior.

    Args:
        posterior: a fitted posterior.
        target: the target whose parameters are shown.
        ax: axes to draw on.
        max_parameters: largest number of parameters, those whose posterior is narrowest in these
            quantiles.
        seed: seed of the prior draws.
    """
    prior, column = prior_draws(posterior, seed), posterior.targets.index(target)
    bars = {}
    for label, (site, position) in entries(posterior).items():
        prior_sample = prior[site] if position is None else prior[site][:, position]
        posterior_sample = (
            posterior.flat[site][:, column]
            if position is None
            else posterior.flat[site][:, column, position]
        )
        amplitude = site in posterior.model.law.amplitudes
        posterior_sample = (
            posterior_sample / posterior.reference.loss[target] if amplitude else posterior_sample
        )
        bars[label] = np.searchsorted(
            np.sort(prior_sample), np.quantile(posterior_sample, LEVELS)
        ) / len(prior_sample)
    narrowest = set(sorted(bars, key=lambda name: bars[name][-1] - bars[name][0])[:max_parameters])
    labels = [name for name in bars if name in narrowest]
    rows = rows_of(ax, labels, width=24)
    low, inner_low, middle, inner_high, high = np.array([bars[name] for name in labels]).T * 100
    ax.axvspan(5, 95, color=GREY, alpha=0.18, linewidth=0, label="prior, 90 %", zorder=0)
    thin = max(0.0, min(2.2, 70 / len(labels)))
    ax.hlines(rows, low, high, color=BLUE, linewidth=thin, label="posterior, 90 %")
    ax.hlines(rows, inner_low, inner_high, color=BLUE, linewidth=2.6 * thin, label="50 %")
    ax.plot(
        middle,
        rows,
        "o",
        color="white",
        markeredgecolor=BLUE,
        markersize=3.5,
        linestyle="",
        label="median",
    )
    ax.set_xlim(0, 100)
    ax.set_xlabel(f"{plain(target)}: quantile of the prior (%)")
    key_above(ax)
    return calm(ax)


def _site(posterior: Posterior, parameter: str) -> tuple[str, int | None, bool]:
    """Site, position of the entry, and whether it is in the unit of the loss."""
    parameters = entries(posterior)
    if parameter not in parameters:
        raise InputError(
            "no such parameter", expected=f"one of {list(parameters)[:20]}", got=parameter
        )
    site, position = parameters[parameter]
    return site, position, site in posterior.model.law.amplitudes


def _pair(
    posterior: Posterior, parameter: str, target: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Prior and posterior draws of one parameter, in its own unit."""
    if target not in posterior.targets:
        raise InputError(
            "unknown target",
            expected=f"among {list(posterior.targets)}",
            got=target,
            advice="Check the spelling.",
        )
    site, position, amplitude = _site(posterior, parameter)
    prior_sample = prior_draws(posterior, seed)[site]
    prior_sample = prior_sample if position is None else prior_sample[:, position]
    posterior_sample = posterior.flat[site][:, posterior.targets.index(target)]
    unit = posterior.reference.loss[target] if amplitude else 1.0
    return prior_sample * unit, posterior_sample if position is None else posterior_sample[
        :, position
    ]
