"""Printed text: clipped names, wrapped paragraphs, and tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from decimal import Decimal

WIDTH = 80
"""Number of columns of a printed page."""
SMALLEST = 1e-6
"""Smallest number that is printed by its digits."""


def clipped(text: str, width: int) -> str:
    """The text, shortened to a number of columns."""
    return text if len(text) <= width else text[: width - 1] + "…"


def decimal(value: float, digits: int = 2) -> str:
    """A number without an exponent: 0.012, not 1.2e-02; below a millionth, that it is.

    Args:
        value: the number.
        digits: number of significant digits.
    """
    if 0 < abs(value) < SMALLEST:
        return f"less than {SMALLEST:f}"
    return f"{Decimal(f'{value:.{digits}g}'):f}"


def wrapped(text: str, indent: int = 0, continuation: int = 2) -> list[str]:
    """Lines of a paragraph, of at most `WIDTH` columns.

    Args:
        text: the paragraph.
        indent: number of blanks before the first line.
        continuation: number of blanks before every other line.
    """
    return textwrap.wrap(
        text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * continuation
    )


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], columns: str = "< >"
) -> list[str]:
    """Lines of a table, the header first, with two blanks between columns.

    Args:
        header: titles of the columns.
        rows: cells of every row.
        columns: a format of Python for every column: ``<`` (left) or ``>`` (right), then the
            minimum width and the format of numbers where they are needed, as in ``"< >7.1%"``. The
            last one holds for all further columns. Cells that are texts are only aligned.
    """
    formats = columns.split()
    formats += formats[-1:] * (len(header) - len(formats))
    return [
        "  ".join(cells).rstrip()
        for cells in zip(*map(_column, zip(header, *rows, strict=True), formats), strict=True)
    ]


def _column(cells: Iterable[object], form: str) -> list[str]:
    """Texts of the cells of one column, all of the same width."""
    layout = form.partition(".")[0]
    texts = [format(cell, layout if isinstance(cell, str) else form) for cell in cells]
    width = max(map(len, texts))
    return [f"{text:{form[0]}{width}}" for text in texts]
