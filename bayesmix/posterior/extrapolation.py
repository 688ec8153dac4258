"""Distances of designs from the runs that a posterior was fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import eye_array, kron

from bayesmix.design import Designs, count

TOGETHER = 2**14
"""Number of entries of a linear programme of several mixtures.

Solving a small one takes less time than calling the solver.
"""
SPARSE = 2.0
"""Tokens a parameter below which no power law held in published tables."""
NEAR = 0.01
"""Tolerance within which a design counts as inside the fitted runs.

Total variation of mixtures, and octaves of sizes.
"""


@dataclass(frozen=True, eq=False)
class Extrapolation:
    """Distances of designs from the fitted runs.

    Attributes:
        params: N over the largest fitted N where it is above, or over the smallest where it is
            below; 1 inside (run).
        tokens: likewise for D (run).
        mixture: smallest total variation between h and a mixture of fitted mixtures; 0 inside their
            hull (run).
        sparse: D/N where it is below two and below that of every fitted run, where laws break; else
            infinite (run).
    """

    params: np.ndarray
    tokens: np.ndarray
    mixture: np.ndarray
    sparse: np.ndarray

    @classmethod
    def of(cls, designs: Designs, fitted: Designs) -> Extrapolation:
        """Distances of designs from the fitted ones; domains are in the same order."""
        params, tokens = (
            _beyond(getattr(designs, name), getattr(fitted, name)) for name in ("params", "tokens")
        )
        distinct, index = np.unique(designs.mixture, axis=0, return_inverse=True)
        hull = np.unique(fitted.mixture, axis=0)
        ratio = designs.tokens / designs.params
        broken = ratio < min(SPARSE, (fitted.tokens / fitted.params).min() * (1 - 1e-6))
        return cls(
            params,
            tokens,
            _outside(distinct, hull)[index.reshape(-1)],
            np.where(broken, ratio, np.inf),
        )

    @property
    def flags(self) -> tuple[str, ...]:
        """Short text for each design that lies beyond the runs, empty for one inside (run)."""
        return tuple(
            ", ".join(
                [
                    *_times("N", n),
                    *_times("D", d),
                    *([f"mixture {h:.2f} outside"] if h > NEAR else []),
                    *(
                        [f"{ratio:.2g} tokens a parameter, where laws break"]
                        if np.isfinite(ratio)
                        else []
                    ),
                ]
            )
            for n, d, h, ratio in zip(
                self.params, self.tokens, self.mixture, self.sparse, strict=True
            )
        )


def _times(name: str, ratio: float) -> list[str]:
    if abs(np.log2(ratio)) <= NEAR:
        return []
    return [f"{name} ×{count(ratio)}" if ratio > 1 else f"{name} ÷{count(1 / ratio)}"]


def _beyond(size: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    return np.where(
        size > fitted.max(),
        size / fitted.max(),
        np.where(size < fitted.min(), size / fitted.min(), 1.0),
    )


def _outside(weights: np.ndarray, hull: np.ndarray) -> np.ndarray:
    """Distances (mixture) from the hull: minimum over λ on the simplex of ½ Σ|h − λ·hull|.

    Each linear programme solves several mixtures at once.
    """
    distance = np.zeros(len(weights))
    points, domains = hull.shape
    batch = 1 + TOGETHER // (1 + domains * (points + domains))
    for start in range(0, len(weights), batch):
        fitted = (weights[start : start + batch, None] == hull).all(axis=2).any(axis=1)
        if fitted.all():
            continue
        rows = start + np.flatnonzero(~fitted)
        # variables of each mixture: λ, then the part by which h exceeds the mixture of the hull
        identity = eye_array(len(rows))
        result = linprog(
            np.tile(np.append(np.zeros(points), np.ones(domains)), len(rows)),
            A_ub=kron(identity, np.hstack([-hull.T, -np.eye(domains)])),
            b_ub=-weights[rows].reshape(-1),
            A_eq=kron(identity, np.append(np.ones(points), np.zeros(domains))[None]),
            b_eq=np.ones(len(rows)),
        )
        distance[rows] = result.x.reshape(len(rows), -1)[:, points:].sum(axis=1)
    return distance
