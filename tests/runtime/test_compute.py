"""Sizes that tables are padded to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bayesmix.runtime.compute import padded, padded_down


@given(st.integers(0, 2**40))
def test_the_sizes_around_a_table(rows: int) -> None:
    up, down = padded(rows), padded_down(rows)
    assert rows <= up <= max(32, rows + (rows / 8 if rows > 256 else rows / 2))
    assert padded(down) == down == padded_down(down)
    assert down <= rows < padded(down + 1) or rows < 32 == down
