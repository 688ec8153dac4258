"""Prior against posterior: what the runs taught."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bayesmix.errors import InputError
from bayesmix.inference.identify import entries, prior_draws
from bayesmix.inference.posterior import Posterior
from bayesmix.plots.style import BLUE, GREY, calm, key, key_above, plain, rows_of

BINS = 50
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def plot_prior_posterior(posterior: Posterior, parameter: str, *, target: str, ax: Axes, seed: int = 0) -> Axes:
    """Density of one parameter before and after the runs were seen.

    Args:
        posterior: a fitted posterior.
        parameter: site, with the domain in brackets where it has one for each, such as ``alpha`` or ``gamma[web]``.
        target: the target it belongs to.
        ax: where to draw.
        seed: of the prior draws.

    Raises:
        InputError: there is no such parameter or target.
    """
    before, after = _pair(posterior, parameter, target, seed)
    # the prior may have a long tail; what matters is where either has its mass
    low = min(np.quantile(before, 0.005), after.min())
    high = max(np.quantile(before, 0.98), after.max())
    edges = np.linspace(low, high, BINS + 1)
    ax.hist(before, edges, density=True, color=GREY, alpha=0.5, linewidth=0, label="prior")
    ax.hist(after, edges, density=True, color=BLUE, alpha=0.6, linewidth=0, label="posterior")
    _, _, amplitude = _site(posterior, parameter)
    ax.set_xlim(low, high)
    ax.set_xlabel(f"{plain(parameter, 40)} of {plain(target)}" + (" (nats/token)" if amplitude else ""))
    ax.set_ylabel("density")
    ax.set_yticks([])
    key(ax)
    return calm(ax)


def plot_learned(posterior: Posterior, *, target: str, ax: Axes, most: int = 30, seed: int = 0) -> Axes:
    """Where the posterior of every parameter of the law lies in its prior: 50 and 90 % intervals in prior quantiles.

    A bar over the whole width has learned nothing; one at an edge disagrees with the prior.

    Args:
        posterior: a fitted posterior.
        target: the target whose parameters are shown.
        ax: where to draw.
        most: at most so many parameters, those whose posterior is narrowest in these quantiles.
        seed: of the prior draws.
    """
    prior, which = prior_draws(posterior, seed), posterior.targets.index(target)
    found = {}
    for label, (site, at) in entries(posterior).items():
        before = prior[site] if at is None else prior[site][:, at]
        after = posterior.flat[site][:, which] if at is None else posterior.flat[site][:, which, at]
        amplitude = site in posterior.model.law.amplitudes
        after = after / posterior.reference.loss[target] if amplitude else after
        found[label] = np.searchsorted(np.sort(before), np.quantile(after, LEVELS)) / len(before)
    kept = set(sorted(found, key=lambda name: found[name][-1] - found[name][0])[:most])
    labels = [name for name in found if name in kept]
    rows = rows_of(ax, labels, width=24)
    low, inner_low, middle, inner_high, high = np.array([found[name] for name in labels]).T * 100
    ax.axvspan(5, 95, color=GREY, alpha=0.18, linewidth=0, label="prior, 90 %", zorder=0)
    thin = max(0.0, min(2.2, 70 / len(labels)))
    ax.hlines(rows, low, high, color=BLUE, linewidth=thin, label="posterior, 90 %")
    ax.hlines(rows, inner_low, inner_high, color=BLUE, linewidth=2.6 * thin, label="50 %")
    ax.plot(middle, rows, "o", color="white", markeredgecolor=BLUE, markersize=3.5, linestyle="", label="median")
    ax.set_xlim(0, 100)
    ax.set_xlabel(f"{plain(target)}: quantile of the prior (%)")
    key_above(ax)
    return calm(ax)


def _site(posterior: Posterior, parameter: str) -> tuple[str, int | None, bool]:
    """Site, position of the entry, and whether it is in the unit of the loss."""
    known = entries(posterior)
    if parameter not in known:
        raise InputError(
            "no such parameter", expected=f"one of {list(known)[:20]}", got=parameter, advice="Correct the name."
        )
    site, at = known[parameter]
    return site, at, site in posterior.model.law.amplitudes


def _pair(posterior: Posterior, parameter: str, target: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Prior and posterior draws of one parameter, in its own unit."""
    if target not in posterior.targets:
        raise InputError(
            "unknown target", expected=f"among {list(posterior.targets)}", got=target, advice="Check the spelling."
        )
    site, at, amplitude = _site(posterior, parameter)
    before = prior_draws(posterior, seed)[site]
    before = before if at is None else before[:, at]
    after = posterior.flat[site][:, posterior.targets.index(target)]
    unit = posterior.reference.loss[target] if amplitude else 1.0
    return before * unit, after if at is None else after[:, at]
