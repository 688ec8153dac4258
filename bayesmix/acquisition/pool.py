"""`Pool`: candidate runs, each with all the points it would measure."""

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
    """Pool of candidate training runs, each with one or several measured checkpoints.

    Attributes:
        designs: every point that would be measured (point).
        run: the run each point belongs to (point), numbered from 0.
        origin: source of each run (run): ``sobol``, ``vertex``, ``optimum``, ``replicate``
            or ``given``.
    """

    designs: Designs
    run: np.ndarray
    origin: tuple[str, ...]

    @classmethod
    def of(cls, designs: Designs | Design | Sequence[Design], origin: str = "given") -> Self:
        """Pool in which every design is a run of its own."""
        stack = Designs.stacked(designs)
        return cls(stack, np.arange(len(stack)), (origin,) * len(stack))

    @classmethod
    def of_runs(cls, runs: Runs) -> Self:
        """Pool of recorded runs, each with all its checkpoints, in the order of the first ones."""
        names = list(dict.fromkeys(runs.train_run))
        number = {name: i for i, name in enumerate(names)}
        belongs = np.array([number[name] for name in runs.train_run], dtype=int)
        return cls(runs.designs, belongs, ("given",) * len(names))

    @cached_property
    def last(self) -> Designs:
        """Designs of the last checkpoints of the runs (run)."""
        order = np.lexsort((self.designs.tokens, self.run))
        ends = np.append(np.flatnonzero(np.diff(self.run[order])), len(order) - 1)
        return self.designs.take(order[ends])

    @property
    def max_points(self) -> int:
        """Number of points of the run with most of them."""
        return int(np.bincount(self.run).max(initial=0))

    @cached_property
    def keys(self) -> np.ndarray:
        """Keys of the runs (run, key): N, D and weights, independent of the order of the pool."""
        last = self.last
        return np.column_stack(
            [last.params, last.tokens, last.mixture[:, np.argsort(last.domains)]]
        )

    @cached_property
    def order(self) -> np.ndarray:
        """Positions of the runs (run) in ascending order of their keys.

        The order breaks ties and brings runs of one size together.
        """
        return np.lexsort(self.keys.T[::-1])

    def take(self, runs: np.ndarray) -> Pool:
        """Pool of the runs at the given positions, in that order."""
        runs = np.arange(len(self))[runs]
        counts = np.bincount(self.run, minlength=len(self))
        number = np.repeat(np.arange(len(runs)), counts[runs])
        # first point of each run among the points sorted by run
        start = np.cumsum(counts)[runs] - counts[runs]
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
        """Pool of the runs of both; domains are matched by name."""
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
    """Pool of runs measured at the given fractions of their tokens and at their end."""
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
