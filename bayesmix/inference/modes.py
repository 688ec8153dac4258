"""Starting points of chains: the best of several optimisations, and the curvature there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.inference.density import TargetDensity, TargetProblem, as_arrays, prior_start
from bayesmix.inference.scale_mixture import weighs, weights
from bayesmix.model.data import Data
from bayesmix.model.likelihood import Form
from bayesmix.model.priors import Prior
from bayesmix.runtime.compute import enable_x64

SMALLEST_CURVATURE = 0.1
STEPS = 200
NEGLIGIBLE = 0.01
"""Posterior mass of an optimum, relative to the best, below which no chain starts there."""
SAME = 0.1
"""Distance between optima in every direction below which they count as one.

In posterior standard deviations.
"""


class Mode(NamedTuple):
    """A local maximum of the posterior density in free coordinates."""

    z: np.ndarray
    potential: float
    hessian: np.ndarray

    @property
    def log_mass(self) -> float:
        """Log of the posterior mass around the mode by Laplace's method, up to a constant."""
        values = np.maximum(np.abs(np.linalg.eigvalsh(self.hessian)), SMALLEST_CURVATURE)
        return -self.potential - 0.5 * float(np.log(values).sum())


def maximise(
    value_and_grad: Callable[[np.ndarray], tuple[float, np.ndarray]],
    hessian: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
) -> Mode | None:
    """Local maximum of a density by Newton's method; None where the start is not finite.

    Eigenvalues of the curvature are replaced by their absolute values, and steps are shortened
    until the potential falls enough. Exact curvature matters here: along the ridges of a scaling
    law first-order methods stop far from the optimum.
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
            if (
                np.isfinite(f_new)
                and f_new < f - 1e-4 * length * decrement
                and np.isfinite(g_new).all()
            ):
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
    """Distinct optima with non-negligible posterior mass, in descending order of mass.

    The height of the density alone would send chains to narrow peaks.
    """
    ranked = sorted(optima, key=lambda o: -o.log_mass)
    retained: list[Mode] = []
    for one in ranked:
        scale = whitening(one.hessian)
        if one.log_mass > ranked[0].log_mass + np.log(NEGLIGIBLE) and not any(
            np.abs(np.linalg.solve(scale, one.z - other.z)).max() < SAME for other in retained
        ):
            retained.append(one)
    return retained


STARTS = 6


WEIGHINGS = 12
"""Maximum number of updates of the weights of training runs."""

SETTLED = 0.02
"""Largest change of a log weight at which the updates stop."""


def settle(
    problem: TargetProblem, seed: int, starts: int = STARTS
) -> tuple[TargetProblem, list[Mode]]:
    """Weigh the training runs of a problem, and find its local maxima from several prior draws.

    Returns:
        The problem with its training runs weighed, and its local maxima in descending order of
        posterior mass.

    Raises:
        RuntimeError: no start has a finite density.
    """
    with enable_x64():
        prior = as_arrays(Prior(problem.prior))
        data = as_arrays(problem.data)
        keys = jax.random.split(jax.random.key(seed), starts)
        best = _maximise(
            problem.form, prior, data, [prior_start(problem.form, prior, data, key) for key in keys]
        )
        if not best:
            raise RuntimeError(
                "no draw of the prior has a finite density: check units and priors of the model"
            )
        if weighs(problem.form, data):
            for _ in range(WEIGHINGS):
                weight = weights(problem.form, prior, data, jnp.asarray(best[0].z), keys[0])
                moved = float(jnp.abs(jnp.log(weight / data.weight)).max())
                data = data._replace(weight=weight)
                best = _maximise(problem.form, prior, data, [o.z for o in best]) or best
                if moved < SETTLED:
                    break
    return problem._replace(data=data), best


def mode(
    problem: TargetProblem, seed: int, starts: int, warm_start: np.ndarray | None = None
) -> Mode:
    """Local maximum of the posterior density with the most posterior mass.

    The optimisation starts at the given coordinates or, without them or where they fail, at several
    prior draws. Training runs keep the weights that the problem has.

    Raises:
        RuntimeError: no start has a finite density.
    """
    with enable_x64():
        prior, data = as_arrays(Prior(problem.prior)), as_arrays(problem.data)
        keys = jax.random.split(jax.random.key(seed), starts)
        optima = [] if warm_start is None else _maximise(problem.form, prior, data, [warm_start])
        prior_draws = (
            [prior_start(problem.form, prior, data, key) for key in keys] if not optima else []
        )
        optima = optima or _maximise(problem.form, prior, data, prior_draws)
    if not optima:
        raise RuntimeError(
            "no draw of the prior has a finite density: check units and priors of the model"
        )
    return optima[0]


def _maximise(form: Form, prior: Any, data: Data, starts: Sequence[Any]) -> list[Mode]:
    """Local maxima worth a chain, from the given starts, in descending order of mass."""
    density = TargetDensity(form, prior, data)
    optima = [
        maximise(density.value_and_slope, density.curvature, np.asarray(start)) for start in starts
    ]
    return worth_a_chain(o for o in optima if o is not None)
