"""Replays of recorded runs: how fast each strategy gets to a good decision."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bayesmix.acquisition.replay import Replays
from bayesmix.plots.style import COLOURS, calm, flops_axis, key, plain, zero_line

POINTS = 120
WORDS = {"regret": "measured regret of the decision (nats)", "error": "mean error of the predicted losses (%)"}


def plot_regret_by_flops(replays: Replays, *, ax: Axes, what: str = "regret") -> Axes:
    """Regret of the decision, or error of the predictions, against the FLOPs spent on runs, a curve a strategy.

    Mean over the seeds, with twice its standard error; a standard error of one seed is not drawn.

    Args:
        replays: traces of strategies and seeds.
        ax: where to draw.
        what: ``regret`` or ``error``.
    """
    low, high = replays.span()
    budgets = np.geomspace(low, max(high, 1.001 * low), POINTS)
    unit = 100.0 if what == "error" else 1.0
    for place, (name, seeds) in enumerate(replays.by_strategy().items()):
        curves = unit * np.array([trace.at(budgets, what) for trace in seeds.values()])
        mean, colour = curves.mean(axis=0), COLOURS[place % len(COLOURS)]
        if len(curves) > 1:
            error = 2 * curves.std(axis=0, ddof=1) / np.sqrt(len(curves))
            below = np.maximum(mean - error, 0.0)
            ax.fill_between(budgets, below, mean + error, step="post", color=colour, alpha=0.18, linewidth=0)
        label = f"{plain(name)} ({len(curves)} seed{'s' if len(curves) > 1 else ''})"
        ax.step(budgets, mean, where="post", color=colour, linewidth=1.6, label=label)
    zero_line(ax)
    ax.set_xlim(budgets[0], budgets[-1])
    ax.set_ylim(bottom=0)
    flops_axis(ax.xaxis, "spent on runs (FLOPs)")
    ax.set_ylabel(WORDS[what])
    key(ax, loc="upper right")
    return calm(ax)
