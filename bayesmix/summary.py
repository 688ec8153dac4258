"""`Band`: a mean and a credible interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Band:
    """Mean and central 90 % interval of draws."""

    mean: float
    q05: float
    q95: float

    @classmethod
    def of(cls, draws: np.ndarray) -> Self:
        """Band of `draws` (draw)."""
        low, high = np.quantile(
            draws, [0.05, 0.95], method="inverted_cdf" if np.isinf(draws).any() else "linear"
        )
        return cls(float(np.mean(draws)), float(low), float(high))

    def as_dict(self) -> dict[str, float | None]:
        """Plain values, ready for JSON; a loss that is not finite becomes None."""
        return {k: v if np.isfinite(v) else None for k, v in vars(self).items()}

    def __str__(self) -> str:
        return f"{self.mean:.4g} [{self.q05:.4g}, {self.q95:.4g}]"
