"""Coordinates of the sampler: all sites in one free vector, whitened around the best fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from numpyro.distributions import biject_to, constraints
from numpyro.infer.util import log_density

from bayesmix.laws.bijections import soft_unit, soft_unit_inverse
from bayesmix.model.data import Data
from bayesmix.model.likelihood import Form
from bayesmix.model.model import program
from bayesmix.model.priors import draw_prior

Theta = dict[str, Any]
SCATTER = ("sigma", "run_effect", "drift")
"""Scales of the scatter of measured losses around the law's.

Runs identify their total, and their split where there are many runs.
"""


class Whitening(NamedTuple):
    """Affine map z = centre + scale·x.

    x is the vector that the sampler moves, and z are the coordinates of the model.
    """

    centre: jax.Array  # (coordinate)
    scale: jax.Array  # (coordinate, coordinate) lower triangular


class Geometry(NamedTuple):
    """Coordinates of one model, built inside a trace from static parts and arrays."""

    form: Form
    prior: Mapping[str, dist.Distribution]
    data: Data

    @property
    def law_sites(self) -> frozenset[str]:
        """Sites that the law maps by its own coordinates."""
        domains = self.data.mixture.shape[1]
        return (
            frozenset(self.form.law.priors(domains))
            if self.form.law.coordinates(self.data.extent)
            else frozenset()
        )

    @property
    def scatter(self) -> tuple[str, ...]:
        """Scales of `SCATTER` in the model that are sampled as their total and their split.

        Where few runs share a cell, and none has several rows, runs identify how far losses are
        from the law, but hardly which of these scales it is.
        """
        sites = tuple(
            s for s in SCATTER if s in self.prior and self.prior[s].support is constraints.positive
        )
        return sites if len(sites) > 1 and SCATTER[0] in sites else ()

    def draw(self, key: jax.Array) -> Theta:
        """Draw all sites (target, ...) from the prior, amplitudes in their own units."""
        return draw_prior(self.prior, self.data.unit.shape[0], key)

    def transform_and_log_det(self, z: Theta) -> tuple[Theta, jax.Array]:
        """Parameters with a leading target axis in units of the losses, and log |∂θ/∂z|."""
        theta: Theta = {}
        log_det = jnp.zeros(())
        coordinates = self.form.law.coordinates(self.data.extent)
        if coordinates:
            theta, by_target = jax.vmap(coordinates.transform_and_log_det)(z["law"])
            log_det += by_target.sum()
        if self.scatter:
            apart, by_target = _to_scales(z, self.scatter)
            z, log_det = z | apart, log_det + by_target.sum()
        for site, belief in self.prior.items():
            if site not in self.law_sites:
                transform = biject_to(belief.support)
                theta[site] = transform(z[site])
                log_det += jnp.sum(transform.log_abs_det_jacobian(z[site], theta[site]))
        return {k: self._in_loss(k, v) for k, v in theta.items()}, log_det

    def inverse(self, theta: Theta) -> Theta:
        """Coordinates of parameters with amplitudes in their own units, as `draw` gives them."""
        z: Theta = {
            k: biject_to(b.support).inv(theta[k])
            for k, b in self.prior.items()
            if k not in self.law_sites
        }
        if self.scatter:
            z |= _to_total_and_shares(z, self.scatter)
        coordinates = self.form.law.coordinates(self.data.extent)
        if coordinates:
            z["law"] = jax.vmap(coordinates.inverse)(
                {k: v for k, v in theta.items() if k in self.law_sites}
            )
        return z

    def _in_loss(self, site: str, value: jax.Array) -> jax.Array:
        return value * self.data.unit if site in self.form.law.amplitudes else value

    def unravel(self) -> tuple[int, Callable[[jax.Array], Theta]]:
        """Number of coordinates, and the map from a flat vector to them."""
        flat, back = ravel_pytree(
            jax.tree.map(jnp.zeros_like, self.inverse(self.draw(jax.random.key(0))))
        )
        return flat.shape[0], back

    def scaled(self, z: jax.Array, factor: jax.Array) -> jax.Array:
        """Flat coordinates of the same parameters with the scales of the noise times a factor.

        The map keeps volume. Needs `scatter`.
        """
        _, unravel = self.unravel()
        apart, _ = _to_scales(sites := unravel(z), self.scatter)
        larger = {
            site: v + jnp.log(factor)
            for site, v in apart.items()
            if site in self.form.noise.priors()
        }
        return ravel_pytree(sites | _to_total_and_shares(apart | larger, self.scatter))[0]

    def potential(self, z: jax.Array) -> jax.Array:
        """Potential −log p(θ, y) − log |∂θ/∂z| of the flat coordinates z, up to a constant."""
        theta, log_det = self.transform_and_log_det(self.unravel()[1](z))
        log_p, _ = log_density(program, (self.form, self.prior, self.data), {}, theta)
        return -(log_p + log_det)


def _to_total_and_shares(z: Theta, sites: tuple[str, ...]) -> Theta:
    """Total and split of scales that are given as logs.

    The log of the total stands in place of sigma's, τ/√(σ² + τ²), softened, in that of
    `run_effect`, and log s²/(σ² + τ²) in that of `drift`.
    """
    log_noise, shares = z["sigma"], {}
    if "run_effect" in sites:
        log_noise = 0.5 * jnp.logaddexp(2 * z["sigma"], 2 * z["run_effect"])
        shares["run_effect"] = soft_unit_inverse(jnp.exp(z["run_effect"] - log_noise))
    total = log_noise
    if "drift" in sites:
        total = 0.5 * jnp.logaddexp(2 * log_noise, 2 * z["drift"])
        shares["drift"] = 2 * (z["drift"] - log_noise)
    return {"sigma": total} | shares


def _to_scales(z: Theta, sites: tuple[str, ...]) -> tuple[Theta, jax.Array]:
    """Inverse of `_to_total_and_shares`, and its log-determinant."""
    log_noise, log_scales, log_det = z["sigma"], {}, jnp.zeros_like(z["sigma"])
    if "drift" in sites:
        log_noise = log_noise - 0.5 * jax.nn.softplus(z["drift"])
        log_scales["drift"] = log_noise + 0.5 * z["drift"]
        log_det = log_det - math.log(2)
    log_scales["sigma"] = log_noise
    if "run_effect" in sites:
        share, log_slope = soft_unit(z["run_effect"])
        log_scales["run_effect"] = log_noise + jnp.log(share)
        log_scales["sigma"] = log_noise + 0.5 * jnp.log1p(-(share**2))
        log_det = log_det + log_slope - jnp.log(share) - jnp.log1p(-(share**2))
    return log_scales, log_det
