"""Plot of leave-one-out calibration among the fitted runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bayesmix.deprecation import renamed
from bayesmix.evaluation.loo_pit import FALSE_ALARM, Ecdf, LooPit
from bayesmix.plots.style import COLOURS, GREY, calm, key_above, plain

MOST = 8


@renamed(found="loo_pit")
def plot_loo_pit(loo_pit: LooPit, *, ax: Axes) -> Axes:
    """Plot the ECDF of leave-one-out PIT values minus that of uniform values.

    A PIT value is the position of a training run in what the others predict. Calibrated bands stay
    in the grey band, which all targets together leave by chance once in twenty. A rise and then a
    fall: losses below the predictions; the reverse: above. A slope up at both ends: bands too
    narrow.

    Args:
        loo_pit: result of `loo_pit`.
        ax: axes to draw on.
    """
    few_targets = len(loo_pit.targets) <= MOST
    longest = max(loo_pit.targets, key=lambda target: len(loo_pit.of(target)))
    band = Ecdf.of(loo_pit.of(longest), FALSE_ALARM / len(loo_pit.targets))
    ax.fill_between(
        band.points,
        band.low - band.points,
        band.high - band.points,
        color=GREY,
        alpha=0.3,
        linewidth=0,
    )
    grid = np.linspace(0, 1, 401)
    for t, target in enumerate(loo_pit.targets):
        values = np.sort(loo_pit.of(target))
        alarm = target in loo_pit.problems
        style: dict[str, Any] = {
            "color": COLOURS[t] if few_targets else COLOURS[1] if alarm else GREY
        }
        style["label"] = plain(target) if few_targets else None
        ecdf = np.searchsorted(values, grid, side="right") / len(values)
        ax.plot(grid, ecdf - grid, linewidth=1.8 if alarm else 0.9, **style)
    ax.set_xlim(0, 1)
    ax.set_xlabel("place in what the other runs predict (LOO-PIT)")
    ax.set_ylabel("ECDF minus uniform")
    if few_targets:
        key_above(ax)
    return calm(ax)
