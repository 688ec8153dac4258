"""Plot of the effects of domains on targets, with their uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from bayesmix.decision.effects import Effects
from bayesmix.deprecation import renamed
from bayesmix.plots.style import plain, slanted

COLOURS = "PuOr"  # orange is more loss, purple less; told apart by colour-blind readers
WORDS = 60
"""Largest number of cells at which each shows its number."""
ROOM = 0.75  # width of a text of an interval, in inches


@renamed(most="max_domains", most_targets="max_targets")
def plot_effects(
    effects: Effects, *, ax: Axes, max_domains: int = 20, max_targets: int = 40
) -> Axes:
    """Plot a heat map of the effect of more of each domain (column) on each target (row).

    Cells whose sign is not sure, with a central 90 % interval that holds 0, carry a cross. Columns
    are the domains with the largest effects, in the order of the table.

    Args:
        effects: result of `effects`.
        ax: axes to draw on.
        max_domains: largest number of domains.
        max_targets: largest number of targets, those with the largest effects.
    """
    size = np.abs(effects.mean)
    columns = np.sort(np.argsort(-size.max(axis=0), kind="stable")[:max_domains])
    rows = np.sort(np.argsort(-size.max(axis=1), kind="stable")[:max_targets])
    cell = np.ix_(rows, columns)
    # one strong effect should not bleach all others
    limit = max(float(np.quantile(size[cell], 0.98)), 1e-9)
    norm = TwoSlopeNorm(0.0, -limit, limit)
    picture = ax.imshow(
        -effects.mean[cell], cmap=COLOURS, norm=norm, aspect="auto", interpolation="nearest"
    )
    small = 7.0 if max(len(rows), len(columns)) > 16 else 9.0
    names = [plain(effects.domains[d], 14) for d in columns]
    ax.set_xticks(np.arange(len(columns)), names, **slanted(names))
    ax.set_yticks(np.arange(len(rows)), [plain(effects.targets[t]) for t in rows], fontsize=small)
    ax.tick_params(length=0)
    words = len(rows) * len(columns) <= WORDS
    if words:
        _write(effects, rows, columns, limit, ax)
    else:
        unsure = np.argwhere(~effects.sure[cell])
        ax.plot(
            unsure[:, 1],
            unsure[:, 0],
            "x",
            color="black",
            markersize=2.5,
            markeredgewidth=0.6,
            linestyle="",
        )
    for side in ax.spines.values():
        side.set_visible(False)
    moved = f"{100 * effects.step:g} % of the tokens moved to it"
    ax.set_xlabel(f"domain, with {moved}" + ("" if words else "; × where the sign is not sure"))
    bar = ax.figure.colorbar(picture, ax=ax, shrink=0.85, pad=0.02, aspect=25)
    ticks = [-limit, -limit / 2, 0.0, limit / 2, limit]
    bar.set_ticks(ticks, labels=[_signed(-t) for t in ticks])
    bar.ax.tick_params(labelsize="small")
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.set_label("change of the loss (%)")
    return ax


def _write(effects: Effects, rows: np.ndarray, columns: np.ndarray, limit: float, ax: Axes) -> None:
    """Write the number of every cell, bold where its sign is certain.

    The 90 % interval is added where there is room for it.
    """
    width = ax.figure.get_figwidth() * ax.get_position().width / len(columns)  # type: ignore[union-attr]
    roomy = width > ROOM
    for y, t in enumerate(rows):
        for x, d in enumerate(columns):
            mean, low, high = (float(v[t, d]) for v in (effects.mean, effects.q05, effects.q95))
            sure, dark = bool(effects.sure[t, d]), abs(mean) > 0.6 * limit
            middle: Any = {"ha": "center", "va": "center", "color": "white" if dark else "0.1"}
            weight = "bold" if sure else "normal"
            ax.text(x, y - 0.1 * roomy, _signed(mean), fontsize=8.5, fontweight=weight, **middle)
            if roomy:
                ax.text(x, y + 0.22, f"[{_signed(low)}, {_signed(high)}]", fontsize=6, **middle)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if value else "0"
