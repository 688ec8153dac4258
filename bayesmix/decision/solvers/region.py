"""`Region`: the allowed mixtures as a polytope."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

from bayesmix.decision.solvers.entropic_step import entropic_step
from bayesmix.decision.solvers.polytope import LP_OPTIONS, Polytope, divergence, linear_program

SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class Region:
    """The allowed mixtures as a polytope.

    The first variables of `polytope` are the shares of `domains`, any others are lifted.
    """

    domains: tuple[str, ...]
    polytope: Polytope

    @property
    def size(self) -> int:
        """Number of domains."""
        return len(self.domains)

    @property
    def free(self) -> np.ndarray:
        """Whether each share (domain) can vary."""
        return self.polytope.free[: self.size]

    @property
    def centre(self) -> np.ndarray:
        """The allowed mixture (domain) nearest to uniform; positive wherever a share may be."""
        return self.project(np.full((1, self.size), 1 / self.size))[0]

    def project(self, weights: np.ndarray) -> np.ndarray:
        """Kullback–Leibler projection of positive `weights` (batch, domain)."""
        return self.step(np.zeros_like(weights), weights, np.ones(len(weights)))

    def step(self, slope: np.ndarray, centre: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
        """Minimisers (batch, domain) of slope·h + stiffness · KL(h‖centre) over the region.

        Args:
            slope: slopes (batch, domain).
            centre: mixtures (batch, domain).
            stiffness: factors (batch) of the divergence.
        """
        stiff = np.broadcast_to(stiffness[:, None], slope.shape)
        return entropic_step(self.lift(slope), self.lift(centre), self.lift(stiff), self.polytope)[
            :, : self.size
        ]

    def lift(self, values: np.ndarray) -> np.ndarray:
        """Values (…, domain) with zeros for the lifted variables (…, variable)."""
        extra = len(self.polytope.lower) - values.shape[-1]
        return np.concatenate([values, np.zeros((*values.shape[:-1], extra))], axis=-1)

    def contains(self, weights: np.ndarray, tolerance: float = 1e-7) -> bool:
        """Whether a mixture (domain) is allowed, up to a tolerance in every share."""
        p = self.polytope
        lower, upper = p.lower.copy(), p.upper.copy()
        lower[: self.size] = np.maximum(lower[: self.size], weights) - tolerance
        upper[: self.size] = np.minimum(upper[: self.size], weights) + tolerance
        if (lower > upper).any():
            return False
        loose = replace(p, lower=lower, upper=upper, limit=p.limit + tolerance)
        return (
            self.in_ball(weights, tolerance)
            and linear_program(np.zeros(len(lower)), loose).status == 0
        )

    def reach(self, weights: np.ndarray, direction: np.ndarray) -> float:
        """Longest allowed step, at most 1, from a mixture (domain) along a direction (domain)."""
        p = self.polytope
        width = len(p.lower)
        link = np.hstack([np.eye(self.size, width), -direction[:, None]])
        ray = linprog(
            np.append(np.zeros(width), -1.0),
            A_ub=np.hstack([p.rows, np.zeros((len(p.limit), 1))]),
            b_ub=p.limit + SLACK,
            A_eq=np.vstack(
                [np.hstack([p.equal, np.zeros((len(p.total), 1))])[self.size == width :], link]
            ),
            b_eq=np.append(p.total[self.size == width :], weights),
            bounds=np.vstack([np.column_stack([p.lower - SLACK, p.upper + SLACK]), [0.0, 1.0]]),
            options=LP_OPTIONS,
        )
        high = float(ray.x[-1]) if ray.x is not None else 0.0
        low = 0.0
        for _ in range(0 if self.in_ball(weights + high * direction, 0.0) else 40):
            middle = 0.5 * (low + high)
            low, high = (
                (middle, high) if self.in_ball(weights + middle * direction, 0.0) else (low, middle)
            )
        return high if low == 0.0 else low

    def in_ball(self, weights: np.ndarray, tolerance: float) -> bool:
        """Whether a mixture (domain) is in the Kullback–Leibler trust region, if there is one."""
        ball = self.polytope.ball
        return ball is None or bool(
            divergence(weights, ball[0][: self.size]) <= ball[1] + tolerance
        )
