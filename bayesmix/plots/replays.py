"""Plot of replays of recorded runs: quality of the decisions against FLOPs, by strategy."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bayesmix.campaign.replay import Replays
from bayesmix.deprecation import renamed
from bayesmix.plots.style import COLOURS, calm, key_above, plain, times_axis, zero_line

POINTS = 120
FEW = 3
"""Largest number of strategies with bands; more bands would hide each other."""
WORDS = {
    "regret": "measured regret of the decision (nats)",
    "error": "mean error of the predicted losses (%)",
}


@renamed(what="metric")
def plot_regret_by_flops(replays: Replays, *, ax: Axes, metric: str = "regret") -> Axes:
    """Plot regret of the decision, or error of the predictions, against FLOPs, by strategy.

    Each curve is a mean over the seeds that all strategies have. Where there are several seeds, a
    band of twice its standard error is drawn, for the first strategy alone where there are many.
    Seeds begin with different runs, so FLOPs are multiples of the cost of those. A strategy that
    has ended keeps its decision.

    Args:
        replays: traces of strategies and seeds.
        ax: axes to draw on.
        metric: ``regret`` or ``error``.
    """
    spans = replays.spans()
    budgets = np.geomspace(1, max(1.001, *(high / low for low, high in spans.values())), POINTS)
    unit = 100.0 if metric == "error" else 1.0
    strategies = replays.by_strategy()
    for place, (name, seeds) in enumerate(strategies.items()):
        curves = unit * np.array(
            [seeds[s].at(low * budgets, metric) for s, (low, _) in spans.items()]
        )
        mean, colour = curves.mean(axis=0), COLOURS[place % len(COLOURS)]
        if len(curves) > 1 and (place == 0 or len(strategies) <= FEW):
            error = 2 * curves.std(axis=0, ddof=1) / np.sqrt(len(curves))
            lower = np.maximum(mean - error, 0.0)
            ax.fill_between(
                budgets, lower, mean + error, step="post", color=colour, alpha=0.18, linewidth=0
            )
        ax.step(budgets, mean, where="post", color=colour, linewidth=1.6, label=plain(name, 30))
    zero_line(ax)
    ax.set_xlim(budgets[0], budgets[-1])
    ax.set_ylim(bottom=0)
    seeds = f", mean of {len(spans)} seeds" if len(spans) > 1 else ""
    times_axis(ax.xaxis, f"FLOPs against those of the first runs{seeds}")
    ax.set_ylabel(WORDS[metric])
    key_above(ax)
    return calm(ax)
