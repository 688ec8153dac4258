"""How laws compare: elpd behind the best, and weight, by target."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bayesmix.inference.compare import Comparison

MARKERS = "os^Dvp*X"
# Okabe and Ito, told apart by colour-blind readers
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")


def plot_comparison(comparison: Comparison, *, ax: Axes) -> Axes:
    """Log density per loss behind the best law of each target, with two standard errors over training runs.

    Laws lie further left the worse they predict; the best law of a target lies at 0. The legend gives the stacking
    weights over all targets.

    Args:
        comparison: what `compare` returned.
        ax: where to draw.
    """
    targets = comparison.targets
    lines = np.arange(len(targets), dtype=float)
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
            label=f"{law} (weight {comparison.weights[law]:.2f})",
        )
    ax.axvline(0.0, color="0.6", linewidth=0.8, zorder=0)
    ax.set_yticks(lines, targets)
    ax.invert_yaxis()
    how = f"left out by {comparison.by}" if comparison.by else "PSIS-LOO"
    ax.set_xlabel(f"log density per loss behind the best law, nats ({how}; ± 2 se)")
    ax.legend(frameon=False, fontsize="small", loc="best")
    return ax
