"""`near_optimal`: the set of mixtures of small regret, its ranges of shares and its trades."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.objective import DrawRegret
from bayesmix.decision.problem import Problem
from bayesmix.decision.protocols import PosteriorLike, Surface
from bayesmix.decision.risk import CVaR, Quantile, Risk
from bayesmix.decision.solve import solve, with_baseline
from bayesmix.decision.solvers.cutting_plane import minimise_convex
from bayesmix.decision.solvers.polytope import divergence
from bayesmix.decision.solvers.region import Region
from bayesmix.deprecation import renamed
from bayesmix.design import Mixture, Scale
from bayesmix.runtime.compute import enable_x64
from bayesmix.text import table

PRICE = 1000.0  # penalty in shares per nat, far above what an exact penalty needs
PRECISION = 5e-4  # tolerance on a share


@dataclass(frozen=True, eq=False)
class NearOptimalSet:
    """The mixtures whose regret stays below `epsilon` nats with at least `probability`.

    Regret is the loss minus the lowest loss of any allowed mixture in the same draw.

    Attributes:
        epsilon: largest regret, in nats.
        probability: probability that the regret is below `epsilon`.
        attainable: the smallest epsilon for which there is such a mixture; above `epsilon` the set
            is empty.
        centre: the mixture with the smallest regret at that probability.
        ranges: domain → lowest and highest share inside the set.
        trades: (from, to) → the share that can move between two domains with all else as in
            `centre`, largest first.
        members: name → a representative: ``centre``, ``nearest natural``, and the ends of the
            widest ranges.
    """

    epsilon: float
    probability: float
    attainable: float
    centre: Mixture
    ranges: Mapping[str, tuple[float, float]]
    trades: Mapping[tuple[str, str], float]
    members: Mapping[str, Mixture]

    @property
    def empty(self) -> bool:
        """Whether the set has no member."""
        return self.attainable > self.epsilon

    def as_dict(self) -> dict[str, Any]:
        """Dictionary ready for JSON."""
        return {
            "epsilon": self.epsilon,
            "probability": self.probability,
            "attainable": self.attainable,
            "ranges": {d: list(r) for d, r in self.ranges.items()},
            "trades": [{"from": a, "to": b, "share": t} for (a, b), t in self.trades.items()],
            "members": {name: m.as_dict() for name, m in self.members.items()},
        }

    def __str__(self) -> str:
        head = f"regret below {self.epsilon:.2g} nats with probability {self.probability:g}"
        if self.empty:
            return f"no mixture has a {head}; the smallest possible is {self.attainable:.2g} nats"
        rows = [
            (domain, self.centre[domain], f"{low:.1%} to {high:.1%}")
            for domain, (low, high) in self.ranges.items()
        ]
        lines = [
            f"mixtures with a {head}",
            "",
            *table(("domain", "centre", "range"), rows, "< >7.1% <"),
        ]
        swaps = [
            f"{100 * t:.1f} points from {a} to {b}" for (a, b), t in list(self.trades.items())[:3]
        ]
        return "\n".join([*lines, "", "all else equal, one may move " + "; ".join(swaps)])


@renamed(within="feasible")
def near_optimal(
    posterior: PosteriorLike,
    scale: Scale,
    *,
    epsilon: float | None = None,
    probability: float = 0.9,
    targets: Mapping[str, float] | None = None,
    feasible: FeasibleSet | None = None,
    max_draws: int = 500,
) -> NearOptimalSet:
    """Summary of the set of mixtures whose regret stays small with a given probability.

    Args:
        posterior: the fitted losses.
        scale: parameters and tokens.
        epsilon: largest regret in nats; by default 1.5 times the smallest attainable, and at least
            0.001.
        probability: probability that the regret stays below epsilon.
        targets: target → weight; equal weights when not given.
        feasible: the allowed mixtures.
        max_draws: use at most this many draws.

    Returns:
        The summary. Every mixture in it was checked to be in the set; a range can be wider than
        stated only where the set is not convex.
    """
    region = (feasible or FeasibleSet()).at(scale, posterior.domains)
    problem = Problem.of(
        posterior,
        scale,
        targets=targets,
        objective=DrawRegret(),
        risk=Quantile(probability),
        max_draws=max_draws,
    )
    problem = with_baseline(problem, region, 1e-7)
    centre, attainable = _centre(problem, region, probability)
    limit = max(1.5 * attainable, 1e-3) if epsilon is None else epsilon
    seek = _Seek(problem, region, limit, centre)
    domains = posterior.domains
    ends = {} if attainable > limit else {d: seek.ends(i) for i, d in enumerate(domains)}
    ranges = {d: (float(low[i]), float(high[i])) for i, (d, (low, high)) in enumerate(ends.items())}
    widest = sorted(ranges, key=lambda d: ranges[d][0] - ranges[d][1])[:2]
    members = {"centre": centre}
    if posterior.natural is not None and ends:
        members["nearest natural"] = seek.nearest(posterior.natural.on(domains))
    for domain in widest:
        members[f"least {domain}"], members[f"most {domain}"] = ends[domain]
    return NearOptimalSet(
        epsilon=limit,
        probability=probability,
        attainable=attainable,
        centre=Mixture.of(domains, centre),
        ranges=ranges,
        trades=seek.trades() if ends else {},
        members={name: Mixture.of(domains, h) for name, h in members.items()},
    )


def _centre(problem: Problem, region: Region, probability: float) -> tuple[np.ndarray, float]:
    """The mixture with the smallest quantile of regret, and that quantile.

    The search starts at the minimum of the CVaR, a convex approximation of the quantile.
    """
    surrogate, start = replace(problem, risk=CVaR(probability)), None
    if surrogate.convex:
        start = solve(surrogate, region, tolerance=1e-6).mixture
        start = region.project(np.maximum(start, 1e-9)[None])[0]
    minimum = solve(problem, region, tolerance=1e-7, starts=2, start=start)
    return minimum.mixture / minimum.mixture.sum(), minimum.value


@dataclass(frozen=True, eq=False)
class _Seek:
    """Searches inside the set ``regret ≤ limit``, which contains `centre`."""

    problem: Problem
    region: Region
    limit: float
    centre: np.ndarray

    def ends(self, domain: int) -> tuple[np.ndarray, np.ndarray]:
        """The members with the least and the most of one domain."""
        slope = np.eye(1, self.region.size, domain)[0]
        return self._lowest(lambda h: (h[domain], slope)), self._lowest(
            lambda h: (-h[domain], -slope)
        )

    def nearest(self, mixture: np.ndarray) -> np.ndarray:
        """The member with the smallest divergence from a mixture (domain)."""
        aim = np.maximum(mixture, 1e-6)

        def distance(h: np.ndarray) -> tuple[float, np.ndarray]:
            return float(divergence(h, aim)), np.log(np.maximum(h, 1e-300) / aim) + 1.0

        return self._lowest(distance)

    def _lowest(self, goal: Callable[[np.ndarray], tuple[float, np.ndarray]]) -> np.ndarray:
        def penalised(h: np.ndarray) -> tuple[float, np.ndarray]:
            (value, slope), (regret, uphill) = goal(h), self.problem.value_and_slope(h)
            violation = regret > self.limit
            return (
                float(value + violation * PRICE * (regret - self.limit)),
                slope + violation * PRICE * uphill,
            )

        start = self.region.project(np.maximum(self.centre, 1e-9)[None])[0]
        mixture = minimise_convex(
            penalised, self.region, tolerance=PRECISION, budget=60, start=start
        ).mixture
        return self._pull_back(mixture)

    def _pull_back(self, mixture: np.ndarray) -> np.ndarray:
        """The point nearest to `mixture` on its segment to the centre that is in the set."""
        low, high = 0.0, 1.0
        if self.problem.value(mixture) <= self.limit:
            return mixture / mixture.sum()
        for _ in range(20):
            share = 0.5 * (low + high)
            inside = self.problem.value((1 - share) * self.centre + share * mixture) <= self.limit
            low, high = (share, high) if inside else (low, share)
        point = (1 - low) * self.centre + low * mixture
        return point / point.sum()

    def trades(self) -> dict[tuple[str, str], float]:
        """Share that can move between every ordered pair of domains, by bisection on all pairs."""
        size = self.region.size
        free = np.flatnonzero(self.region.free)
        pairs = [(a, b) for a in free for b in free if a != b]
        if not pairs:
            return {}
        move = np.array([np.eye(size)[b] - np.eye(size)[a] for a, b in pairs])
        high = np.array([self.region.reach(self.centre, m) for m in move])
        low = np.zeros(len(pairs))
        for _ in range(10):
            middle = 0.5 * (low + high)
            inside = (
                self._regrets(np.maximum(self.centre + middle[:, None] * move, 0.0)) <= self.limit
            )
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        names = self.region.domains
        order = np.argsort(-low, kind="stable")
        return {(names[pairs[k][0]], names[pairs[k][1]]): float(low[k]) for k in order}

    def _regrets(self, mixtures: np.ndarray) -> np.ndarray:
        problem = self.problem
        with enable_x64():
            arguments = (
                problem.surface,
                jnp.asarray(mixtures),
                jnp.asarray(problem.weights),
                jnp.asarray(problem.baseline),
            )
            return np.asarray(_regrets(*arguments, problem.risk))


@partial(jax.jit, static_argnames="risk")
def _regrets(
    surface: Surface, mixtures: jax.Array, weights: jax.Array, baseline: jax.Array, risk: Risk
) -> jax.Array:
    """The risk of the regret of each of `mixtures` (batch, domain)."""
    return jax.lax.map(lambda mixture: risk((surface(mixture) - baseline) @ weights), mixtures)
