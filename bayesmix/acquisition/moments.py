r"""Gaussian moment matching on posterior draws: the effect of a run, without refitting.

Take the losses u of a run and any other losses z, both known as draws. If they were jointly
Gaussian, measuring y = u + ε with ε ~ N(0, I) would leave z with the covariance

    Cov(z | y) = Cov(z) − Cov(z, u) (Cov(u) + I)⁻¹ Cov(u, z),

whatever the outcome. All that is needed are covariances of draws. Losses of a run are *whitened*
first: divided by the scatter of a measurement, so that it is I here. Targets are independent of
each other, as in `fit`, so everything has a leading target axis; this keeps chance correlations
between the draws of two targets out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm, qmc

from bayesmix.acquisition.pool import Pool
from bayesmix.design import Designs
from bayesmix.posterior.measurement_noise import scatter
from bayesmix.posterior.posterior import Posterior
from bayesmix.runtime.compute import over_devices, padded, padded_down

CHUNK = 2**21
"""Number of losses (run × target × draw × point) held at once: 16 MB, and a few times that during
their computation.
"""


class DrawUpdate(NamedTuple):
    """Update of draws for runs whose outcome is pending: u ↦ u − Q ((Qᵀu) · f).

    For one target, or with a target axis. It keeps the mean and gives the covariance after
    conditioning.
    """

    basis: jax.Array  # Q (target, draw, direction), orthonormal
    shrink: jax.Array  # f (target, direction), between 0 and 1

    def __call__(self, draws: jax.Array) -> jax.Array:
        """Centred draws (target, draw, quantity), updated for the pending runs."""
        coordinates = jnp.einsum("tsr,tsq->trq", self.basis, draws)
        return draws - jnp.einsum("tsr,trq->tsq", self.basis, self.shrink[:, :, None] * coordinates)


@jax.jit
def draw_update(run: jax.Array) -> DrawUpdate:
    """Update of all other draws for one pending run u (target, draw, point).

    The run is whitened and centred. With the singular values s of u / √draws, f = 1 − 1/√(1 + s²).
    """
    basis, size, _ = jnp.linalg.svd(run / jnp.sqrt(run.shape[1]), full_matrices=False)
    return DrawUpdate(basis, 1 - 1 / jnp.sqrt(1 + size**2))


def whitened(posterior: Posterior, pool: Pool) -> Iterator[tuple[jax.Array, int]]:
    """Whitened losses of the runs of a pool: centred, in units of their scatter, in chunks.

    Yields:
        Arrays (run, target, draw, point), and the number of their runs that are not padding. Runs
        with fewer checkpoints than the longest have points that are all 0 and carry no information.
    """
    place = _places(pool)
    points = place.shape[1]
    limit = padded_down(CHUNK // (posterior.n_draws * len(posterior.targets) * points))
    size = min(limit, padded(len(pool)))  # pools of similar size share compiled programs
    for start in range(0, len(pool), size):
        rows = place[start : start + size]
        full = np.pad(rows, ((0, size - len(rows)), (0, 0)), constant_values=-1)
        yield over_devices(_whiten(posterior, pool, full)), len(rows)


def whiten_all(posterior: Posterior, pool: Pool) -> jax.Array:
    """Whitened losses of a small pool in one array (run, target, draw, point)."""
    return jnp.concatenate([chunk[:real] for chunk, real in whitened(posterior, pool)])


def _places(pool: Pool) -> np.ndarray:
    """Rows of the points of every run (run, point), −1 where a run has no further point."""
    order = np.argsort(pool.run, kind="stable")
    counts = np.bincount(pool.run, minlength=len(pool))
    place = np.full((len(pool), counts.max(initial=1)), -1)
    column = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    place[pool.run[order], column] = order
    return place


def _whiten(posterior: Posterior, pool: Pool, place: np.ndarray) -> jax.Array:
    designs = pool.designs.take(np.maximum(place.reshape(-1), 0))
    loss = expected_losses(posterior, designs)
    noise = scatter(posterior, designs, loss)
    return _in_scatter(loss, noise.residual, noise.shared, place >= 0)


def expected_losses(posterior: Posterior, designs: Designs) -> np.ndarray:
    """Losses (draw, run, target) of the designs without scatter: law and discrepancy."""
    return posterior.predict(designs, posterior.seed, noise=False).draws


@jax.jit
def _in_scatter(
    loss: jax.Array, residual: jax.Array, shared: jax.Array, mask: jax.Array
) -> jax.Array:
    """Whitened losses (run, target, draw, point) from losses (draw, row, target).

    They are centred and divided by the Cholesky factor of the scatter of one run's points, whose
    covariance is shared · sharedᵀ + diag(residual²).
    """
    exists = mask[:, None, None, :]

    def by_run(values: jax.Array) -> jax.Array:
        return values.reshape(*mask.shape, -1).swapaxes(1, 2)  # (run, target, point)

    centred = (loss - loss.mean(axis=0)).reshape(len(loss), *mask.shape, -1).transpose(
        1, 3, 0, 2
    ) * exists
    residual, shared = (
        jnp.where(mask[:, None, :], by_run(residual), 1.0),
        by_run(shared) * mask[:, None, :],
    )
    covariance = shared[..., :, None] * shared[..., None, :] + residual[..., None] ** 2 * jnp.eye(
        mask.shape[1]
    )
    lower = jnp.linalg.cholesky(covariance)
    if mask.shape[1] == 1:
        return centred / lower
    return jax.scipy.linalg.solve_triangular(lower, centred.mT, lower=True).mT


def covariance(run: jax.Array) -> jax.Array:
    """Cov(u) (target, point, point) of centred draws (target, draw, point)."""
    return jnp.einsum("tsk,tsl->tkl", run, run) / run.shape[1]


def information(covariance: jax.Array) -> jax.Array:
    """Information of a measurement with scatter I, in nats: Σₜ ½ log det(I + Covₜ), targets t."""
    eye = jnp.eye(covariance.shape[-1])
    return 0.5 * jnp.sum(jnp.linalg.slogdet(eye + covariance)[1])


def reduction_root(other: jax.Array, run: jax.Array) -> jax.Array:
    """Root B of the reduction of covariance by a run, per target: Cov(z) − Cov(z | y) = B Bᵀ.

    B = Cov(z, u) L⁻ᵀ with L Lᵀ = Cov(u) + I.

    Args:
        other: centred draws z (target, draw, quantity).
        run: centred whitened draws u (target, draw, point).

    Returns:
        B (target, quantity, point).
    """
    shared = jnp.einsum("tsj,tsk->tjk", other, run) / run.shape[1]
    lower = jnp.linalg.cholesky(jnp.eye(run.shape[2]) + covariance(run))
    return jax.vmap(lambda low, c: jax.scipy.linalg.solve_triangular(low, c.T, lower=True).T)(
        lower, shared
    )


def nodes(dimensions: int, count: int, seed: int) -> np.ndarray:
    """Quasi-random standard normal nodes (node, dimension)."""
    uniform = qmc.Sobol(dimensions, rng=seed).random_base2(max(count - 1, 1).bit_length())[:count]
    return norm.ppf(np.clip(uniform, 1e-12, 1 - 1e-12))
