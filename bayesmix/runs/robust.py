"""Losses that the other runs of a table contradict: gross errors, which may not set the unit of a prior."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import least_squares

from bayesmix.runs.table import Runs

DEVIATIONS = 10.0
LEAST = 0.25
"""A loss is a gross error when its logarithm is off by so many median absolute deviations, and by so much."""


def gross_errors(runs: Runs) -> np.ndarray:
    """Where a measured loss (run, target) is far from what all other runs of the table say.

    The log loss is regressed on log N, log D, their squares and the weights, with Cauchy's loss, which outliers do not
    bend. What deviates by ten median absolute deviations and by a quarter in the logarithm is a gross error.
    """
    sizes = [np.log(size) - np.log(size).mean() for size in (runs.params, runs.tokens)]
    columns = [np.ones(len(runs)), *sizes, *(size**2 for size in sizes), *(runs.mixture - runs.mixture.mean(0)).T]
    design = np.stack(columns, axis=1)
    found = np.zeros(runs.loss.shape, bool)
    for target in range(len(runs.targets)):
        seen = np.isfinite(runs.loss[:, target])
        if not seen.any():
            continue
        log_loss = np.log(runs.loss[seen, target])
        deviation = log_loss - _expected(design[seen], log_loss)
        typical = np.median(np.abs(deviation))
        found[seen, target] = np.abs(deviation) > max(DEVIATIONS * typical, LEAST)
    return found


def _expected(design: np.ndarray, log_loss: np.ndarray) -> np.ndarray:
    """Robust regression (run) on an orthonormal basis of the design; the median where there are too few rows for it."""
    basis, size, _ = np.linalg.svd(design, full_matrices=False)
    basis = basis[:, size > 1e-8 * size[0]]
    median = np.median(log_loss)
    if len(log_loss) < 2 * basis.shape[1]:
        return np.full(len(log_loss), median)
    scale = max(float(np.median(np.abs(log_loss - median))), 1e-6)
    start = basis.T @ np.full(len(log_loss), median)
    jac: Any = lambda b: basis  # noqa: E731
    fit = least_squares(lambda b: basis @ b - log_loss, start, jac, loss="cauchy", f_scale=0.2 * scale)
    return basis @ fit.x
