"""`Job`, `Trial` and `State`: requested runs of a campaign and their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from bayesmix.acquisition.cost import Cost
from bayesmix.design import Design, Mixture, Scale

if TYPE_CHECKING:  # the ledger opens without waiting for JAX
    from bayesmix.acquisition.pool import Pool

Status = Literal["pending", "told", "failed", "abandoned"]


@dataclass(frozen=True, eq=False)
class Job(Mapping[str, Any]):
    """Specification of a run for a launcher; also a mapping, the JSON that it is stored as.

    Attributes:
        mixture: domain → weight.
        params: number of parameters N.
        tokens: number of tokens D at its end.
        flops: planned training FLOPs.
        seed: seed of the run.
        reason: reason why it was chosen, in a sentence.
        score: gain over the runs chosen before it.
        checkpoints: tokens at which it is measured before its end.
    """

    mixture: Mapping[str, float]
    params: float
    tokens: float
    flops: float
    seed: int
    reason: str = ""
    score: float = 0.0
    checkpoints: tuple[float, ...] = ()

    @classmethod
    def from_pool(cls, runs: Pool, position: int, **fields: Any) -> Self:
        """Job of one run of a pool, with the pool's checkpoints and the other fields as given."""
        points = runs.designs.tokens[runs.run == position]
        return cls(
            **runs.last.as_dict(position),
            checkpoints=tuple(np.sort(points)[:-1].tolist()),
            **fields,
        )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Job from the dictionary given by `as_dict`."""
        return cls(**{**stored, "checkpoints": tuple(stored.get("checkpoints", ()))})

    def as_dict(self) -> dict[str, Any]:
        """Dictionary of the job, ready for JSON."""
        return asdict(self) | {"checkpoints": list(self.checkpoints)}

    def __getitem__(self, field: str) -> Any:
        return self.as_dict()[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __len__(self) -> int:
        return len(self.as_dict())

    def __eq__(self, other: object) -> bool:
        return self.as_dict() == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return self.as_dict() | dict(other)

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return dict(other) | self.as_dict()

    def design(self, tokens: float | None = None) -> Design:
        """Design of the run at its end, or at a checkpoint."""
        return Design(
            Mixture(self.mixture), Scale(self.params, self.tokens if tokens is None else tokens)
        )

    def key(self, domains: tuple[str, ...]) -> tuple[float, ...]:
        """Key that equal runs share: N, D and weights in the order of the domains."""
        return design_key(self.params, self.tokens, np.array([self.mixture[d] for d in domains]))


def design_key(params: float, tokens: float, weights: np.ndarray) -> tuple[float, ...]:
    """Key that equal runs share: N, D and weights (domain)."""
    return (float(params), float(tokens), *weights.round(9).tolist())


@dataclass(frozen=True)
class Trial:
    """One requested run.

    Attributes:
        number: 1, 2, 3, …
        job: the run.
        status: status of the run.
        result: record made at its end: losses by target, FLOPs, a reason.
    """

    number: int
    job: Job
    status: Status
    result: dict[str, Any]

    @property
    def id(self) -> str:
        """Identifier of the trial, such as t0001."""
        return f"t{self.number:04d}"

    @property
    def losses(self) -> Mapping[str, float]:
        """Losses at its end, as target → loss; empty before."""
        return self.result.get("losses", {})

    @property
    def actual_flops(self) -> float | None:
        """Actual FLOPs of the run, where they were recorded."""
        return self.result.get("actual_flops")

    @property
    def reason(self) -> str:
        """Reason why it failed or was abandoned."""
        return self.result.get("why", "")

    @property
    def measured(self) -> tuple[tuple[float, Mapping[str, float]], ...]:
        """Pairs (tokens, losses) of its checkpoints and of its end, in order."""
        checkpoints = sorted(
            (float(key), losses) for key, losses in self.result.get("checkpoints", {}).items()
        )
        return (*checkpoints, (self.job.tokens, self.losses))

    def as_dict(self) -> dict[str, Any]:
        """Dictionary of the trial, ready for JSON."""
        return {"trial": self.id, "status": self.status, **self.job.as_dict(), **self.result}


@dataclass(frozen=True)
class State:
    """State of a campaign: the sum of the events of its ledger.

    Attributes:
        version: number of events.
        trials: trials in the order they were asked for.
    """

    version: int
    trials: tuple[Trial, ...]

    @property
    def next_number(self) -> int:
        """Number of the next trial."""
        return 1 + len(self.trials)

    def of(self, *status: Status) -> tuple[Trial, ...]:
        """The trials with one of the given statuses."""
        return tuple(t for t in self.trials if t.status in status)

    def cost(self, fixed: float) -> Cost:
        """Cost of runs, learned from the trials with recorded actual FLOPs."""
        pairs = [
            (t.job.flops, t.actual_flops) for t in self.of("told") if t.actual_flops is not None
        ]
        return Cost(fixed).learned(*np.array(pairs).T) if pairs else Cost(fixed)

    def spent(self, cost: Cost) -> float:
        """FLOPs of all requested runs.

        Actual FLOPs where they are recorded, else planned FLOPs times the ratio learned so far.
        """
        training = [
            cost.ratio * t.job.flops if t.actual_flops is None else t.actual_flops
            for t in self.trials
        ]
        return float(cost.fixed * len(training) + sum(training))
