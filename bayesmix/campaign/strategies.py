"""Strategies for the next run of a pool: by a criterion, random, space-filling, D-optimal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, override

import numpy as np
from scipy.stats import qmc

from bayesmix.acquisition.cost import CostOf, flops
from bayesmix.acquisition.functions import Acquisition, InformationGain
from bayesmix.acquisition.pool import Pool
from bayesmix.acquisition.propose import propose
from bayesmix.deprecation import renamed
from bayesmix.posterior.posterior import Posterior


@dataclass(frozen=True)
class Strategy(ABC):
    """Strategy that picks one of the remaining runs.

    `needs_posterior` says whether it uses the posterior.
    """

    needs_posterior: ClassVar[bool] = True

    @abstractmethod
    def pick(
        self,
        posterior: Posterior | None,
        pool: Pool,
        remaining: np.ndarray,
        history: np.ndarray,
        seed: int,
    ) -> int:
        """Position in `pool` of the next run.

        Args:
            posterior: posterior given the runs made; None where it is not needed.
            pool: all recorded runs.
            remaining: positions of the runs not made yet.
            history: positions of the runs made, in order.
            seed: seed of this replay.
        """

    @property
    def name(self) -> str:
        """Name of the strategy in tables."""
        return type(self).__name__.lower()


@renamed(by="acquisition", per="cost")
@dataclass(frozen=True)
class ByCriterion(Strategy):
    """Strategy that picks the run with the highest score per cost.

    Args:
        acquisition: acquisition function.
        cost: cost of a run; None for equal costs.
        label: name of the strategy in tables.
        draws: largest number of posterior draws used.
    """

    acquisition: Acquisition
    cost: CostOf | None = flops
    label: str = ""
    draws: int = 400

    @override
    def pick(
        self,
        posterior: Posterior | None,
        pool: Pool,
        remaining: np.ndarray,
        history: np.ndarray,
        seed: int,
    ) -> int:
        assert posterior is not None
        # the posterior is whitened for all runs alike, so that the number of runs left changes no
        # compiled program
        rest = pool.take(remaining)
        proposal = propose(
            posterior,
            rest,
            acquisition=self.acquisition,
            cost=self.cost,
            checks=False,
            max_draws=self.draws,
            seed=seed,
        )
        return int(remaining[(rest.keys == proposal.runs.keys[0]).all(axis=1).argmax()])

    @property
    @override
    def name(self) -> str:
        return self.label or type(self.acquisition).__name__


@dataclass(frozen=True)
class AtRandom(Strategy):
    """Strategy that picks a remaining run uniformly at random."""

    needs_posterior: ClassVar[bool] = False

    @override
    def pick(
        self,
        posterior: Posterior | None,
        pool: Pool,
        remaining: np.ndarray,
        history: np.ndarray,
        seed: int,
    ) -> int:
        return int(np.random.default_rng((seed, len(history))).choice(remaining))

    @property
    @override
    def name(self) -> str:
        return "random"


@dataclass(frozen=True)
class SpaceFilling(Strategy):
    """Strategy that follows a scrambled Sobol sequence over mixture, log N and log D.

    It picks the remaining run nearest to the next point.
    """

    needs_posterior: ClassVar[bool] = False

    @override
    def pick(
        self,
        posterior: Posterior | None,
        pool: Pool,
        remaining: np.ndarray,
        history: np.ndarray,
        seed: int,
    ) -> int:
        last = pool.last
        sizes = np.log(np.column_stack([last.params, last.tokens]))
        span = np.ptp(sizes, axis=0)
        places = np.hstack(
            [last.mixture, (sizes - sizes.min(axis=0)) / np.where(span > 0, span, 1.0)]
        )
        domains = last.mixture.shape[1]
        points = qmc.Sobol(domains + 2, rng=seed).random(2 ** len(history).bit_length())
        point = points[len(history)]
        exponential = -np.log(np.clip(point[:domains], 1e-9, 1 - 1e-9))
        aim = np.append(exponential / exponential.sum(), np.where(span > 0, point[domains:], 0.0))
        return int(remaining[np.argmin(((places[remaining] - aim) ** 2).sum(axis=1))])

    @property
    @override
    def name(self) -> str:
        return "space-filling"


D_OPTIMAL = ByCriterion(InformationGain(), flops, "D-optimal")
"""Strategy of Bayesian D-optimality: information about all parameters per cost."""
