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


def bar(items: Iterable[Any] | None = None, *, doing: str, total: int | None = None, unit: str = "step") -> Any:
    """A tqdm bar on stderr over `items`, or with a `total` to be updated by hand.

    Args:
        items: what is gone through, if it is a loop.
        doing: what takes so long, as "refits".
        total: how many steps there are, where `items` cannot say.
        unit: of what there are so many.
    """
    from tqdm import tqdm

    return tqdm(
        items, desc=doing, total=total, unit=unit, delay=PATIENCE, ncols=80, leave=False, disable=not SHOWN.get()
    )
