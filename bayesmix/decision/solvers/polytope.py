"""Polytopes in arrays, and linear programs over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult, linprog

from bayesmix.errors import BayesmixError

LP_OPTIONS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


@dataclass(frozen=True, eq=False)
class Polytope:
    """The points x with ``lower ≤ x ≤ upper``, ``equal @ x = total`` and ``rows @ x ≤ limit``.

    Attributes:
        lower: lower bounds (variable), finite.
        upper: upper bounds (variable), at least `lower`; may be +∞.
        equal: coefficients (equation, variable) of the equations.
        total: right-hand sides (equation).
        rows: coefficients (row, variable) of the inequalities.
        limit: right-hand sides (row).
        ball: reference point (variable) and radius of a Kullback–Leibler ball Σ xᵢ log(xᵢ/rᵢ) ≤
            radius; variables with rᵢ = 0 do not count.
    """

    lower: np.ndarray
    upper: np.ndarray
    equal: np.ndarray
    total: np.ndarray
    rows: np.ndarray
    limit: np.ndarray
    ball: tuple[np.ndarray, float] | None = None

    @property
    def free(self) -> np.ndarray:
        """Whether each variable (variable) can vary."""
        return self.upper - self.lower > 1e-11

    def with_rows(self, rows: np.ndarray, limit: np.ndarray) -> Polytope:
        """The polytope cut by further half-spaces ``rows @ x ≤ limit``."""
        return Polytope(
            self.lower,
            self.upper,
            self.equal,
            self.total,
            np.vstack([self.rows, rows]),
            np.concatenate([self.limit, limit]),
            self.ball,
        )


def divergence(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Kullback–Leibler divergence Σ xᵢ log(xᵢ/rᵢ) over the last axis, in nats.

    0·log 0 = 0, and terms with rᵢ = 0 are skipped.
    """
    counts = (reference > 0) & (x > 0)
    ratio = np.where(counts, x, 1.0) / np.where(counts, reference, 1.0)
    return np.sum(np.where(counts, x, 0.0) * np.log(ratio), axis=-1)


def linear_program(slope: np.ndarray, p: Polytope) -> OptimizeResult:
    """Solution x (variable) of the linear program min slope·x over the polytope, without `ball`."""
    return linprog(
        slope,
        A_ub=p.rows,
        b_ub=p.limit,
        A_eq=p.equal,
        b_eq=p.total,
        bounds=np.column_stack([p.lower, p.upper]),
        options=LP_OPTIONS,
    )


def lowest(polytope: Polytope, slopes: np.ndarray, offsets: np.ndarray) -> tuple[float, np.ndarray]:
    """Minimum over a polytope of a maximum of linear functions, maxₖ offsetₖ + slopeₖ·x.

    With one function and offset 0 this is the linear oracle of Frank and Wolfe. A `ball` is
    ignored: give its tangents as rows, or accept a bound that is too low.

    Args:
        polytope: a polytope with at least one point.
        slopes: slopes (function, variable).
        offsets: offsets (function).

    Returns:
        The value, and a point x (variable) that attains it.
    """
    functions, size = slopes.shape
    rows = np.vstack(
        [
            np.hstack([slopes, -np.ones((functions, 1))]),
            np.hstack([polytope.rows, np.zeros((len(polytope.limit), 1))]),
        ]
    )
    solution = linprog(
        np.append(np.zeros(size), 1.0),
        A_ub=rows,
        b_ub=np.concatenate([-offsets, polytope.limit]),
        A_eq=np.hstack([polytope.equal, np.zeros((len(polytope.total), 1))]),
        b_eq=polytope.total,
        bounds=np.vstack([np.column_stack([polytope.lower, polytope.upper]), [-np.inf, np.inf]]),
        options=LP_OPTIONS,
    )
    if solution.x is None:
        raise BayesmixError(
            f"a linear program over the feasible mixtures failed: {solution.message}"
        )
    return float(solution.fun), solution.x[:size]
