"""Plots of backtests: predicted against measured losses."""

from __future__ import annotations

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import binom

from bayesmix.design import count
from bayesmix.evaluation.backtest import Backtest
from bayesmix.evaluation.score import LEVELS
from bayesmix.plots.style import (
    BLUE,
    COLOURS,
    DENSE,
    GREY,
    ORANGE,
    calm,
    key,
    plain,
    size_axis,
    slanted,
    zero_line,
)

MOST = 8


def plot_coverage(backtest: Backtest, *, ax: Axes) -> Axes:
    """Plot the share of left-out losses inside the bands against the level of the bands.

    Calibrated bands lie on the diagonal, bands that are too narrow below it.

    Args:
        backtest: result of `backtest`.
        ax: axes to draw on.
    """
    figures = backtest.score
    levels = 100 * np.array(LEVELS)
    ax.plot([0, 100], [0, 100], color=GREY, linewidth=0.8, zorder=0)
    few_targets = len(figures.targets) <= MOST
    for t, target in enumerate(figures.targets):
        style = (
            {"color": COLOURS[t], "alpha": 0.7, "label": plain(target)}
            if few_targets
            else {"color": GREY, "alpha": 0.4}
        )
        ax.plot(levels, 100 * figures.coverage[:, t], ".-", linewidth=0.8, **style)
    pooled = [100 * figures.pooled(row) for row in figures.coverage]
    ax.plot(levels, pooled, "o-", color="black", linewidth=1.8, label="all targets")
    low, high = backtest.chance
    ax.plot(
        [90, 90],
        [100 * low, 100 * high],
        color="black",
        linewidth=5,
        alpha=0.2,
        label="chance, if right (90 %)",
    )
    ax.set_xlim(45, 100)
    ax.set_ylim(min(40.0, 100 * figures.coverage.min() - 3), 102)
    ax.set_xlabel("what the band promises (%)")
    ax.set_ylabel("left-out losses it held (%)")
    key(ax, loc="lower right")
    return calm(ax)


def plot_coverage_by_size(
    backtest: Backtest,
    *,
    ax: Axes,
    level: float = 0.9,
    along: Literal["params", "tokens"] = "params",
) -> Axes:
    """Plot the share of left-out losses inside the band at each size N or D.

    The range that chance allows for calibrated bands is drawn too.

    Checkpoints and targets of one training run are counted as one, which is cautious.

    Args:
        backtest: result of `backtest`.
        ax: axes to draw on.
        level: level of the band.
        along: whether sizes are N or D.
    """
    prediction, measured = backtest.prediction, backtest.measured
    size = getattr(prediction.designs, along)
    low, high = np.moveaxis(prediction.interval(level), -1, 0)
    finite = np.isfinite(measured)
    hits = (low <= measured) & (measured <= high) & finite
    sizes = np.unique(size)
    runs = np.array(backtest.train_run)
    shares = np.array([hits[size == s].sum() / max(finite[size == s].sum(), 1) for s in sizes])
    counts = np.array([len(set(runs[size == s])) for s in sizes])
    chance = np.array([binom.interval(0.95, n, level) for n in counts]) / counts[:, None]
    places = np.arange(len(sizes)) if len(sizes) < 3 else sizes
    ax.axhline(100 * level, color=GREY, linewidth=0.8, zorder=0)
    ax.vlines(
        places,
        *(100 * chance.T),
        color="0.5",
        linewidth=9,
        alpha=0.3,
        label="chance, if right (95 %)",
    )
    ax.plot(places, 100 * shares, "o-", color=BLUE, markersize=6, label=f"{100 * level:.0f} % band")
    for place, share, number in zip(places, shares, counts, strict=True):
        text = ax.annotate(
            f"{number}", (place, 100 * share), (7, -9), textcoords="offset points", fontsize="small"
        )
        text.set_color("0.4")
    ax.set_ylim(min(45.0, 100 * shares.min() - 8), 104)
    name = "left-out model parameters N" if along == "params" else "left-out training tokens D"
    if len(sizes) < 3:
        ax.set_xticks(places, [count(float(s)) for s in sizes])
        ax.set_xlim(-0.6, len(sizes) - 0.4)
        ax.set_xlabel(f"{name} (small figures: training runs)")
    else:
        ax.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
        size_axis(ax.xaxis, f"{name} (small figures: training runs)")
    ax.set_ylabel("left-out losses it held (%)")
    key(ax, loc="lower left")
    return calm(ax)


def plot_misses(backtest: Backtest, *, ax: Axes) -> Axes:
    """Plot measured minus predicted loss of left-out points, in percent, over the 90 % bands.

    Points are ordered by target, then by predicted loss; each has its own band.

    Args:
        backtest: result of `backtest`.
        ax: axes to draw on.
    """
    low, middle, high = backtest.prediction.quantile([0.05, 0.5, 0.95])
    start, ticks = 0, []
    dense = int(np.isfinite(backtest.measured).sum()) > DENSE
    for t in range(len(backtest.prediction.targets)):
        rows = np.flatnonzero(np.isfinite(backtest.measured[:, t]))
        rows = rows[np.argsort(middle[rows, t])]
        x = start + np.arange(len(rows))
        centre = middle[rows, t]
        lower, upper = (100 * (edge[rows, t] / centre - 1) for edge in (low, high))
        miss = 100 * (backtest.measured[rows, t] / centre - 1)
        out = (miss < lower) | (miss > upper)
        ax.fill_between(
            x, lower, upper, step="mid", color=BLUE, alpha=0.25, linewidth=0, label="90 % band"
        )
        ax.plot(
            x[~out], miss[~out], ".", color=BLUE, markersize=3, rasterized=dense, label="inside"
        )
        ax.plot(
            x[out], miss[out], ".", color=ORANGE, markersize=4, rasterized=dense, label="outside"
        )
        ticks.append(start + len(rows) / 2)
        start += len(rows) + max(3, len(rows) // 10)
    zero_line(ax)
    names = [plain(target) for target in backtest.prediction.targets]
    ax.set_xticks(ticks, names, **slanted(names))
    ax.set_ylabel("measured against predicted loss (%)")
    key(ax)
    return calm(ax)
