"""Gross errors: losses that the other runs of a table contradict.

`lint` names them, and none may set the unit of a prior.
"""

from __future__ import annotations

import numpy as np

from bayesmix.runs.runs import Runs

DEVIATIONS = 10.0
"""Minimum deviation of the log of a gross error from the trend, in robust standard deviations."""
LEAST = 0.25
"""Minimum deviation of the log of a gross error from the trend."""
SAMPLE = 5_000
"""Maximum number of rows that the trend is fitted to."""


def gross_errors(runs: Runs) -> np.ndarray:
    """Mask (run, target) of measured losses that are far from a smooth trend of all the others.

    The trend is one in log N, log D and the weights; in a table of few runs, in log N and log D
    alone.
    """
    loss = np.log(runs.loss)
    full = trend_terms(runs.params, runs.tokens, runs.mixture)
    errors = np.zeros(loss.shape, bool)
    for t, log_loss in enumerate(loss.T):
        for terms in (full, full[:, :3]):
            plane, scale = robust_trend(terms, log_loss)
            if np.isfinite(scale):
                errors[:, t] = np.abs(log_loss - terms @ plane) > max(DEVIATIONS * scale, LEAST)
                break
    return errors


def trend_terms(params: np.ndarray, tokens: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """Terms (run, term) of a linear trend of the log loss.

    1, log N, log D, their squares and product, the weights and their square roots.
    """
    n, d = (np.log(v / np.median(v)) for v in (params, tokens))
    return np.column_stack([np.ones(len(n)), n, d, n * n, d * d, n * d, mixture, np.sqrt(mixture)])


def robust_trend(terms: np.ndarray, log_loss: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients of a linear fit that leaves out far points, and the robust sd about it.

    The standard deviation is infinite with too few points.
    """
    measured = np.flatnonzero(np.isfinite(log_loss))
    plane, scale = np.zeros(terms.shape[1]), np.inf
    if measured.size < 3 * plane.size:
        return plane, scale
    sample = np.sort(np.random.default_rng(0).permutation(measured)[:SAMPLE])
    x, y = terms[sample], log_loss[sample]
    keep = np.ones(sample.size, dtype=bool)
    for _ in range(3):
        gram = x[keep].T @ x[keep]
        # Weights sum to 1 like the constant, and N may be constant: a small ridge makes it unique.
        gram += 1e-9 * np.trace(gram) * np.eye(plane.size)
        plane = np.linalg.solve(gram, x[keep].T @ y[keep])
        residual = np.abs(y - x @ plane)
        # sd = 1.4826 · median |residual| for Gaussian residuals
        scale = max(1.4826 * float(np.median(residual)), 1e-6)
        keep = residual < 4 * scale
    return plane, scale
