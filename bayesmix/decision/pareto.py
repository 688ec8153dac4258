"""What one target costs another: the mixtures that cannot be improved for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np

from bayesmix.decision.interface import Posterior
from bayesmix.decision.optimize import Options, optimize
from bayesmix.decision.optimum import Optimum
from bayesmix.design import Scale

EDGE = 1e-3  # weight of the other target at the ends, so that ties are broken in its favour


@dataclass(frozen=True, eq=False)
class Front:
    """Optima for growing weight on the first of two targets."""

    first: str
    second: str
    optima: tuple[Optimum, ...]

    @property
    def losses(self) -> np.ndarray:
        """Mean losses (point, 2) of the two targets, in nats."""
        return np.array([[o.by_target[t].mean for t in (self.first, self.second)] for o in self.optima])

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"targets": [self.first, self.second], "front": [o.as_dict() for o in self.optima]}

    def __str__(self) -> str:
        lines = [f"{'weight':>7}  {self.first[:24]:<24}  {self.second[:24]:<24}  mixture"]
        for o in self.optima:
            bands = f"{o.by_target[self.first]!s:<24}  {o.by_target[self.second]!s:<24}"
            largest = max(o.mixture.as_dict().items(), key=lambda pair: pair[1])
            lines.append(f"{o.targets[self.first]:7.2f}  {bands}  {largest[0]} {100 * largest[1]:.0f}% …")
        return "\n".join(lines)


def pareto(
    posterior: Posterior, scale: Scale, first: str, second: str, *, points: int = 11, **options: Unpack[Options]
) -> Front:
    """The Pareto front of two targets at a scale, by the weighted sum of their losses.

    Where the losses are convex in the mixture the weighted sum reaches the whole front; elsewhere it misses dents.

    Args:
        posterior: the fitted losses.
        scale: parameters and tokens.
        first: a target.
        second: another target.
        points: number of weights between the two.
        **options: those of `optimize`; `targets` is set here.
    """
    weights = np.clip(np.linspace(0.0, 1.0, points), EDGE, 1 - EDGE)
    chosen = [{**options, "targets": {first: float(w), second: float(1 - w)}} for w in weights]
    return Front(first, second, tuple(optimize(posterior, scale, **each) for each in chosen))
