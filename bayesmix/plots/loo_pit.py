"""Whether bands hold among the fitted runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bayesmix.inference.loo_pit import FALSE_ALARM, Ecdf, LooPit
from bayesmix.plots.style import COLOURS, GREY, calm, key_above, plain

MOST = 8


def plot_loo_pit(found: LooPit, *, ax: Axes) -> Axes:
    """ECDF of where each training run lies in what the others predict, minus that of uniform values.

    Bands that are right stay in the grey band, which all targets together leave by chance once in twenty. A rise, then
    a fall: losses below what is predicted; the other way: above. A slope up at both ends: bands too narrow.

    Args:
        found: what `loo_pit` returned.
        ax: where to draw.
    """
    few = len(found.targets) <= MOST
    longest = max(found.targets, key=lambda target: len(found.of(target)))
    shown = Ecdf.of(found.of(longest), FALSE_ALARM / len(found.targets))
    ax.fill_between(shown.at, shown.low - shown.at, shown.high - shown.at, color=GREY, alpha=0.3, linewidth=0)
    at = np.linspace(0, 1, 401)
    for t, target in enumerate(found.targets):
        values = np.sort(found.of(target))
        left = target in found.problems
        style: dict[str, Any] = {"color": COLOURS[t] if few else COLOURS[1] if left else GREY}
        style["label"] = plain(target) if few else None
        ecdf = np.searchsorted(values, at, side="right") / len(values)
        ax.plot(at, ecdf - at, linewidth=1.8 if left else 0.9, **style)
    ax.set_xlim(0, 1)
    ax.set_xlabel("place in what the other runs predict (LOO-PIT)")
    ax.set_ylabel("ECDF minus uniform")
    if few:
        key_above(ax)
    return calm(ax)
