"""Cost of training runs, in FLOPs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np

from bayesmix.design import Designs
from bayesmix.errors import InputError

PRIOR_RUNS = 2.0
"""Prior weight of the present cost ratio, as a number of runs."""


class CostOf(Protocol):
    """Function that gives the cost of designs (run), in FLOPs."""

    def __call__(self, designs: Designs) -> np.ndarray:
        """The cost of each design (run)."""
        ...


def flops(designs: Designs) -> np.ndarray:
    """Training compute 6·N·D of each design (run), in floating-point operations."""
    return designs.flops


@dataclass(frozen=True)
class Cost:
    """Cost of a run in FLOPs: fixed + ratio · 6·N·D.

    Args:
        fixed: FLOPs every run costs whatever its size: start-up, evaluation, a person's attention.
        ratio: actual FLOPs per planned FLOP of training.
    """

    fixed: float = 0.0
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if not (
            np.isfinite(self.fixed)
            and self.fixed >= 0
            and np.isfinite(self.ratio)
            and self.ratio > 0
        ):
            raise InputError(
                "the cost of a run makes no sense",
                expected="fixed of at least 0 and ratio above 0",
                got=(self.fixed, self.ratio),
            )

    def __call__(self, designs: Designs) -> np.ndarray:
        """The cost of each design (run), in FLOPs."""
        return self.fixed + self.ratio * designs.flops

    def learned(self, planned: np.ndarray, actual: np.ndarray) -> Self:
        """The cost with its ratio updated from planned and actual training FLOPs (run).

        The log ratio becomes the mean of the log ratios log(actual / planned), with the present
        ratio counted as two further runs.

        Raises:
            InputError: a number is not above 0.
        """
        ratios = np.asarray(actual, float) / np.asarray(planned, float)
        if not (np.isfinite(ratios).all() and (ratios > 0).all()):
            raise InputError(
                "a cost is not a number of FLOPs",
                expected="finite numbers above 0",
                got=ratios.tolist(),
                advice="Leave out runs whose cost is not known.",
            )
        logs = np.log(ratios).sum() + PRIOR_RUNS * np.log(self.ratio)
        return replace(self, ratio=float(np.exp(logs / (len(ratios) + PRIOR_RUNS))))
