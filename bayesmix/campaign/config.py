"""`CampaignConfig`: settings of a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bayesmix.acquisition.candidates import Candidates, candidates
from bayesmix.decision.feasible import FeasibleSet
from bayesmix.design import Design, Mixture, Scale
from bayesmix.posterior.posterior import Posterior


@dataclass(frozen=True)
class CampaignConfig:
    """Settings of a campaign.

    Attributes:
        posterior: path of the posterior that the campaign starts from.
        flagship: the scale the mixture is chosen for.
        scales: sizes a run may have.
        targets: target → weight; equal weights when None.
        constraints: table of constraints, as read by `FeasibleSet.from_dict`.
        count: number of space-filling candidate mixtures, each at every scale.
        budget: FLOPs for all the runs together; None for no limit.
        fixed: FLOPs that every run costs besides its training.
        checkpoints: fractions of a run's tokens at which it is measured besides its end.
        include: further candidates, as (weights, params, tokens).
        seed: seed of the campaign.
        measured: targets whose losses may be recorded, those of the posterior; set when the
            campaign is created.
    """

    posterior: str
    flagship: Scale
    scales: tuple[Scale, ...]
    targets: Mapping[str, float] | None = None
    constraints: Mapping[str, Any] = field(default_factory=dict)
    count: int = 64
    budget: float | None = None
    fixed: float = 0.0
    checkpoints: tuple[float, ...] = ()
    include: tuple[tuple[Mapping[str, float], float, float], ...] = ()
    seed: int = 0
    measured: tuple[str, ...] = ()

    @property
    def candidates(self) -> Candidates:
        """Recipe of the candidate runs, without constraints."""
        designs = [
            Design(Mixture(weights), Scale(params, tokens))
            for weights, params, tokens in self.include
        ]
        return candidates(
            None,
            self.scales,
            self.count,
            checkpoints=self.checkpoints,
            include=designs,
            flagship=self.flagship,
        )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> CampaignConfig:
        """Settings from the dictionary given by `asdict`."""
        values = dict(stored)
        values["flagship"] = Scale(**values["flagship"])
        values["scales"] = tuple(Scale(**s) for s in values["scales"])
        values |= {
            key: tuple(values.get(key, ())) for key in ("checkpoints", "include", "measured")
        }
        return cls(**values)

    def feasible(self, posterior: Posterior) -> FeasibleSet:
        """Feasible set given by the constraints."""
        return FeasibleSet.from_dict(
            self.constraints, natural=posterior.natural, runs=posterior.designs
        )
