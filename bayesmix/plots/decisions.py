"""Plots of decisions: ranges of near-optimal shares, and distribution of the regret."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bayesmix.decision.decide import Decision
from bayesmix.deprecation import renamed
from bayesmix.plots.style import BLUE, GREEN, GREY, ORANGE, calm, key_above, rows_of, share_axis
from bayesmix.text import decimal

MARKS = {"natural": ("D", GREEN, 4.5), "uniform": ("|", GREY, 9.0)}


@renamed(most="max_domains")
def plot_shares(decision: Decision, *, ax: Axes, max_domains: int = 20) -> Axes:
    """Plot the chosen share of every domain and its range over near-optimal mixtures.

    Largest share on top; natural, where it is known, and uniform are marked. Where no mixture is
    within the tolerance, the bars are the central 90 % of the draws' own best shares instead, and
    the legend says so.

    Args:
        decision: result of `decide`.
        ax: axes to draw on.
        max_domains: largest number of domains; a note gives the total share of the others.
    """
    mixture, near_optimal = decision.mixture, decision.near_optimal
    order = sorted(mixture.domains, key=lambda d: -mixture[d])
    visible, rest = order[:max_domains], order[max_domains:]
    rows = rows_of(ax, visible)
    if near_optimal.empty:
        label, ranges = (
            "best of each draw, 90 %",
            {d: (b.q05, b.q95) for d, b in decision.regret.shares.items()},
        )
    else:
        label, ranges = f"as good ({near_optimal.epsilon:.1g} nats)", dict(near_optimal.ranges)
    low, high = np.array([ranges[d] for d in visible]).T
    ax.barh(
        rows, high - low, left=low, height=0.46, color=BLUE, alpha=0.35, linewidth=0, label=label
    )
    for name, (marker, colour, size) in MARKS.items():
        if name in decision.optimum.baselines:
            other = decision.optimum.baselines[name].mixture.on(order)[: len(visible)]
            ax.plot(other, rows, marker, color=colour, markersize=size, label=name, linestyle="")
    ax.plot(
        mixture.on(order)[: len(visible)],
        rows,
        "o",
        color=ORANGE,
        markersize=6,
        label="chosen",
        zorder=3,
        linestyle="",
    )
    if rest:
        subject = "1 smaller domain has" if len(rest) == 1 else f"{len(rest)} smaller domains have"
        text = f"{subject} {100 * sum(mixture[d] for d in rest):.0f} %"
        ax.text(
            0.99,
            0.02,
            text,
            transform=ax.transAxes,
            ha="right",
            va="bottom",
            fontsize="small",
            color=GREY,
        )
    ax.set_xlim(left=0)
    ax.margins(x=0.04)
    share_axis(ax.xaxis, "share of the training tokens")
    ax.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    key_above(ax)
    return calm(ax)


def plot_regret(decision: Decision, *, ax: Axes, bins: int = 40) -> Axes:
    """Plot the distribution of the regret of acting now over the draws, in nats.

    The regret is the loss above that of the best mixture of each draw.

    Args:
        decision: result of `decide`.
        ax: axes to draw on.
        bins: number of bins of the histogram.
    """
    losses = decision.regret.losses
    high, end = (float(q) for q in np.quantile(losses, [0.95, 0.995]))
    # one outlier would squeeze all other draws into the first bins
    outliers = int((losses > end).sum())
    label = f"{len(losses)} draws" + (f", {outliers} further right" if outliers else "")
    ax.hist(
        losses,
        bins=bins,
        range=(0.0, max(end, 1e-12)),
        color=BLUE,
        alpha=0.45,
        linewidth=0,
        label=label,
    )
    ax.axvline(
        float(losses.mean()),
        color=ORANGE,
        linewidth=1.5,
        label=f"expected, {decimal(losses.mean())} nats",
    )
    ax.axvline(
        high,
        color=ORANGE,
        linewidth=1.5,
        linestyle="--",
        label=f"exceeded by 5 % of the draws, {decimal(high)}",
    )
    ax.set_xlim(left=0)
    ax.ticklabel_format(axis="x", style="sci", scilimits=(-2, 2))
    ax.set_xlabel("regret of the chosen mixture (nats)")
    ax.set_ylabel("draws")
    key_above(ax)
    return calm(ax)
