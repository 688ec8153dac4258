"""What was predicted against what was then measured."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bayesmix.inference.backtest import Backtest
from bayesmix.inference.score import LEVELS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MOST = 8


def plot_coverage(backtest: Backtest, *, ax: Axes) -> Axes:
    """Share of left-out losses inside the bands against what the bands promise, per target and pooled.

    Bands that are right lie on the diagonal, bands that are too narrow below it.

    Args:
        backtest: what `backtest` returned.
        ax: where to draw.
    """
    figures = backtest.score
    levels = 100 * np.array(LEVELS)
    ax.plot([0, 100], [0, 100], color="0.6", linewidth=0.8, zorder=0)
    for t, target in enumerate(figures.targets if len(figures.targets) <= MOST else ()):
        ax.plot(levels, 100 * figures.coverage[:, t], ".-", color=COLOURS[t], alpha=0.7, linewidth=0.8, label=target)
    pooled = [100 * figures.pooled(row) for row in figures.coverage]
    ax.plot(levels, pooled, "o-", color="black", linewidth=1.8, label="all targets")
    low, high = backtest.chance
    ax.plot([90, 90], [100 * low, 100 * high], color="black", linewidth=5, alpha=0.2, label="chance, if right (90 %)")
    ax.set_xlim(45, 100)
    ax.set_ylim(min(40.0, 100 * figures.coverage.min() - 3), 102)
    ax.set_xlabel("what the band promises (%)")
    ax.set_ylabel("what it held (%)")
    ax.legend(frameon=False, fontsize="small", loc="lower right")
    return ax


def plot_misses(backtest: Backtest, *, ax: Axes) -> Axes:
    """Measured minus predicted loss of every left-out point, in percent, on top of the 90 % bands.

    Points are ordered by target, then by predicted loss; one band a point.

    Args:
        backtest: what `backtest` returned.
        ax: where to draw.
    """
    low, middle, high = backtest.prediction.quantile([0.05, 0.5, 0.95])
    start, ticks = 0, []
    for t in range(len(backtest.prediction.targets)):
        rows = np.flatnonzero(np.isfinite(backtest.measured[:, t]))
        rows = rows[np.argsort(middle[rows, t])]
        x = start + np.arange(len(rows))
        centre = middle[rows, t]
        below, above = (100 * (edge[rows, t] / centre - 1) for edge in (low, high))
        miss = 100 * (backtest.measured[rows, t] / centre - 1)
        out = (miss < below) | (miss > above)
        ax.fill_between(x, below, above, step="mid", color=COLOURS[0], alpha=0.25, linewidth=0)
        ax.plot(x[~out], miss[~out], ".", color=COLOURS[0], markersize=3)
        ax.plot(x[out], miss[out], ".", color=COLOURS[1], markersize=4)
        ticks.append(start + len(rows) / 2)
        start += len(rows) + max(3, len(rows) // 10)
    ax.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    ax.set_xticks(ticks, backtest.prediction.targets, rotation=30, ha="right")
    ax.set_ylabel("measured against predicted loss (%)")
    return ax
