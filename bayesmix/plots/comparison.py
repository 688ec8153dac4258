"""Plot of a comparison of laws: elpd behind the best and stacking weight, by target."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bayesmix.evaluation.compare import Comparison
from bayesmix.plots.style import COLOURS, MARKERS, calm, plain, rows_of, zero_line


def plot_comparison(comparison: Comparison, *, ax: Axes) -> Axes:
    """Plot the log density per loss behind the best law of each target.

    Bars are two standard errors over training runs. Laws lie further left the worse they predict;
    the best law of a target lies at 0. The legend gives the stacking weights over all targets.

    Args:
        comparison: result of `compare`.
        ax: axes to draw on.
    """
    targets = comparison.targets
    lines = rows_of(ax, targets)
    count = np.isfinite(comparison.log_density[0]).sum(axis=0)
    offsets = np.linspace(-0.25, 0.25, len(comparison.laws)) if len(comparison.laws) > 1 else [0.0]
    for place, position in enumerate(comparison.order):
        law = comparison.laws[position]
        pairs = np.array([comparison.difference(law, target) for target in targets])
        gap, error = (pairs / count[:, None]).T
        ax.errorbar(
            gap,
            lines + offsets[place],
            xerr=2 * error,
            fmt=MARKERS[position % len(MARKERS)],
            color=COLOURS[position % len(COLOURS)],
            markersize=6,
            capsize=2,
            linewidth=1.2,
            label=f"{plain(law)} (weight {comparison.weights[law]:.2f})",
        )
    zero_line(ax, vertical=True)
    method = f"left out by {comparison.group_by}" if comparison.group_by else "PSIS-LOO"
    ax.set_xlabel(
        f"log density per loss behind the best law,\nnats ({method}; ± 2 standard errors)"
    )
    ax.legend(frameon=False, fontsize="small", loc="best")
    return calm(ax)
