"""Regret, expected value of perfect information, and the optimiser's curse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.objective import Objective
from bayesmix.decision.per_draw import lowest_per_draw
from bayesmix.decision.problem import Problem
from bayesmix.decision.protocols import PosteriorLike
from bayesmix.decision.risk import Risk
from bayesmix.decision.solve import CHOSEN, baselines_by_name, solve, with_baseline
from bayesmix.decision.solvers.region import Region
from bayesmix.deprecation import renamed
from bayesmix.design import Mixture, Scale
from bayesmix.summary import Band
from bayesmix.text import table

DRAWS = 1000


@dataclass(frozen=True, eq=False)
class RegretReport:
    """Regret of acting now on a mixture, and the expected value of perfect information.

    Attributes:
        mixture: the mixture acted on.
        scale: the scale.
        regret: its loss minus the lowest loss of any allowed mixture in the same draw; the mean is
            the expected regret.
        evpi: expected value of perfect information, min E[L] − E[min L], in nats: the most that
            further research could gain.
        optima: the best mixture of every draw (draw, domain).
        domains: names of the columns of `optima`.
        best: name → probability of having the lowest loss of all named mixtures, ``chosen`` among
            them.
        beats: name → probability that the mixture acted on has the lower loss.
        losses: the regret of every draw (draw).
    """

    mixture: Mixture
    scale: Scale
    regret: Band
    evpi: float
    optima: np.ndarray
    domains: tuple[str, ...]
    best: Mapping[str, float]
    beats: Mapping[str, float]
    losses: np.ndarray

    @property
    def shares(self) -> dict[str, Band]:
        """domain → band of its share in the best mixture of each draw."""
        return {d: Band.of(self.optima[:, i]) for i, d in enumerate(self.domains)}

    def as_dict(self) -> dict[str, Any]:
        """Dictionary ready for JSON."""
        return {
            "mixture": self.mixture.as_dict(),
            "params": self.scale.params,
            "tokens": self.scale.tokens,
            "expected_regret": self.regret.mean,
            "regret": self.regret.as_dict(),
            "evpi": self.evpi,
            "optimum_shares": {d: b.as_dict() for d, b in self.shares.items()},
            "probability_best": dict(self.best),
            "probability_beats": dict(self.beats),
        }

    def __str__(self) -> str:
        header = ("domain", "chosen", "best share of each draw, mean [90%]")
        rows = []
        for domain, band in self.shares.items():
            span = f"{band.mean:.1%} [{100 * band.q05:.1f}, {100 * band.q95:.1f}]"
            rows.append((domain, self.mixture.as_dict().get(domain, 0.0), span))
        lines = [
            f"regret at {self.scale}, in nats: {self.regret}",
            f"perfect knowledge would be worth {self.evpi:.3g} nats",
            "",
            *table(header, rows, "< >7.1% <"),
            "",
            *(f"P(better than {name}) = {p:.2f}" for name, p in self.beats.items()),
        ]
        return "\n".join(lines)


@renamed(within="feasible", against="baselines")
def regret(
    posterior: PosteriorLike,
    scale: Scale,
    mixture: Mixture,
    *,
    targets: Mapping[str, float] | None = None,
    feasible: FeasibleSet | None = None,
    baselines: Mapping[str, Mixture] | None = None,
    max_draws: int = DRAWS,
) -> RegretReport:
    """Regret of acting on `mixture`, with the distribution of the best mixture over the draws.

    Args:
        posterior: the fitted losses.
        scale: parameters and tokens.
        mixture: the mixture acted on.
        targets: target → weight; equal weights when not given.
        feasible: the allowed mixtures.
        baselines: name → mixture to compare with; uniform and natural are always included.
        max_draws: use at most this many draws; the optimum of each is computed by itself, and a
            thousand is plenty.

    Returns:
        The report; losses are in nats.
    """
    region = (feasible or FeasibleSet()).at(scale, posterior.domains)
    problem = Problem.of(posterior, scale, targets=targets, max_draws=max_draws)
    chosen = problem.combined(problem.losses(mixture.on(posterior.domains)))
    optima, lowest = lowest_per_draw(problem, region)
    now = solve(problem, region, tolerance=1e-6 * float(np.abs(chosen).mean())).value
    all_baselines = baselines_by_name(posterior, baselines)
    losses = {
        name: problem.combined(problem.losses(m.on(posterior.domains)))
        for name, m in all_baselines.items()
    }
    ranking = np.argmin(np.stack([chosen, *losses.values()]), axis=0)
    return RegretReport(
        mixture=mixture,
        scale=scale,
        regret=Band.of(chosen - lowest),
        evpi=max(now - float(lowest.mean()), 0.0),
        optima=optima,
        domains=posterior.domains,
        best={name: float(np.mean(ranking == i)) for i, name in enumerate([CHOSEN, *losses])},
        beats={name: float(np.mean(chosen < theirs)) for name, theirs in losses.items()},
        losses=chosen - lowest,
    )


@dataclass(frozen=True)
class SplitRisk:
    """Risk of the chosen mixture on the draws it was chosen by, and on the others.

    The difference of the two is the optimiser's curse.

    Attributes:
        apparent: risk on the draws the mixture was chosen by, in nats; too low.
        honest: risk on the draws not used, in nats.
    """

    apparent: float
    honest: float

    @property
    def optimism(self) -> float:
        """Optimism of the apparent risk, in nats."""
        return self.honest - self.apparent

    def __str__(self) -> str:
        return (
            f"risk {self.honest:.4g} nats on draws not used to choose, {self.apparent:.4g} on those"
            " used"
        )


@renamed(within="feasible")
def split_risk(
    posterior: PosteriorLike,
    scale: Scale,
    *,
    targets: Mapping[str, float] | None = None,
    objective: Objective | None = None,
    risk: Risk | None = None,
    feasible: FeasibleSet | None = None,
    noise: bool = False,
    max_draws: int | None = None,
    seed: int = 0,
) -> SplitRisk:
    """Risk of a mixture chosen on one half of the draws and evaluated on the other, both ways.

    The arguments are those of `optimize`; `seed` determines the halves.
    """
    region = (feasible or FeasibleSet()).at(scale, posterior.domains)
    problem = Problem.of(
        posterior,
        scale,
        targets=targets,
        objective=objective,
        risk=risk,
        max_draws=max_draws,
        noise=noise,
    )
    tolerance = 1e-6 * problem.loss_scale(region.centre)
    problem = with_baseline(problem, region, tolerance)
    order = np.random.default_rng(seed).permutation(problem.n_draws)
    halves = order[: len(order) // 2], order[len(order) // 2 : 2 * (len(order) // 2)]
    ways = [
        _one_way(problem, region, train, test, tolerance) for train, test in (halves, halves[::-1])
    ]
    apparent, honest = np.mean(ways, axis=0).tolist()
    return SplitRisk(apparent, honest)


def _one_way(
    problem: Problem, region: Region, train: np.ndarray, test: np.ndarray, tolerance: float
) -> tuple[float, float]:
    chosen = solve(problem.on(train), region, tolerance=tolerance)
    return chosen.value, problem.on(test).value(chosen.mixture)
