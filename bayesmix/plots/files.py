"""Figures as files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmix.errors import InputError
from bayesmix.files import atomic_write

SUFFIXES = (".png", ".svg", ".pdf")


def save_plots(
    path: str | os.PathLike[str], *plots: Callable[[Axes], object], width: float = 7.0, height: float = 4.5
) -> None:
    """Draw plots side by side and write them to one file, which appears whole or not at all.

    Args:
        path: where to; .png, .svg or .pdf.
        *plots: each draws on the axes it is given.
        width: of each plot, in inches.
        height: of the figure, in inches.

    Raises:
        InputError: the suffix is another one, or the path cannot be written to.
    """
    require_suffix(path)
    figure = Figure(figsize=(width * len(plots), height), layout="constrained")
    for plot, ax in zip(plots, figure.subplots(1, len(plots), squeeze=False)[0], strict=True):
        plot(ax)
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=150)


def require_suffix(path: str | os.PathLike[str]) -> None:
    """Refuse a file name that does not say which kind of figure it is, before any work is done."""
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        expected = f"a suffix among {', '.join(SUFFIXES)}"
        raise InputError("unknown kind of figure", expected=expected, got=suffix or "none", advice="Try name.png.")
