"""Data order: counts follow the mixture, and nothing comes twice before everything came once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bayesmix.pocket.draw import domain_order, sequence_order

SHARES = st.lists(st.floats(0.02, 1), min_size=2, max_size=6)


@given(SHARES, st.integers(1, 5000), st.integers(0, 2**31))
def test_counts_follow_the_mixture(shares: list[float], length: int, seed: int) -> None:
    weights = np.array(shares) / sum(shares)
    counts = np.bincount(domain_order(weights, length, seed), minlength=len(weights))
    # A net in base 2 misses an interval by at most one point a level.
    assert np.abs(counts - length * weights).max() <= 2 + 2 * np.log2(length + 1)


@given(SHARES, st.integers(0, 2**31))
def test_every_batch_follows_the_mixture(shares: list[float], seed: int) -> None:
    weights = np.array(shares) / sum(shares)
    batches = domain_order(weights, 1024, seed).reshape(-1, 16)
    counts = np.stack([np.bincount(batch, minlength=len(weights)) for batch in batches])
    assert np.abs(counts - 16 * weights).max() <= 2


@given(SHARES, st.integers(1, 2000), st.integers(0, 2**31))
def test_rows_repeat_only_after_all_were_seen(shares: list[float], length: int, seed: int) -> None:
    weights = np.array(shares) / sum(shares)
    sizes = [7 + 5 * number for number in range(len(weights))]
    rows = sequence_order(weights, sizes, length, seed)
    counts = np.bincount(rows, minlength=sum(sizes))
    assert len(counts) == sum(sizes)
    for mine in np.split(counts, np.cumsum(sizes)[:-1]):
        assert np.ptp(mine) <= 1
    assert np.array_equal(rows, sequence_order(weights, sizes, length, seed))
