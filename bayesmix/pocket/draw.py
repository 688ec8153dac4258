"""Order of the training sequences.

Domains come from a low-discrepancy sequence, so that their counts follow the mixture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import qmc


def domain_order(weights: np.ndarray, length: int, seed: int) -> np.ndarray:
    """Domain (sequence,) of each training sequence.

    A scrambled Sobol point u picks the domain where the summed weights pass u. After n sequences
    the count of a domain differs from n·h by a few at most, in every batch too, so runs differ by
    their mixture and not by chance.

    Args:
        weights: mixture h (domain,), summing to 1.
        length: number of sequences.
        seed: seed of the scrambling.
    """
    exponent = max(0, int(length - 1).bit_length())
    points = qmc.Sobol(1, scramble=True, rng=np.random.default_rng([seed, 1])).random_base2(
        exponent
    )[:length, 0]
    return np.minimum(np.searchsorted(np.cumsum(weights), points, side="right"), len(weights) - 1)


def sequence_order(weights: np.ndarray, sizes: Sequence[int], length: int, seed: int) -> np.ndarray:
    """Row (sequence,) of each training sequence in the concatenated sequences of the domains.

    Within a domain sequences come in random order, every one once before any comes again.

    Args:
        weights: mixture h (domain,).
        sizes: sequences in each domain.
        length: number of sequences to draw.
        seed: seed of the whole draw.
    """
    domains = domain_order(weights, length, seed)
    rows = np.empty(length, np.int32)
    for number, (first, size) in enumerate(zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True)):
        places = np.flatnonzero(domains == number)
        rng = np.random.default_rng([seed, 2, number])
        rounds = [rng.permutation(size) for _ in range(-(-len(places) // size))]
        rows[places] = first + np.concatenate([*rounds, np.empty(0, int)])[: len(places)]
    return rows
