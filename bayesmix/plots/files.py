"""Figures as files, and as pieces of a page."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesmix.errors import InputError
from bayesmix.plots.style import BLUE, GREEN, ORANGE
from bayesmix.runtime.files import atomic_write

SUFFIXES = (".png", ".svg", ".pdf")
DPI = 150
INKS = {
    "#000000": "currentColor",
    BLUE.lower(): f"var(--blue, {BLUE})",
    ORANGE.lower(): f"var(--orange, {ORANGE})",
    GREEN.lower(): f"var(--green, {GREEN})",
}
"""Colours that a page may replace, since colours for white are dim on black."""


def save_plots(
    path: str | os.PathLike[str],
    *plots: Callable[[Axes], object],
    width: float = 7.0,
    height: float = 4.5,
) -> None:
    """Draw plots side by side and write them to one file, which appears whole or not at all.

    Args:
        path: path of the file; .png, .svg or .pdf.
        *plots: functions that draw on the axes they are given.
        width: width of each plot, in inches.
        height: height of the figure, in inches.

    Raises:
        InputError: the suffix is unknown, or the path cannot be written to.
    """
    require_suffix(path)
    figure = Figure(figsize=(width * len(plots), height), layout="constrained")
    for plot, ax in zip(plots, figure.subplots(1, len(plots), squeeze=False)[0], strict=True):
        plot(ax)
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=DPI)


def require_suffix(path: str | os.PathLike[str]) -> None:
    """Require the suffix of a known kind of figure, before any work is done."""
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        expected = f"a suffix among {', '.join(SUFFIXES)}"
        raise InputError(
            "unknown kind of figure",
            expected=expected,
            got=suffix or "none",
            advice="Try name.png.",
        )


def svg_of(
    plot: Callable[[Axes], object],
    *,
    name: str,
    width: float = 4.6,
    height: float = 3.2,
    ternary: bool = False,
) -> str:
    """One plot as an ``<svg>`` element of a page.

    It has no background, text as text, and the page's text colour in place of black.

    Args:
        plot: function that draws on the axes it is given.
        name: name unique in the page; identifiers in the element begin with it.
        width: width in inches.
        height: height in inches.
        ternary: whether the axes are ternary.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    plot(figure.add_subplot(projection="ternary") if ternary else figure.subplots())
    sheet = io.StringIO()
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph")  # the browser has fonts that matplotlib lacks
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(sheet, format="svg", transparent=True, dpi=DPI, metadata=metadata)
    return _for_page(sheet.getvalue(), name)


def _for_page(text: str, name: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"<svg [^>]*viewBox=\"([^\"]*)\"[^>]*>", _opening, text, count=1)
    text = text.replace("xlink:href", "href")
    for colour, inks in INKS.items():
        text = text.replace(colour, inks)
    return re.sub(r"'DejaVu Sans'(, [^;\"]*)?", "var(--sans, sans-serif)", text).strip()


def _opening(match: re.Match[str]) -> str:
    return f'<svg viewBox="{match[1]}" fill="currentColor" aria-hidden="true" focusable="false">'
