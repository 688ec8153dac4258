"""Ways to pick the next run of a recorded pool: by a criterion, at random, spread out, or D-optimal."""

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
    """Picks one of the runs that are left. `needs_posterior` says whether it looks at what is believed."""

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
        """The position in `pool` of the next run.

        Args:
            posterior: what is believed after the runs made; None where it is not needed.
            pool: all recorded runs.
            remaining: positions of those not made yet.
            history: positions of those made, in order.
            seed: of this replay.
        """

    @property
    def name(self) -> str:
        """The word for it in tables."""
        return type(self).__name__.lower()


@renamed(by="acquisition", per="cost")
@dataclass(frozen=True)
class ByCriterion(Strategy):
    """The run with the highest score per cost.

    Args:
        acquisition: the criterion.
        cost: the cost; None for none.
        label: the word for it in tables.
        draws: posterior draws used.
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
    """Any run that is left, all alike."""

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
    """The run that is left nearest to the next point of a scrambled Sobol sequence over mixture, log N and log D."""

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
"""Information about all parameters per cost: Bayesian D-optimality."""
