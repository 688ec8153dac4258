"""Plot of R-hat and effective sample size of all parameters.

Traces and ranks of single parameters can be drawn with ArviZ.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from bayesmix.evaluation.convergence import mixing
from bayesmix.plots.style import BLUE, DENSE, ORANGE, calm, key_above, plain
from bayesmix.posterior.diagnostics import ESS, RHAT
from bayesmix.posterior.posterior import Posterior

NAMED = 3
LEAST = 1e-4


def plot_convergence(posterior: Posterior, *, ax: Axes) -> Axes:
    """Plot R-hat against effective sample size, one dot for each parameter and target.

    Parameters in the shaded corners fail. The worst of the parameters that fail are named.

    Args:
        posterior: a fitted posterior.
        ax: axes to draw on.
    """
    diagnostics = mixing(posterior)
    ess = np.minimum(diagnostics.ess_bulk, diagnostics.ess_tail)
    finite = np.isfinite(diagnostics.rhat) & np.isfinite(ess)
    excess = np.maximum(diagnostics.rhat - 1, LEAST)
    bad = (diagnostics.rhat > RHAT) | (ess < ESS)
    high = max(10 * (RHAT - 1), 2 * float(excess[finite].max(initial=0)))
    low_ess, high_ess = (
        min(ESS / 2, 0.7 * float(ess[finite].min(initial=ESS))),
        1.4 * float(ess[finite].max()),
    )
    for mask, colour, label in (
        (finite & ~bad, BLUE, "parameters"),
        (finite & bad, ORANGE, "that fail"),
    ):
        if not mask.any():
            continue
        ax.plot(
            ess[mask],
            excess[mask],
            "o",
            color=colour,
            alpha=0.5,
            markersize=4,
            markeredgewidth=0,
            linestyle="",
            label=f"{mask.sum()} {label}",
            rasterized=int(mask.sum()) > DENSE,
        )
    ax.axhspan(RHAT - 1, high, color="0.5", alpha=0.15, linewidth=0, label="not enough")
    ax.fill_betweenx([LEAST / 1.5, RHAT - 1], low_ess, ESS, color="0.5", alpha=0.15, linewidth=0)
    worst = np.flatnonzero(finite & bad)[np.argsort(-diagnostics.rhat[finite & bad])][:NAMED]
    lines = [
        plain(f"{diagnostics.parameter[i]} of {diagnostics.targets[diagnostics.target[i]]}", 36)
        for i in worst
    ]
    lines = ["worst:", *lines] if lines else []
    lines += [f"{(~finite).sum()} parameters never moved"] if not finite.all() else []
    ax.text(
        0.98,
        0.97,
        "\n".join(lines),
        transform=ax.transAxes,
        ha="right",
        va="top",
        fontsize="x-small",
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(low_ess, max(high_ess, 1.2 * ESS))
    ax.set_ylim(LEAST / 1.5, high)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{1 + value:.5g}"))
    ax.set_xlabel("effective draws (smaller of bulk and tail ESS)")
    ax.set_ylabel("R-hat")
    key_above(ax)
    return calm(ax)
