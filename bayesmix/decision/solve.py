"""Minimisation of a `Problem` over a region, and the baselines of objectives and comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bayesmix.decision.objective import WeightedLoss
from bayesmix.decision.per_draw import lowest_per_draw
from bayesmix.decision.problem import Problem
from bayesmix.decision.protocols import PosteriorLike
from bayesmix.decision.solvers.bundle import minimise_locally
from bayesmix.decision.solvers.cutting_plane import Minimum, minimise_convex
from bayesmix.decision.solvers.mirror_descent import descend, spread_starts
from bayesmix.decision.solvers.region import Region
from bayesmix.design import Mixture
from bayesmix.errors import InputError

EVALUATIONS = 300
FINALISTS = 3
CHOSEN = "chosen"
"""Name of the chosen mixture among named mixtures."""
SNAPS = (1e-3, 1e-4, 1e-5, 1e-6)


def baselines_by_name(
    posterior: PosteriorLike, baselines: Mapping[str, Mixture] | None
) -> dict[str, Mixture]:
    """Mixtures to compare with, by name: uniform, natural when it is known, and the given ones.

    Raises:
        InputError: a given mixture has the name of the chosen one.
    """
    if CHOSEN in (baselines or {}):
        raise InputError(
            f"a mixture to compare with is called {CHOSEN}",
            expected="another name",
            got=CHOSEN,
            advice="That is what the answer itself is called in tables; rename yours.",
        )
    mixtures = {"uniform": Mixture.uniform(posterior.domains)}
    if posterior.natural is not None:
        mixtures["natural"] = posterior.natural
    return {**mixtures, **(baselines or {})}


def with_baseline(problem: Problem, region: Region, tolerance: float) -> Problem:
    """The problem with the baseline that its objective subtracts from the losses.

    The baseline is the lowest loss of each target, or of each draw.
    """
    kind = problem.objective.relative_to
    if kind == "nothing":
        return problem
    if kind == "draw":
        _, lowest = lowest_per_draw(problem, region)
        return replace(problem, baseline=np.repeat(lowest[:, None], len(problem.weights), axis=1))
    baseline = np.zeros((problem.n_draws, len(problem.weights)))
    for target in np.flatnonzero(problem.weights):
        weights = np.eye(1, len(problem.weights), target)[0]
        best = solve(
            replace(problem, objective=WeightedLoss(), weights=weights), region, tolerance=tolerance
        ).mixture
        baseline[:, target] = problem.losses(best)[:, target]
    return replace(problem, baseline=baseline)


def solve(
    problem: Problem,
    region: Region,
    *,
    tolerance: float,
    starts: int = 8,
    seed: int = 0,
    start: np.ndarray | None = None,
) -> Minimum:
    """Minimise a problem over the allowed mixtures.

    The minimum has a certificate when the problem is convex, else it is the best of several starts.

    Args:
        problem: the problem.
        region: the allowed mixtures.
        tolerance: the gap to reach, in nats.
        starts: number of starts without convexity.
        seed: random seed of the starts.
        start: an allowed mixture (domain) to start from, positive where it may be.
    """
    if problem.convex:
        minimum = minimise_convex(
            problem.value_and_slope, region, tolerance=tolerance, budget=EVALUATIONS, start=start
        )
    else:
        minimum = _multi_start(problem, region, tolerance, starts, seed, start)
    return _snap(problem, region, minimum, tolerance)


def _multi_start(
    problem: Problem,
    region: Region,
    tolerance: float,
    starts: int,
    seed: int,
    start: np.ndarray | None,
) -> Minimum:
    """Mirror descent from all starts, then a bundle method, for kinks, from the three best ends."""
    first = spread_starts(region, starts, seed)
    first = first if start is None else np.vstack([start, first])
    rough = descend(problem.values_and_slopes, region, first, tolerance=10 * tolerance, steps=60)
    best = rough.mixtures[np.argsort(rough.values, kind="stable")[:FINALISTS]]
    evaluate = problem.value_and_slope
    ends = [
        minimise_locally(evaluate, region, h, tolerance=tolerance, budget=EVALUATIONS) for h in best
    ]
    values = [end.value for end in ends]
    evaluations = rough.evaluations * len(first) + sum(end.evaluations for end in ends)
    return replace(
        ends[int(np.argmin(values))], evaluations=evaluations, spread=float(np.ptp(values))
    )


def _snap(problem: Problem, region: Region, minimum: Minimum, tolerance: float) -> Minimum:
    """Set as many small shares to their lower bound as the tolerance on the objective allows.

    This comes last: the slope is never evaluated at weight 0, where it would give a false
    certificate.
    """
    lower = region.polytope.lower[: region.size]
    for small in SNAPS:
        tiny = (minimum.mixture - lower < small) & region.free
        bulk = np.where(region.free & ~tiny, minimum.mixture, 0.0)
        if not tiny.any() or not bulk.any():
            continue
        snapped = np.where(tiny, lower, minimum.mixture)
        snapped = snapped + bulk * (1 - snapped.sum()) / bulk.sum()
        if not region.contains(snapped, tolerance=1e-7):
            continue
        value = problem.value(snapped)
        if value <= minimum.value + 0.1 * tolerance:
            gap = None if minimum.gap is None else max(minimum.gap + value - minimum.value, 0.0)
            return replace(minimum, mixture=snapped, value=value, gap=gap)
    return minimum
