"""The likelihood of measured losses under a law, a noise and a discrepancy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.laws.base import Law
from bayesmix.model.data import Data
from bayesmix.model.discrepancy import (
    Discrepancy,
    Errors,
    Scales,
    draw_effects,
    effect,
    marginal_log_prob,
)
from bayesmix.model.noise import Grouped, Noise, Rows

DRIFT = Scales._fields
"""Sites of the discrepancy among the runs, which is Gaussian given these scales and the law."""


def expected_loss(law: Law, theta: Mapping[str, jax.Array], data: Data) -> jax.Array:
    """Loss of the law (run, target) for parameters with a leading target axis."""

    def of_target(one: Mapping[str, jax.Array]) -> jax.Array:
        terms = jax.vmap(law.terms, (None, 0, None))(one, data.mixture, data.reference)
        by_run = jax.tree.map(lambda term: term[data.mixture_of], terms)
        return jax.vmap(law.loss, (None, 0, 0, 0))(one, by_run, data.n, data.d)

    return jax.vmap(of_target, out_axes=1)(dict(theta))


def reference_loss(law: Law, theta: Mapping[str, jax.Array], data: Data) -> jax.Array:
    """Loss of the law (run, target) for the reference mixture at the scale of every row."""
    if not law.uses_mixture:
        return expected_loss(law, theta, data)
    centre = data._replace(mixture=data.reference[None], mixture_of=jnp.zeros_like(data.mixture_of))
    return expected_loss(law, theta, centre)


class Form(NamedTuple):
    """The static part of a model, on which its compiled programs depend."""

    law: Law
    noise: Noise
    discrepancy: Discrepancy | None

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default prior of every site, for one target."""
        drift = self.discrepancy.priors() if self.discrepancy else {}
        return self.law.priors(domains) | self.noise.priors() | drift


def relative_errors(
    form: Form, theta: Mapping[str, jax.Array], data: Data
) -> tuple[Errors, jax.Array]:
    """Relative errors of the law, with a last axis of targets, and its losses (run, target).

    The scatter of each training run is Gaussian given its weight.
    """
    assert isinstance(form.noise, Grouped) and data.misfit is not None
    loss = expected_loss(form.law, theta, data)
    rows = Rows(data.misfit.pattern, data.misfit.late[..., None], data.misfit.loss_se)
    jitter = form.noise.jitter(theta, jnp.ones(()), rows)
    return Errors(data.loss / loss - 1, jitter, form.noise.effect(theta), data.weight), loss


def log_likelihood(form: Form, theta: Mapping[str, jax.Array], data: Data) -> jax.Array:
    """Log density of the observed losses (target), with discrepancy and run effects integrated out.

    Without a discrepancy it is exact. With one, the scale of each training run's Student-t scatter
    is not integrated out but taken as given (`Data.weight`); then everything that is left is
    Gaussian.
    """
    if form.discrepancy is None or data.misfit is None:
        return log_likelihood_by_run(
            form.noise, theta, expected_loss(form.law, theta, data), data
        ).sum(axis=0)
    errors, loss = relative_errors(form, theta, data)
    by_target = [
        marginal_log_prob(
            {site: theta[site][t] for site in DRIFT},
            errors.target(t),
            data.misfit.target(slice(t, t + 1)),
        )
        for t in range(loss.shape[1])
    ]
    return jnp.stack(by_target) - jnp.sum(jnp.where(data.observed, jnp.log(loss), 0.0), axis=0)


def log_likelihood_by_run(
    noise: Noise, theta: Mapping[str, jax.Array], loss: jax.Array, data: Data
) -> jax.Array:
    """Log density (train_run, target) of the observed losses, given expected ones (run, target)."""
    runs = data.weight.shape[0]
    measured = jnp.where(data.observed, data.loss, jnp.nan)

    def of_target(theta: Any, loss: jax.Array, se: jax.Array, measured: jax.Array) -> jax.Array:
        return noise.log_prob_by_run(
            theta, loss, Rows(data.train_run, data.late, se), measured, runs
        )

    sites = {site: theta[site] for site in noise.priors()}
    return jax.vmap(of_target, (0, 1, 1, 1), 1)(sites, loss, data.loss_se, measured)


class Measured(dist.Distribution):
    """Distribution of the measured losses (run, target) of a table, given the parameters.

    All dimensions are one event.
    """

    support = dist.constraints.independent(dist.constraints.positive, 2)  # pyright: ignore

    def __init__(self, form: Form, theta: Mapping[str, jax.Array], data: Data):
        self.form, self.theta, self.data = form, theta, data
        super().__init__(event_shape=data.loss.shape)

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Log density of the observed losses."""
        return log_likelihood(self.form, self.theta, self.data._replace(loss=value)).sum()

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Losses with discrepancy, run effects and jitter drawn given the parameters."""
        assert sample_shape == ()
        drift_key, noise_key = jax.random.split(key)
        theta, targets = dict(self.theta), self.data.loss.shape[1]
        loss = expected_loss(self.form.law, theta, self.data)
        if self.form.discrepancy and self.data.misfit is not None:
            keys = jax.random.split(drift_key, targets)
            discrepancy = jax.vmap(draw_effects, (0, None, 0))(
                {k: theta[k] for k in DRIFT}, self.data.misfit, keys
            )
            at_centre = reference_loss(self.form.law, theta, self.data)
            effects = jax.vmap(effect, (0, 1, 1, None, None), 1)
            loss = loss + effects(
                discrepancy, loss, at_centre, self.data.misfit, self.data.train_run
            )
        rows = Rows(self.data.train_run, self.data.late, self.data.loss_se)

        def scatter(theta: Any, loss: jax.Array, se: jax.Array, key: jax.Array) -> jax.Array:
            return self.form.noise.sample(theta, loss, rows._replace(loss_se=se), key)

        keys = jax.random.split(noise_key, targets)
        return jax.vmap(scatter, (0, 1, 1, 0), 1)(theta, loss, rows.loss_se, keys)
