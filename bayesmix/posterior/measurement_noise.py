"""Measurement noise of runs that are not measured yet."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.design import Designs
from bayesmix.model.noise import Noise, Rows
from bayesmix.posterior.posterior import Posterior
from bayesmix.runtime.compute import enable_x64


class Scatter(NamedTuple):
    """Equivalent Gaussian standard deviations of measured losses.

    They are root mean squares over the draws.
    """

    residual: np.ndarray  # (run, target) scatter of each row
    shared: np.ndarray  # (run, target) scatter that the rows of one training run have in common


def scatter(posterior: Posterior, designs: Designs, loss: np.ndarray) -> Scatter:
    """Scatter of measurements at the designs.

    Acquisition functions take the noise of runs from here alone.

    Args:
        posterior: the posterior.
        designs: designs of the runs that would be measured.
        loss: expected losses of the designs (draw, run, target).
    """
    with enable_x64():
        sites = posterior.model.noise.priors()
        theta = {
            site: jnp.asarray(value) for site, value in posterior.flat.items() if site in sites
        }
        residual, shared = _scatter(posterior.model.noise, theta, loss, late_of(posterior, designs))
        return Scatter(np.asarray(residual), np.asarray(shared))


@partial(jax.jit, static_argnums=0)
def _scatter(
    noise: Noise, theta: dict[str, jax.Array], loss: jax.Array, late: jax.Array
) -> tuple[jax.Array, jax.Array]:
    rows = Rows(jnp.zeros(loss.shape[1], int), late, jnp.zeros(loss.shape[1]))
    by_target = jax.vmap(lambda theta, loss: noise.spread(theta, loss, rows), (0, 1), 1)
    spreads = jax.vmap(by_target)(theta, loss)
    return tuple(jnp.sqrt(jnp.mean(jnp.broadcast_to(s, loss.shape) ** 2, axis=0)) for s in spreads)  # type: ignore[return-value]


def late_of(posterior: Posterior, designs: Designs) -> np.ndarray:
    """log D/D₀ (run) of the designs, as the noise takes it."""
    return posterior.reference.late(designs.tokens)
