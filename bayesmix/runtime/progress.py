"""Progress bars with the time left, off unless a program asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

SHOWN: ContextVar[bool] = ContextVar("SHOWN", default=False)
PATIENCE = 2.0
"""Seconds before a bar appears; a shorter task shows none."""


@contextmanager
def bars() -> Iterator[None]:
    """Show the progress bars of everything that is called inside the `with` block."""
    token = SHOWN.set(True)
    try:
        yield
    finally:
        SHOWN.reset(token)


def bar(
    items: Iterable[Any] | None = None,
    *,
    doing: str,
    total: int | None = None,
    unit: str = "step",
    visible: bool | None = None,
) -> Any:
    """Progress bar (tqdm) on stderr over `items`, or with a `total` to be updated by hand.

    Args:
        items: items of the loop, if it is one.
        doing: label of the bar, such as "refits".
        total: number of steps, where `items` has no length.
        unit: name of one step.
        visible: whether to show it at once, and leave it when it is full; by default as `bars`
            says, after two seconds, and gone when it is full.
    """
    from tqdm import tqdm

    explicit = visible is not None
    return tqdm(
        items,
        desc=doing,
        total=total,
        unit=unit,
        delay=0 if explicit else PATIENCE,
        ncols=80,
        leave=explicit,
        smoothing=0.05,
        disable=not (visible if explicit else SHOWN.get()),
    )
