"""`candidates`: a recipe for runs that could be made next, filled in from a posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from bayesmix.acquisition.pool import Pool, checkpointed, scales_of
from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.problem import Problem
from bayesmix.decision.solve import solve
from bayesmix.decision.solvers.region import Region
from bayesmix.deprecation import renamed
from bayesmix.design import Design, Designs, Mixture, Scale
from bayesmix.errors import InputError
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.resample import thinned

FLOOR = 0.02
"""Total weight of the other domains at a vertex, so that no weight is exactly 0."""
NEIGHBOURS = (0.05, 0.15, 0.3)
"""Weights of the other mixture in the convex combinations around the optimum."""
REPLICATES = 32
OPTIMUM_DRAWS = 250


@dataclass(frozen=True, eq=False)
class Candidates:
    """Recipe for candidate runs; made by `candidates`, filled in by `on`.

    Attributes:
        feasible: the mixtures that are allowed.
        scales: sizes a run may have.
        count: number of space-filling mixtures, each at every scale.
        checkpoints: fractions of a run's tokens at which it is measured besides its end.
        include: runs to add as they are.
        flagship: the scale whose optimum has neighbours among the candidates; the largest of
            `scales` when not given.
        replicates: whether repeating a run that was made already is a candidate.
    """

    feasible: FeasibleSet
    scales: tuple[Scale, ...]
    count: int
    checkpoints: tuple[float, ...] = ()
    include: tuple[Design, ...] = ()
    flagship: Scale | None = None
    replicates: bool = True

    def on(self, posterior: Posterior, seed: int = 0) -> Pool:
        """Pool of candidate runs for a posterior; the same seed gives the same pool.

        Raises:
            InfeasibleError: no mixture is allowed at one of the scales.
        """
        rows: list[tuple[np.ndarray, Scale, str]] = []
        best = self._optimum(posterior) if posterior.model.law.uses_mixture else None
        for scale in self.scales:
            region = self.feasible.at(scale, posterior.domains)
            sobol = fill(region, self.count, seed)
            rows += [(h, scale, "sobol") for h in sobol]
            rows += [(h, scale, "vertex") for h in vertices(region)]
            if best is not None:
                rows += [(h, scale, "optimum") for h in neighbours(region, best, sobol)]
        dearest = max(s.flops for s in self.scales)
        rows += _replicates(posterior, dearest) if self.replicates else []
        rows += [(d.mixture.on(posterior.domains), d.scale, "given") for d in self.include]
        designs = Designs(
            posterior.domains,
            np.array([h for h, _, _ in rows]),
            np.array([s.params for _, s, _ in rows]),
            np.array([s.tokens for _, s, _ in rows]),
        )
        return checkpointed(designs, [kind for _, _, kind in rows], self.checkpoints)

    def _optimum(self, posterior: Posterior) -> np.ndarray:
        scale = self.flagship or max(self.scales, key=lambda s: s.flops)
        problem = Problem.of(thinned(posterior, OPTIMUM_DRAWS), scale)
        region = self.feasible.at(scale, posterior.domains)
        return solve(problem, region, tolerance=1e-4).mixture

    def __str__(self) -> str:
        sizes = ", ".join(str(s) for s in self.scales)
        return f"{self.count} space-filling mixtures and their company at {sizes}"

    __repr__ = __str__


@renamed(within="feasible")
def candidates(
    feasible: FeasibleSet | None,
    scales: Scale | Sequence[Scale],
    count: int = 256,
    *,
    checkpoints: Sequence[float] = (),
    include: Sequence[Design | Mixture] = (),
    flagship: Scale | None = None,
    replicates: bool = True,
) -> Candidates:
    """Recipe for candidate runs: a grid of scales × mixtures inside the feasible set.

    The mixtures are a scrambled Sobol sequence on the simplex, the vertices with a floor for the
    other domains, and neighbours of the current optimum; replicates of runs already made and the
    user's own list are added. Every mixture is moved to the nearest allowed one, in relative
    entropy.

    Args:
        feasible: the allowed mixtures; all when None.
        scales: one size of run or several; each is one choice of N and D.
        count: number of space-filling mixtures, each at every scale.
        checkpoints: fractions of a run's tokens at which it is measured besides its end; they cost
            nothing more.
        include: runs to add as they are; a bare mixture is added at every scale.
        flagship: the scale whose current optimum gets neighbours; the largest of `scales` when not
            given.
        replicates: whether to offer repeating runs that were made already, so that noise can be
            bought down.

    Returns:
        A recipe; `propose` fills it in, and `recipe.on(posterior)` shows the runs.

    Raises:
        InputError: there is no scale, or `count` is negative.
    """
    sizes = scales_of(scales)
    if count < 0:
        raise InputError(
            "count is not a number of mixtures",
            expected="at least 0",
            got=count,
            advice="Raise it.",
        )
    designs = [Design(item, s) for item in include if isinstance(item, Mixture) for s in sizes]
    designs += [item for item in include if isinstance(item, Design)]
    return Candidates(
        feasible or FeasibleSet(),
        sizes,
        count,
        tuple(checkpoints),
        tuple(designs),
        flagship,
        replicates,
    )


def fill(region: Region, count: int, seed: int) -> np.ndarray:
    """Space-filling feasible mixtures (mixture, domain).

    A scrambled Sobol sequence u, made uniform on the simplex by h = log u / Σ log u and projected
    onto the feasible set.
    """
    if count == 0:
        return np.zeros((0, region.size))
    points = qmc.Sobol(region.size, rng=seed).random_base2(max(count - 1, 1).bit_length())[:count]
    exponential = -np.log(np.clip(points, 1e-9, 1 - 1e-9))
    return _project(region, exponential / exponential.sum(axis=1, keepdims=True))


def vertices(region: Region) -> np.ndarray:
    """Feasible mixtures (domain, domain) nearest to the vertices, one for each domain.

    The other domains share `FLOOR` before the projection.
    """
    size = region.size
    corners = np.full((size, size), FLOOR / max(size - 1, 1)) + np.eye(size) * (
        1 - FLOOR - FLOOR / max(size - 1, 1)
    )
    return _project(region, corners)


def neighbours(region: Region, best: np.ndarray, sobol: np.ndarray) -> np.ndarray:
    """The current optimum, and mixtures (mixture, domain) between it and others.

    The others are all vertices and the first space-filling mixtures.
    """
    endpoints = np.vstack([vertices(region), sobol[: region.size]])
    steps = np.concatenate(
        [[best], *((1 - share) * best + share * endpoints for share in NEIGHBOURS)]
    )
    return _project(region, steps)


def _project(region: Region, weights: np.ndarray) -> np.ndarray:
    moved = region.project(np.maximum(weights, 1e-9))
    return moved / moved.sum(axis=1, keepdims=True)


def _replicates(posterior: Posterior, dearest: float) -> list[tuple[np.ndarray, Scale, str]]:
    """Distinct runs made already that cost no more than the dearest scale.

    At most `REPLICATES`, evenly spaced in the order of N, D and weights.
    """
    last = Pool.of_runs(posterior.runs).last.on(posterior.domains)
    rows = np.unique(np.column_stack([last.params, last.tokens, last.mixture]), axis=0)
    rows = rows[6 * rows[:, 0] * rows[:, 1] <= dearest * (1 + 1e-9)]
    keep = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), REPLICATES)).round().astype(int))
    return (
        [(row[2:], Scale(*row[:2].tolist()), "replicate") for row in rows[keep]]
        if len(rows)
        else []
    )
