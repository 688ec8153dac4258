"""Where chains start: the best of several optimisations, and the curvature there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

SMALLEST_CURVATURE = 0.1
STEPS = 200
NEGLIGIBLE = 0.01
"""An optimum with less mass around it than this, relative to the best, is not worth a chain."""
SAME = 0.1
"""Optima nearer to each other than so many posterior standard deviations in every direction are one."""


class Mode(NamedTuple):
    """A local maximum of the posterior density in free coordinates."""

    z: np.ndarray
    potential: float
    hessian: np.ndarray

    @property
    def log_mass(self) -> float:
        """Log of the posterior mass around it by Laplace's method, up to a constant."""
        values = np.maximum(np.abs(np.linalg.eigvalsh(self.hessian)), SMALLEST_CURVATURE)
        return -self.potential - 0.5 * float(np.log(values).sum())


def maximise(
    value_and_grad: Callable[[np.ndarray], tuple[float, np.ndarray]],
    hessian: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
) -> Mode | None:
    """Newton's method with the curvature made positive and step halving; None when the start is hopeless.

    Exact curvature matters here: along the ridges of a scaling law first-order methods stop far from the optimum.
    """
    z = start
    f, g = value_and_grad(z)
    curvature = hessian(z)
    if not (np.isfinite(f) and np.isfinite(g).all() and np.isfinite(curvature).all()):
        return None
    for _ in range(STEPS):
        values, vectors = np.linalg.eigh(curvature)
        step = -vectors @ ((vectors.T @ g) / np.maximum(np.abs(values), SMALLEST_CURVATURE))
        decrement = -float(g @ step)
        if decrement < 1e-4:
            break
        length = 1.0
        while length > 1e-10:
            candidate = z + length * step
            f_new, g_new = value_and_grad(candidate)
            if np.isfinite(f_new) and f_new < f - 1e-4 * length * decrement and np.isfinite(g_new).all():
                break
            length *= 0.4
        else:
            break
        z, f, g = candidate, f_new, g_new
        curvature_new = hessian(z)  # far out in a tail it may overflow where the density does not
        curvature = curvature_new if np.isfinite(curvature_new).all() else curvature
    return Mode(z, float(f), curvature)


def whitening(hessian: np.ndarray) -> np.ndarray:
    """Lower-triangular scale L with L Lᵀ the inverse of the curvature made positive."""
    values, vectors = np.linalg.eigh(hessian)
    covariance = (vectors / np.maximum(np.abs(values), SMALLEST_CURVATURE)) @ vectors.T
    return np.linalg.cholesky(0.5 * (covariance + covariance.T))


def worth_a_chain(optima: Iterable[Mode]) -> list[Mode]:
    """Those with mass around them, each once, most mass first: height alone would send chains to narrow peaks."""
    ranked = sorted(optima, key=lambda o: -o.log_mass)
    retained: list[Mode] = []
    for one in ranked:
        scale = whitening(one.hessian)
        if one.log_mass > ranked[0].log_mass + np.log(NEGLIGIBLE) and not any(
            np.abs(np.linalg.solve(scale, one.z - other.z)).max() < SAME for other in retained
        ):
            retained.append(one)
    return retained
