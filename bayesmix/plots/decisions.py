"""Decisions in pictures: how far each share may move, and what acting now may cost."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from bayesmix.decision.decide import Decision

SET = "#0072B2"  # from the palette of Okabe and Ito, told apart by colour-blind readers
CHOSEN = "#D55E00"
MARKS = {"natural": ("D", "#009E73"), "uniform": ("|", "0.35")}


def plot_shares(decision: Decision, *, ax: Axes) -> Axes:
    """The chosen share of every domain, and its range over the mixtures that do as well.

    Largest share on top; natural, where it is known, and uniform are marked. An empty set draws no ranges, and the
    title says so.

    Args:
        decision: what `decide` returned.
        ax: where to draw.
    """
    mixture, same = decision.mixture, decision.equivalents
    domains = sorted(mixture.domains, key=lambda d: mixture[d])
    rows = np.arange(len(domains))
    if not same.empty:
        low, high = np.array([same.ranges[d] for d in domains]).T
        ax.barh(rows, high - low, left=low, height=0.42, color=SET, alpha=0.35, linewidth=0, label="as good")
    ax.plot([mixture[d] for d in domains], rows, "o", color=CHOSEN, markersize=6, label="chosen", zorder=3)
    for name, (marker, colour) in MARKS.items():
        if name in decision.optimum.against:
            other = decision.optimum.against[name].mixture.on(domains)
            ax.plot(other, rows, marker, color=colour, markersize=9 if marker == "|" else 5, label=name, linestyle="")
    ax.set_yticks(rows, domains)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_xlabel("share of the training tokens")
    held = f"{100 * same.probability:.0f} %"
    title = "no mixture is" if same.empty else "as good:"
    ax.set_title(f"{title} within {same.epsilon:.2g} nats of the best with probability {held}", fontsize="medium")
    ax.legend(frameon=False, fontsize="small", loc="lower right")
    return ax


def plot_regret(decision: Decision, *, ax: Axes, bins: int = 40) -> Axes:
    """How the cost of acting now is distributed over the draws, in nats against the best mixture of each draw.

    Args:
        decision: what `decide` returned.
        ax: where to draw.
        bins: of the histogram.
    """
    losses = decision.regret.losses
    ax.hist(losses, bins=bins, density=True, color=SET, alpha=0.45, linewidth=0, label="draws")
    ax.axvline(float(losses.mean()), color=CHOSEN, linewidth=1.5, label=f"expected, {losses.mean():.1e} nats")
    high = float(np.quantile(losses, 0.95))
    ax.axvline(high, color=CHOSEN, linewidth=1.5, linestyle="--", label=f"exceeded by 5 % of the draws, {high:.1e}")
    ax.set_xlim(left=0)
    ax.ticklabel_format(axis="x", style="sci", scilimits=(-2, 2))
    ax.set_yticks([])
    ax.set_xlabel("regret of the chosen mixture (nats)")
    ax.set_ylabel("density over draws")
    ax.legend(frameon=False, fontsize="small")
    return ax
