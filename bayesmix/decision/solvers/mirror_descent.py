"""Mirror descent for many problems at once.

It serves for multi-start where the problem is not convex, and for the optimum of every draw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import qmc

from bayesmix.decision.solvers.polytope import divergence
from bayesmix.decision.solvers.region import Region

EvaluateMany = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Descent(NamedTuple):
    """Result of mirror descent."""

    mixtures: np.ndarray  # (batch, domain)
    values: np.ndarray  # (batch)
    settled: np.ndarray  # (batch) whether the problem has converged
    evaluations: int  # number of evaluations of each problem


def descend(
    evaluate: EvaluateMany,
    region: Region,
    starts: np.ndarray,
    *,
    tolerance: float,
    steps: int = 200,
) -> Descent:
    r"""Entropic mirror descent h ← argmin g·h + t KL(h‖hₖ) over the allowed mixtures.

    The factor t is found by backtracking: a step is taken when f(h) ≤ f(hₖ) + g·(h − hₖ) +
    t KL(h‖hₖ) (relative smoothness: Lu, Freund and Nesterov 2018); t halves after a success and
    grows fourfold after a failure. A problem has converged when each of three successive steps has
    a predicted decrease g·(hₖ − h) below the tolerance.

    Args:
        evaluate: mixtures (batch, domain) → values (batch) and slopes (batch, domain).
        region: the allowed mixtures.
        starts: allowed mixtures (batch, domain), positive where they may be.
        tolerance: tolerance on the predicted decrease, in nats.
        steps: the most steps.
    """
    mixtures = starts
    value, slope = evaluate(mixtures)
    slope = np.where(region.free, slope, 0.0)
    stiffness = np.maximum(np.ptp(slope, axis=1), 1e-12)
    quiet = np.zeros(len(mixtures), dtype=int)
    evaluations = 1
    while evaluations <= steps and (quiet < 3).any():
        trials = region.step(slope, mixtures, stiffness)
        promise = np.sum(slope * (mixtures - trials), axis=1)
        new_value, new_slope = evaluate(trials)
        evaluations += 1
        new_slope = np.where(region.free, new_slope, 0.0)
        model = value - promise + stiffness * divergence(trials, np.maximum(mixtures, 1e-300))
        good = (
            np.isfinite(new_value)
            & np.isfinite(new_slope).all(axis=1)
            & (new_value <= model + 1e-3 * tolerance)
        )
        mixtures = np.where(good[:, None], trials, mixtures)
        value, slope = np.where(good, new_value, value), np.where(good[:, None], new_slope, slope)
        stiffness = stiffness * np.where(good, 0.5, 4.0)
        quiet = np.where(good & (promise < tolerance), quiet + 1, np.where(good, 0, quiet))
    return Descent(mixtures, value, quiet >= 3, evaluations)


def spread_starts(region: Region, count: int, seed: int) -> np.ndarray:
    """Allowed mixtures (start, domain): the centre and a projected, scrambled Sobol sequence."""
    power = max(int(np.ceil(np.log2(max(count, 2)))), 1)
    points = qmc.Sobol(region.size, rng=seed).random_base2(power)[: count - 1]
    exponential = -np.log(np.clip(points, 1e-6, 1 - 1e-6))
    mixtures = exponential / exponential.sum(axis=1, keepdims=True)
    mixtures = 0.98 * mixtures + 0.02 / region.size
    return (
        np.vstack([region.centre, region.project(mixtures)]) if count > 1 else region.centre[None]
    )
