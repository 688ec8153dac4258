"""The posterior density of one group of targets in its coordinates, and its derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree

from bayesmix.inference.coordinates import Geometry, Theta
from bayesmix.model.data import Data
from bayesmix.model.likelihood import Form

STEP = 1e-5
"""Step in the coordinates of the finite differences of gradients (curvature)."""


class TargetProblem(NamedTuple):
    """Density to sample: the static parts of a model and its arrays.

    It is the posterior of one group of targets that are sampled together.
    """

    form: Form
    prior: Mapping[str, dist.Distribution]
    data: Data
    warm_start: Mapping[str, np.ndarray] | None = (
        None  # parameters (draw, ...) of another fit, to start from
    )


def as_arrays(tree: Any) -> Any:
    """Convert leaves to JAX arrays, numbers to float64.

    Arrays of booleans and integers keep their type. No conversion is compiled for each shape.
    """

    def array(leaf: Any) -> jax.Array:
        value = np.asarray(leaf)
        return jnp.asarray(
            value
            if value.dtype == bool or (value.ndim and value.dtype.kind == "i")
            else value.astype(float)
        )

    return jax.tree.map(array, tree)


@partial(jax.jit, static_argnums=0)
def prior_start(form: Form, prior: Any, data: Data, key: jax.Array) -> jax.Array:
    """Coordinates (coordinate) of one draw from the prior."""
    geometry = Geometry(form, prior, data)
    return ravel_pytree(geometry.inverse(geometry.draw(key)))[0]


@partial(jax.jit, static_argnums=0)
def coordinates_of(form: Form, prior: Any, data: Data, theta: Theta) -> jax.Array:
    """Coordinates (draw, coordinate) of parameters (draw, ...)."""
    geometry = Geometry(form, prior, data)
    parameters = {k: v / data.unit[0] if k in form.law.amplitudes else v for k, v in theta.items()}
    return jax.lax.map(
        lambda one: ravel_pytree(geometry.inverse(jax.tree.map(lambda v: v[None], one)))[0],
        parameters,
        batch_size=64,
    )


@partial(jax.jit, static_argnums=0)
def values_and_slopes(
    form: Form, prior: Any, data: Data, points: jax.Array, count: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Potential and gradient at the first `count` points.

    One compiled program serves a single point and a curvature.
    """
    value_and_slope = jax.value_and_grad(Geometry(form, prior, data).potential)

    def one(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        value, slope = value_and_slope(points[i])
        return carry[0].at[i].set(value), carry[1].at[i].set(slope)

    return jax.lax.fori_loop(0, count, one, (jnp.zeros(len(points)), jnp.zeros_like(points)))


class TargetDensity(NamedTuple):
    """Potential of one problem and its derivatives."""

    form: Form
    prior: Any
    data: Data

    def value_and_slope(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """Potential and gradient at one point."""
        values, slopes = self._of(np.tile(z, (2 * len(z), 1)), 1)
        return float(values[0]), slopes[0]

    def curvature(self, z: np.ndarray) -> np.ndarray:
        """Hessian of the potential at one point, by central differences of gradients.

        A program for the exact Hessian would take long to compile.
        """
        steps = STEP * np.eye(len(z))
        _, slopes = self._of(z + np.concatenate([steps, -steps]), 2 * len(z))
        forward, backward = np.split(slopes, 2)
        columns = (forward - backward) / (2 * STEP)
        return 0.5 * (columns + columns.T)

    def _of(self, points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = values_and_slopes(
            self.form, self.prior, self.data, points, np.int64(count)
        )
        return np.asarray(values), np.asarray(slopes)
