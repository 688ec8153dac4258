"""`Prediction`: draws of loss with labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayesmix.design import Designs
from bayesmix.posterior.extrapolation import Extrapolation
from bayesmix.text import table


@dataclass(frozen=True, eq=False)
class Prediction:
    """Draws of the loss of designs, with labels.

    Attributes:
        draws: losses (draw, run, target).
        designs: the designs, in the order of the run axis.
        targets: the targets, in the order of the target axis.
        fitted: the designs of the runs that the posterior was fitted to, where there are any.
    """

    draws: np.ndarray
    designs: Designs
    targets: tuple[str, ...]
    fitted: Designs | None = None

    @cached_property
    def extrapolation(self) -> Extrapolation | None:
        """Distances of the designs from the fitted runs."""
        return Extrapolation.of(self.designs, self.fitted) if self.fitted else None

    @property
    def mean(self) -> np.ndarray:
        """Expected loss (run, target)."""
        return self.draws.mean(axis=0)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation (run, target)."""
        return self.draws.std(axis=0, ddof=1)

    def quantile(self, q: float | list[float]) -> np.ndarray:
        """Quantile (run, target), or (q, run, target) for a list."""
        return np.quantile(self.draws, q, axis=0)

    def interval(self, prob: float = 0.9) -> np.ndarray:
        """Central interval that holds the loss with the given probability: (run, target, 2)."""
        return np.moveaxis(self.quantile([(1 - prob) / 2, (1 + prob) / 2]), 0, -1)

    def __str__(self) -> str:
        low, high = np.moveaxis(self.interval(0.9), -1, 0)
        longest = max(map(len, self.designs.ids), default=0)
        flags = self.extrapolation.flags if self.extrapolation else ("",) * len(self.designs)
        header = ("design", "target", "loss", "90% interval", "beyond the runs" * any(flags))
        rows = []
        for run, name in enumerate(self.designs.ids[:20]):
            for t, target in enumerate(self.targets):
                span = f"[{low[run, t]:.4f}, {high[run, t]:.4f}]"
                rows.append((name, target, self.mean[run, t], span, flags[run]))
        lines = table(header, rows, f">{longest} < >7.4f <16 <")
        if len(self.designs) > 20:
            lines.append(f"… and {len(self.designs) - 20} more designs")
        return "\n".join(lines)

    __repr__ = __str__
