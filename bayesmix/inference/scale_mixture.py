"""Weights of training runs under Student-t scatter, in models with a drift.

Student-t scatter is Gaussian with a scale of its own for every training run. Without a drift the
scales are integrated out. With one, the drift is integrated out instead, given the scales. They are
drawn in turn with the parameters while chains run, so that the posterior contains which runs are
outliers, and how certain that is. At the mode, where there are no draws, they are set to their
expected values, by expectation and maximisation in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bayesmix.inference.coordinates import Geometry
from bayesmix.model.data import Data
from bayesmix.model.discrepancy import Draws, Errors, draw, effect, squares
from bayesmix.model.likelihood import DRIFT, Form, relative_errors
from bayesmix.model.noise import Grouped

DRAWS = 64


def weighs(form: Form, data: Data) -> bool:
    """Whether the likelihood is conditional on the scales of training runs."""
    return data.misfit is not None and isinstance(form.noise, Grouped)


@partial(jax.jit, static_argnums=0)
def weights(form: Form, prior: Any, data: Data, z: jax.Array, key: jax.Array) -> jax.Array:
    """Expected weights (train_run, 1) of training runs at one point, for one target.

    wⱼ = (ν + nⱼ)/(ν + E mⱼ²) with mⱼ² the squared error of the run in units of its scatter,
    averaged over the drift.

    Args:
        form: law, noise and drift.
        prior: priors of all sites.
        data: data with the initial weights.
        z: flat coordinates of the point.
        key: random key of the draws of the drift.
    """
    assert isinstance(form.noise, Grouped)
    geometry = Geometry(form, prior, data)
    theta, _ = geometry.transform_and_log_det(geometry.unravel()[1](z))
    squares = _Squares.of(form, theta, data)
    samples = jax.lax.map(lambda key: jnp.stack(squares(key)[1:]), jax.random.split(key, DRAWS))
    return form.noise.weight(*jnp.mean(samples, axis=0))[:, None]


def draw_weights(
    form: Form, theta: Mapping[str, jax.Array], data: Data, key: jax.Array
) -> tuple[Draws, jax.Array]:
    """Draw the drift given the parameters, and the weights given both: one Gibbs step.

    Args:
        form: law, noise and drift.
        theta: parameters of one target.
        data: data with the weights that the parameters were drawn with.
        key: random key of both draws.

    Returns:
        The drift and the weights (train_run, 1).
    """
    assert isinstance(form.noise, Grouped)
    drift_key, weight_key = jax.random.split(key)
    drift, square, count = _Squares.of(form, theta, data)(drift_key)
    return drift, form.noise.draw_weight(square, count, weight_key)[:, None]


def rescaled(form: Form, data: Data, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Proposal of another common size of the weights of measured runs.

    Given the weights, σ has a smaller variance than without them, so Gibbs steps in turn with them
    are small. But the losses identify σ²/wⱼ alone, unless they have standard errors. A move that
    keeps this ratio, to a size of all weights that is drawn from its prior, is accepted or not by
    the density of the parameters alone: interweaving (Yu & Meng 2011, Journal of Computational and
    Graphical Statistics 20, 531–570).

    Args:
        form: law, noise and drift.
        data: data with the present weights.
        key: random key of the size.

    Returns:
        The weights (train_run, 1), and the factor of σ that keeps σ²/wⱼ.
    """
    assert isinstance(form.noise, Grouped)
    weight = data.weight[:, 0]
    observed = jax.ops.segment_max(data.observed[:, 0] * 1, data.train_run, len(weight)) > 0
    total, runs = jnp.sum(jnp.where(observed, weight, 0.0)), jnp.sum(observed)
    factor = 2 / form.noise.nu * jax.random.gamma(key, 0.5 * form.noise.nu * runs) / total
    return (weight * jnp.where(observed, factor, 1.0))[:, None], jnp.sqrt(factor)


class _Squares(NamedTuple):
    """Squared errors of training runs around law and drift.

    They are in units of the scatter before it is weighed.
    """

    scales: dict[str, jax.Array]
    errors: Errors
    ratio: jax.Array
    data: Data

    @classmethod
    def of(cls, form: Form, theta: Mapping[str, jax.Array], data: Data) -> _Squares:
        assert data.misfit is not None
        errors, _ = relative_errors(form, theta, data)
        ratio = data.misfit.ratio[data.train_run, 0]  # as the likelihood has it
        return cls({site: theta[site][0] for site in DRIFT}, errors.target(0), ratio, data)

    def __call__(self, key: jax.Array) -> tuple[Draws, jax.Array, jax.Array]:
        """Draw the drift, and compute the squared errors around it.

        Returns:
            The drift, the squares (train_run), and the number of measured rows (train_run).
        """
        data = self.data
        assert data.misfit is not None
        drift = draw(self.scales, self.errors, data.misfit, key)
        effects = effect(drift, jnp.ones_like(self.ratio), self.ratio, data.misfit, data.train_run)
        return drift, *squares(self.errors, data.misfit, effects)
