"""Brownian surfaces and paths over octaves of N and D, and derivatives of a law there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmix.design import Designs, Scale

MOST_STEPS = 4
OCTAVES_AROUND = 12
"""Octaves beyond the runs over which the paths between mixtures have knots."""
AMPLITUDE, EXPONENTS = 0.15, (0.3, 0.4)
"""Amplitude and exponents of the law that `law_bends` differentiates: medians of the priors."""


@dataclass(frozen=True, eq=False)
class BrownianPath:
    """Knots of the Brownian paths along one axis, in octaves from the reference.

    They are in ascending order, and extend beyond the runs.
    """

    knots: np.ndarray
    inside: np.ndarray  # (step) whether each piece between two knots is inside the runs

    @classmethod
    def of(cls, x: np.ndarray) -> BrownianPath:
        """Knots at the values of the runs, at most a few, and one per octave beyond them."""
        values = np.unique(np.round(x, 2))
        if len(values) > 1:
            values[[0, -1]] = x.min(), x.max()  # no run lies beyond the outer knots
        if len(values) > MOST_STEPS + 1:
            values = np.linspace(values[0], values[-1], MOST_STEPS + 1)
        margin = np.arange(1, OCTAVES_AROUND + 1)
        knots = np.concatenate([values[0] - margin[::-1], values, values[-1] + margin])
        inside = np.zeros(len(knots) - 1, bool)
        inside[OCTAVES_AROUND : OCTAVES_AROUND + len(values) - 1] = True
        return cls(knots, inside)

    @property
    def length(self) -> np.ndarray:
        """Octaves of each piece (step)."""
        return np.diff(self.knots)

    def passed(self, x: np.ndarray) -> np.ndarray:
        """Share (run, step) of each piece between the reference and the points.

        It is negative below the reference.
        """
        return self._below(x) - self._below(np.zeros(1))

    def _below(self, x: np.ndarray) -> np.ndarray:
        return np.clip((x[:, None] - self.knots[:-1]) / self.length, 0.0, 1.0)


def octaves(designs: Designs, scale: Scale) -> np.ndarray:
    """log₂ N/N₀ and log₂ D/D₀ (run, 2)."""
    return np.log2(np.stack([designs.params / scale.params, designs.tokens / scale.tokens], axis=1))


def brownian(x: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Covariance of Lévy's Brownian surface between points (point, 2): ½(|x| + |x'| − |x − x'|)."""
    norm, norm_other = np.linalg.norm(x, axis=1), np.linalg.norm(other, axis=1)
    return 0.5 * (
        norm[:, None] + norm_other[None] - np.linalg.norm(x[:, None] - other[None], axis=2)
    )


def law_bends(points: np.ndarray) -> np.ndarray:
    """Orthonormal basis (cell, bend) of the derivatives of a law in its parameters, at the cells.

    The basis spans a constant, and the derivatives of log L in E, A, α, B, β and the second ones in
    α, β, of a law with L = 1 and A = B = `AMPLITUDE` at the reference. The second ones make up for
    exponents other than `EXPONENTS`. Directions that the cells cannot tell apart are left out.
    """
    # L = E + A 2^(−αx) + B 2^(−βy): ∂L/∂A, ∂L/∂α, ∂²L/∂α² ∝ xᵏ 2^(−αx) for k = 0, 1, 2, so for y
    axes = [(v, 2.0 ** (-exponent * v)) for v, exponent in zip(points.T, EXPONENTS, strict=True)]
    loss = 1 - 2 * AMPLITUDE + AMPLITUDE * sum(power for _, power in axes)
    slopes = [v**k * power / loss for v, power in axes for k in range(3)]
    shapes = np.stack([np.ones(len(points)), 1 / loss, *slopes], axis=1)
    shapes = shapes / np.maximum(np.linalg.norm(shapes, axis=0), 1e-12)
    vectors, values, _ = np.linalg.svd(shapes, full_matrices=False)
    return vectors[:, values > 1e-6]


def square_root(covariance: np.ndarray) -> np.ndarray:
    """A matrix whose product with its transpose is the covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))
