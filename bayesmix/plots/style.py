"""Common style of the figures: colours, bands, axes of sizes and shares, safe names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from bayesmix.design import count
from bayesmix.text import clipped

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
# Okabe and Ito (jfly.uni-koeln.de/color), told apart by colour-blind readers
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = "os^Dvp*X"
GREY = "0.55"  # seen on white and on black

BANDS = ((0.9, 0.22), (0.5, 0.3))
"""Level and opacity of nested bands, the widest first; the inner one lies on the outer one."""
TICKS = (
    (0.3, np.arange(1.0, 10.0, 0.2).tolist()),
    (0.6, np.arange(1.0, 10.0, 0.5).tolist()),
    (1.3, [1.0, 2.0, 5.0]),
    (2.5, [1.0, 3.0]),
    (np.inf, [1.0]),
)
"""Ticks of logarithmic axes: largest number of decades, and leading digits of the ticks."""
DENSE = 500
"""Largest number of marks of a layer that is not rasterised in a vector file."""
NAME = 18


def plain(name: str, width: int = NAME) -> str:
    """Text to draw for a name from the user's table.

    It is clipped, without mathematics, and never hidden from a legend.
    """
    text = "".join(c if c.isprintable() else " " for c in clipped(name, width)).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def fill_bands(
    ax: Axes, x: np.ndarray, draws: np.ndarray, colour: str = BLUE, name: str = "median"
) -> None:
    """Draw nested 50 and 90 % bands of draws (draw, point) over x (point), and their median."""
    for level, opacity in BANDS:
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
        label = f"{100 * level:.0f} % band"
        ax.fill_between(x, low, high, color=colour, alpha=opacity, linewidth=0, label=label)
    ax.plot(x, np.quantile(draws, 0.5, axis=0), color=colour, linewidth=1.5, label=name)


def zero_line(ax: Axes, *, vertical: bool = False) -> None:
    """Draw a thin line at 0."""
    (ax.axvline if vertical else ax.axhline)(0.0, color=GREY, linewidth=0.8, zorder=0)


def size_axis(axis: Axis, label: str) -> None:
    """Set a logarithmic axis of numbers of parameters or tokens, with ticks such as 190M."""
    _logarithmic(axis, label, count)


def flops_axis(axis: Axis, label: str = "training compute 6·N·D (FLOPs)") -> None:
    """Set a logarithmic axis of FLOPs, with ticks such as 1e21."""
    _logarithmic(axis, label, lambda value: f"{value:.0e}".replace("e+", "e"))


def times_axis(axis: Axis, label: str) -> None:
    """Set a logarithmic axis of multiples, with ticks such as 1.5×."""
    _logarithmic(axis, label, lambda value: f"{value:g}×")


def _logarithmic(axis: Axis, label: str, text: Callable[[float], str]) -> None:
    (axis.axes.set_xscale if isinstance(axis, XAxis) else axis.axes.set_yscale)("log")
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / max(low, 1e-300))
    subs = next(subs for limit, subs in TICKS if decades <= limit)
    axis.set_major_locator(LogLocator(10.0, subs=subs, numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(label)


def share_axis(axis: Axis, label: str) -> None:
    """Set an axis of shares, with ticks in percent."""
    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axis.set_label_text(label)


def rows_of(ax: Axes, names: Sequence[str], width: int = NAME) -> np.ndarray:
    """Set one row for each name, the first on top, and return the heights of the rows (name)."""
    rows = np.arange(len(names), dtype=float)
    small = 7.0 if len(names) > 24 else 8.5 if len(names) > 12 else None
    ax.set_yticks(rows, [plain(name, width) for name in names], fontsize=small)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    return rows


def key(ax: Axes, *, loc: str = "best") -> None:
    """Draw a legend without a frame, with each entry once."""
    _legend(ax, loc=loc)


def key_above(ax: Axes) -> None:
    """Draw a legend above the axes, where it hides nothing, in as many columns as fit."""
    width = ax.figure.get_figwidth() * ax.get_position().width  # type: ignore[union-attr]
    longest = max((len(label) for label in ax.get_legend_handles_labels()[1]), default=1)
    columns = max(1, int(1.15 * width / (0.4 + 0.066 * longest)))
    _legend(
        ax,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        columnspacing=1.2,
    )


def _legend(ax: Axes, **options: Any) -> None:
    entries: dict[str, Any] = {}
    for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
        entries.setdefault(label, handle)
    if entries:
        ax.legend(
            [*entries.values()],
            [*entries],
            frameon=False,
            fontsize="small",
            handlelength=1.5,
            **options,
        )


def calm(ax: Axes) -> Axes:
    """Remove the top and right lines of the frame of the axes."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def titled(ax: Axes, target: str) -> None:
    """Write the name of the target above the axes on the left."""
    ax.set_title(plain(target, 36), loc="left", fontsize="medium")


def slanted(names: Sequence[str]) -> dict[str, Any]:
    """Text properties for names below an axis.

    Level where they fit, else slanted, or upright when there are many.
    """
    if sum(map(len, names)) <= 50:
        return {}
    if len(names) > 16:
        return {
            "rotation": 90,
            "ha": "right",
            "va": "center",
            "rotation_mode": "anchor",
            "fontsize": 7.0,
        }
    return {"rotation": 35, "ha": "right", "va": "top", "rotation_mode": "anchor"}


def shade(ax: Axes, low: float, high: float, label: str = "beyond the runs") -> None:
    """Shade a stretch of x where no run is."""
    ax.axvspan(low, high, color="0.5", alpha=0.13, linewidth=0, label=label, zorder=0)
