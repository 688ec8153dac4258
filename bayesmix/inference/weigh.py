"""How much each training run counts where a drift is fitted too, judged at the best fit.

Student-t scatter is Gaussian with a scale of its own for every training run. Without a drift the scales are integrated
out. With a drift, the drift is integrated out instead, which needs the scales: they are set to what is expected of them
at the best fit, by expectation and maximisation in turn. So the posterior knows that a run is an outlier, but not how
sure that is.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from bayesmix.discrepancy import draw, effect
from bayesmix.inference.drift import of_target
from bayesmix.inference.geometry import Geometry
from bayesmix.model import DRIFT, Data, Form, reference_loss, relative_errors
from bayesmix.noise import Grouped, by_run

DRAWS = 64


@partial(jax.jit, static_argnums=0)
def weights(form: Form, prior: Any, data: Data, z: jax.Array, key: jax.Array) -> jax.Array:
    """Expected weights (train_run, 1) of the training runs at one point, for one target.

    wⱼ = (ν + nⱼ)/(ν + E mⱼ²) with mⱼ² the squared error of the run in units of its scatter, averaged over the drift.

    Args:
        form: law, noise and drift.
        prior: of every site.
        data: with the weights to begin with.
        z: flat coordinates of the point.
        key: of draws of the drift.
    """
    assert isinstance(form.noise, Grouped) and data.misfit is not None
    geometry = Geometry(form, prior, data)
    theta, _ = geometry.to_theta(geometry.unravel()[1](z))
    given, loss = relative_errors(form, theta, data)
    plain, _ = relative_errors(form, theta, data._replace(weight=jnp.ones_like(data.weight)))
    at_reference = reference_loss(form.law, theta, data)[:, 0] / loss[:, 0]
    spread = {site: theta[site][0] for site in DRIFT}
    given, plain, misfit, noise = of_target(given), of_target(plain), data.misfit, form.noise

    def square(key: jax.Array) -> jax.Array:
        off = effect(draw(spread, given, misfit, key), jnp.ones_like(at_reference), at_reference, misfit)
        found = by_run(plain.error - off, plain.variance, plain.shared, data.train_run, data.weight.shape[0])
        return jnp.stack([found.square, found.rows])

    mean, count = jnp.mean(jax.lax.map(square, jax.random.split(key, DRAWS)), axis=0)
    return noise.weight(mean, count)[:, None]
