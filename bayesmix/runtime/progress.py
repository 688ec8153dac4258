"""Bars with the time left: a program asks for them, a library stays silent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

SHOWN: ContextVar[bool] = ContextVar("SHOWN", default=False)
PATIENCE = 2.0
"""Seconds before a bar appears: what is quick needs none."""


@contextmanager
def bars() -> Iterator[None]:
    """Show the bars of everything that is called within."""
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
    """A tqdm bar on stderr over `items`, or with a `total` to be updated by hand.

    Args:
        items: what is gone through, if it is a loop.
        doing: what takes so long, as "refits".
        total: how many steps there are, where `items` cannot say.
        unit: of what there are so many.
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
