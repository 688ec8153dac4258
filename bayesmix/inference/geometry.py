"""The space the sampler walks in: free coordinates of all sites in one vector, whitened around the best fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from numpyro.distributions import biject_to
from numpyro.infer.util import log_density

from bayesmix.laws.base import Law
from bayesmix.model import Data, program
from bayesmix.noise import Noise

Theta = dict[str, Any]


class Whitening(NamedTuple):
    """z = centre + scale·x, with x the vector the sampler moves and z the coordinates of the model."""

    centre: jax.Array  # (coordinate)
    scale: jax.Array  # (coordinate, coordinate) lower triangular


class Geometry(NamedTuple):
    """One model's coordinates. Built inside a trace, from static parts and arrays."""

    law: Law
    noise: Noise
    prior: Mapping[str, dist.Distribution]
    data: Data

    @property
    def own(self) -> frozenset[str]:
        """Sites that the law maps by its own coordinates."""
        domains = self.data.mixture.shape[1]
        return frozenset(self.law.priors(domains)) if self.law.coordinates(self.data.extent) else frozenset()

    def draw(self, key: jax.Array) -> Theta:
        """One draw of all sites (target, ...) from the prior, amplitudes in their own units."""
        return draw_prior(self.prior, self.data.unit.shape[0], key)

    def to_theta(self, z: Theta) -> tuple[Theta, jax.Array]:
        """Parameters with a leading target axis in units of the losses, and log |∂θ/∂z|."""
        theta: Theta = {}
        log_det = jnp.zeros(())
        coordinates = self.law.coordinates(self.data.extent)
        if coordinates:
            theta, by_target = jax.vmap(coordinates.to_theta)(z["law"])
            log_det += by_target.sum()
        for site, belief in self.prior.items():
            if site not in self.own:
                transform = biject_to(belief.support)
                theta[site] = transform(z[site])
                log_det += jnp.sum(transform.log_abs_det_jacobian(z[site], theta[site]))
        return {k: self._in_loss(k, v) for k, v in theta.items()}, log_det

    def from_theta(self, theta: Theta) -> Theta:
        """Coordinates of parameters whose amplitudes are in their own units (as `draw` gives them)."""
        z: Theta = {k: biject_to(b.support).inv(theta[k]) for k, b in self.prior.items() if k not in self.own}
        coordinates = self.law.coordinates(self.data.extent)
        if coordinates:
            z["law"] = jax.vmap(coordinates.from_theta)({k: v for k, v in theta.items() if k in self.own})
        return z

    def _in_loss(self, site: str, value: jax.Array) -> jax.Array:
        return value * self.data.unit if site in self.law.amplitudes else value

    def unravel(self) -> tuple[int, Callable[[jax.Array], Theta]]:
        """How many coordinates there are, and the map from a flat vector to them."""
        flat, back = ravel_pytree(jax.tree.map(jnp.zeros_like, self.from_theta(self.draw(jax.random.key(0)))))
        return flat.shape[0], back

    def potential(self, z: jax.Array) -> jax.Array:
        """Minus the log posterior density of the flat coordinates, up to a constant."""
        theta, log_det = self.to_theta(self.unravel()[1](z))
        log_p, _ = log_density(program, (self.law, self.noise, self.prior, self.data), {}, theta)
        return -(log_p + log_det)


def draw_prior(prior: Mapping[str, dist.Distribution], targets: int, key: jax.Array) -> Theta:
    """One draw of all sites (target, ...), amplitudes in units of the smallest observed loss."""
    keys = jax.random.split(key, len(prior))
    return {site: b.sample(k, (targets,)) for k, (site, b) in zip(keys, prior.items(), strict=True)}
