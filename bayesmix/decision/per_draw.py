"""The optimal mixture of every single draw."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.decision.problem import Problem
from bayesmix.decision.protocols import Surface
from bayesmix.decision.solvers.mirror_descent import descend, spread_starts
from bayesmix.decision.solvers.region import Region
from bayesmix.runtime.compute import enable_x64


@jax.jit
def _each(surface: Surface, mixtures: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    def total(mixtures: jax.Array) -> tuple[jax.Array, jax.Array]:
        losses = surface.each(mixtures) @ weights
        return jnp.sum(losses), losses

    slope, losses = jax.grad(total, has_aux=True)(mixtures)
    return losses, slope


def lowest_per_draw(
    problem: Problem, region: Region, *, tolerance: float = 1e-6, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The allowed mixture with the lowest weighted loss, for every draw.

    Without convexity it is the best of four starts.

    Args:
        problem: problem with the losses and the weights of the targets.
        region: the allowed mixtures.
        tolerance: tolerance of `descend`, in nats.
        seed: random seed of the starts.

    Returns:
        Mixtures (draw, domain) and their losses (draw).
    """
    draws = problem.n_draws

    def evaluate(mixtures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with enable_x64():
            losses, slope = _each(
                problem.surface, jnp.asarray(mixtures), jnp.asarray(problem.weights)
            )
        return np.asarray(losses), np.asarray(slope)

    mixtures, losses = np.empty((draws, region.size)), np.full(draws, np.inf)
    for start in spread_starts(region, 1 if problem.convex_losses else 4, seed):
        ends = descend(evaluate, region, np.tile(start, (draws, 1)), tolerance=tolerance)
        better = ends.values < losses
        mixtures, losses = (
            np.where(better[:, None], ends.mixtures, mixtures),
            np.where(better, ends.values, losses),
        )
    return mixtures, losses
