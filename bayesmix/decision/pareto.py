"""`pareto`: the Pareto front of two targets, mixtures that cannot be improved for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np

from bayesmix.decision.optimize import Options, optimize
from bayesmix.decision.optimum import Optimum
from bayesmix.decision.protocols import PosteriorLike
from bayesmix.deprecation import renamed
from bayesmix.design import Scale
from bayesmix.runtime.progress import bar
from bayesmix.text import clipped, table

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
        return np.array(
            [[o.by_target[t].mean for t in (self.first, self.second)] for o in self.optima]
        )

    def as_dict(self) -> dict[str, Any]:
        """Dictionary ready for JSON."""
        return {"targets": [self.first, self.second], "front": [o.as_dict() for o in self.optima]}

    def __str__(self) -> str:
        domains = self.optima[0].mixture.domains
        columns = sorted(
            domains, key=lambda d: -float(np.ptp([o.mixture[d] for o in self.optima]))
        )[:3]
        targets = (self.first, self.second)
        header = ["weight", *(clipped(t, 20) for t in targets), *(clipped(d, 8) for d in columns)]
        rows = []
        for o in self.optima:
            bands = (o.by_target[t] for t in targets)
            cells = [f"{b.mean:.3f} [{b.q05:.3f}, {b.q95:.3f}]" for b in bands]
            rows.append([o.targets[self.first], *cells, *(o.mixture[d] for d in columns)])
        lines = table(header, rows, ">.2f <20 <20 >8.1%")
        caption = (
            f"weight of {self.first}; loss of each target, mean [90 %]; the shares that change most"
        )
        return "\n".join([*lines, "", caption])


@renamed(within="feasible", promises="chance_constraints", against="baselines")
def pareto(
    posterior: PosteriorLike,
    scale: Scale,
    first: str,
    second: str,
    *,
    points: int = 11,
    **options: Unpack[Options],
) -> Front:
    """The Pareto front of two targets at a scale, by the weighted sum of their losses.

    Where the losses are convex in the mixture the weighted sum reaches the whole front; elsewhere
    it misses the non-convex parts.

    Args:
        posterior: the fitted losses.
        scale: parameters and tokens.
        first: a target.
        second: another target.
        points: number of weights between the two.
        **options: arguments of `optimize`, without `targets`, which is set here.
    """
    weights = np.clip(np.linspace(0.0, 1.0, points), EDGE, 1 - EDGE)
    chosen = [{**options, "targets": {first: float(w), second: float(1 - w)}} for w in weights]
    optima = tuple(
        optimize(posterior, scale, **arguments)
        for arguments in bar(chosen, doing="front", unit="weight")
    )
    return Front(first, second, optima)
