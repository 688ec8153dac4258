"""`Pool`: runs that could be made, each with all the points it would measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from bayesmix.design import Design, Designs, Scale
from bayesmix.errors import InputError
from bayesmix.runs.runs import Runs


@dataclass(frozen=True, eq=False)
class Pool:
    """Training runs to choose from. A run is one unit, however many checkpoints it is measured at.

    Attributes:
        designs: every point that would be measured (point).
        run: the run each point belongs to (point), numbered from 0.
        origin: where each run comes from (run): ``sobol``, ``vertex``, ``optimum``, ``replicate``
            or ``given``.
    """

    designs: Designs
    run: np.ndarray
    origin: tuple[str, ...]

    @classmethod
    def of(cls, designs: Designs | Design | Sequence[Design], origin: str = "given") -> Self:
        """Every design as a run of its own."""
        stack = Designs.stacked(designs)
        return cls(stack, np.arange(len(stack)), (origin,) * len(stack))

    @classmethod
    def of_runs(cls, runs: Runs) -> Self:
        """Recorded runs, checkpoints of one training run together, in the order of their first checkpoints."""
        names = list(dict.fromkeys(runs.train_run))
        number = {name: i for i, name in enumerate(names)}
        belongs = np.array([number[name] for name in runs.train_run], dtype=int)
        return cls(runs.designs, belongs, ("given",) * len(names))

    @cached_property
    def last(self) -> Designs:
        """Every run as it ends (run): its last checkpoint."""
        order = np.lexsort((self.designs.tokens, self.run))
        ends = np.append(np.flatnonzero(np.diff(self.run[order])), len(order) - 1)
        return self.designs.take(order[ends])

    @cached_property
    def keys(self) -> np.ndarray:
        """What each run is (run, key): N, D and weights, whatever its place in the pool."""
        last = self.last
        return np.column_stack(
            [last.params, last.tokens, last.mixture[:, np.argsort(last.domains)]]
        )

    @cached_property
    def order(self) -> np.ndarray:
        """The runs (run) from small to large keys: ties are broken by it, and those of one size come together."""
        return np.lexsort(self.keys.T[::-1])

    def take(self, runs: np.ndarray) -> Pool:
        """The runs at the given positions, in that order."""
        runs = np.arange(len(self))[runs]
        counts = np.bincount(self.run, minlength=len(self))
        number = np.repeat(np.arange(len(runs)), counts[runs])
        start = (
            np.cumsum(counts)[runs] - counts[runs]
        )  # of each run's points, where they are sorted by run
        nth = np.arange(len(number)) - np.repeat(
            np.cumsum(counts[runs]) - counts[runs], counts[runs]
        )
        rows = np.argsort(self.run, kind="stable")[np.repeat(start, counts[runs]) + nth]
        return replace(
            self,
            designs=self.designs.take(rows),
            run=number,
            origin=tuple(self.origin[r] for r in runs),
        )

    def __len__(self) -> int:
        return len(self.origin)

    def __getitem__(self, run: int) -> Design:
        return self.last[run]

    def __add__(self, other: Pool) -> Pool:
        """The runs of both; domains are matched by name."""
        theirs = other.designs.on(self.designs.domains)
        designs = Designs(
            self.designs.domains,
            np.vstack([self.designs.mixture, theirs.mixture]),
            np.append(self.designs.params, theirs.params),
            np.append(self.designs.tokens, theirs.tokens),
        )
        return replace(
            self,
            designs=designs,
            run=np.append(self.run, other.run + len(self)),
            origin=self.origin + other.origin,
        )

    def __str__(self) -> str:
        kinds = [f"{self.origin.count(kind)} {kind}" for kind in dict.fromkeys(self.origin)]
        return (
            f"{len(self)} candidate runs ({', '.join(kinds)}), {len(self.designs)} measured points"
        )

    __repr__ = __str__


def checkpointed(designs: Designs, origin: Sequence[str], fractions: Sequence[float]) -> Pool:
    """Runs that are measured at the given fractions of their tokens and at their end."""
    stops = np.array(sorted({*fractions, 1.0}))
    if not (stops[0] > 0 and stops[-1] == 1):
        raise InputError(
            "checkpoints are not fractions of a run",
            expected="above 0 and at most 1",
            got=list(fractions),
            advice="Give for example [0.25, 0.5].",
        )
    points = Designs(
        designs.domains,
        np.repeat(designs.mixture, len(stops), axis=0),
        np.repeat(designs.params, len(stops)),
        (designs.tokens[:, None] * stops).reshape(-1),
    )
    return Pool(points, np.repeat(np.arange(len(designs)), len(stops)), tuple(origin))


def scales_of(scales: Scale | Sequence[Scale]) -> tuple[Scale, ...]:
    """One scale or several, refused when there is none."""
    sizes = (scales,) if isinstance(scales, Scale) else tuple(scales)
    if not sizes:
        raise InputError(
            "there is no scale to run at",
            expected="at least one Scale",
            got="none",
            advice="Give one.",
        )
    return sizes
