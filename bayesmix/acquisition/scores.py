"""`score_candidates`: score and cost of each of many candidate runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmix.acquisition.candidates import Candidates
from bayesmix.acquisition.cost import CostOf, flops
from bayesmix.acquisition.decision_set import DecisionSet
from bayesmix.acquisition.functions import Acquisition, score_pool
from bayesmix.acquisition.pool import Pool
from bayesmix.acquisition.propose import DRAWS
from bayesmix.deprecation import renamed
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.resample import thinned
from bayesmix.runtime.compute import enable_x64


@dataclass(frozen=True, eq=False)
class CandidateScores:
    """Scores and costs of candidate runs, each by itself.

    Attributes:
        runs: the candidates.
        scores: score of each run (run), in `unit`.
        costs: cost of each run (run), in FLOPs.
        unit: unit of the scores.
        decision_set: the decision at the flagship; None for a criterion without one.
    """

    runs: Pool
    scores: np.ndarray
    costs: np.ndarray
    unit: str
    decision_set: DecisionSet | None

    def worth(self, costs: np.ndarray) -> np.ndarray | None:
        """Score (cost) at which a run is worth `costs` FLOPs at the flagship.

        slope · log(1 + cost / C), with C the FLOPs of the flagship; None without a decision.
        """
        if self.decision_set is None or not self.decision_set.slope > 0:
            return None
        return self.decision_set.slope * np.log1p(costs / self.decision_set.flagship.flops)

    @property
    def frontier(self) -> np.ndarray:
        """Positions of the Pareto-optimal runs in score and cost, cheapest first."""
        order = np.lexsort((-self.scores, self.costs))
        best = np.maximum.accumulate(np.append(-np.inf, self.scores[order]))
        return order[self.scores[order] > best[:-1]]

    def as_dict(self) -> dict[str, Any]:
        """Dictionary of the unit and the candidates, ready for JSON."""
        last = self.runs.last
        rows = zip(last.params, last.tokens, self.scores, self.costs, self.runs.origin, strict=True)
        keys = ("params", "tokens", "score", "cost", "origin")
        return {
            "unit": self.unit,
            "candidates": [dict(zip(keys, row, strict=True)) for row in rows],
        }

    def __str__(self) -> str:
        best = int(np.argmax(self.scores))
        return f"{len(self.runs)} candidate runs, worth up to {self.scores[best]:.3g} {self.unit}"

    __repr__ = __str__


@renamed(among="candidates", by="acquisition", per="cost")
def score_candidates(
    posterior: Posterior,
    candidates: Candidates | Pool,
    *,
    acquisition: Acquisition,
    cost: CostOf = flops,
    max_draws: int = DRAWS,
    seed: int = 0,
) -> CandidateScores:
    """Score and cost of every candidate run, each by itself.

    Args:
        posterior: present posterior.
        candidates: `candidates(...)`, or a pool.
        acquisition: acquisition function.
        cost: cost of a run, in FLOPs.
        max_draws: largest number of posterior draws used.
        seed: seed of candidates and nodes.
    """
    subsample = thinned(posterior, max_draws)
    pool = candidates.on(subsample, seed) if isinstance(candidates, Candidates) else candidates
    decision_set = acquisition.decision_set(subsample)
    with enable_x64():
        view = acquisition.view(subsample, decision_set, pool.max_points, seed)
    return CandidateScores(
        pool,
        score_pool(acquisition, view, subsample, pool),
        np.asarray(cost(pool.last), float),
        acquisition.unit,
        decision_set,
    )
