"""The space the sampler walks in: free coordinates of all sites in one vector, whitened around the best fit."""

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

from bayesmix.model import Data, Form, program

Theta = dict[str, Any]
SCATTER = ("sigma", "drift")


class Whitening(NamedTuple):
    """z = centre + scale·x, with x the vector the sampler moves and z the coordinates of the model."""

    centre: jax.Array  # (coordinate)
    scale: jax.Array  # (coordinate, coordinate) lower triangular


class Geometry(NamedTuple):
    """One model's coordinates. Built inside a trace, from static parts and arrays."""

    form: Form
    prior: Mapping[str, dist.Distribution]
    data: Data

    @property
    def own(self) -> frozenset[str]:
        """Sites that the law maps by its own coordinates."""
        domains = self.data.mixture.shape[1]
        return frozenset(self.form.law.priors(domains)) if self.form.law.coordinates(self.data.extent) else frozenset()

    @property
    def paired(self) -> bool:
        """Whether scatter and drift are sampled as their total and their split.

        Where few runs share a cell, runs tell how far losses are from the law, hardly whether that is scatter or drift.
        """
        return all(s in self.prior and self.prior[s].support is constraints.positive for s in SCATTER)

    def draw(self, key: jax.Array) -> Theta:
        """One draw of all sites (target, ...) from the prior, amplitudes in their own units."""
        return draw_prior(self.prior, self.data.unit.shape[0], key)

    def to_theta(self, z: Theta) -> tuple[Theta, jax.Array]:
        """Parameters with a leading target axis in units of the losses, and log |∂θ/∂z|."""
        theta: Theta = {}
        log_det = jnp.zeros(())
        coordinates = self.form.law.coordinates(self.data.extent)
        if coordinates:
            theta, by_target = jax.vmap(coordinates.to_theta)(z["law"])
            log_det += by_target.sum()
        if self.paired:
            z = z | _apart(z)
            log_det -= math.log(2) * self.data.unit.shape[0]
        for site, belief in self.prior.items():
            if site not in self.own:
                transform = biject_to(belief.support)
                theta[site] = transform(z[site])
                log_det += jnp.sum(transform.log_abs_det_jacobian(z[site], theta[site]))
        return {k: self._in_loss(k, v) for k, v in theta.items()}, log_det

    def from_theta(self, theta: Theta) -> Theta:
        """Coordinates of parameters whose amplitudes are in their own units (as `draw` gives them)."""
        z: Theta = {k: biject_to(b.support).inv(theta[k]) for k, b in self.prior.items() if k not in self.own}
        if self.paired:
            z |= _together(z)
        coordinates = self.form.law.coordinates(self.data.extent)
        if coordinates:
            z["law"] = jax.vmap(coordinates.from_theta)({k: v for k, v in theta.items() if k in self.own})
        return z

    def _in_loss(self, site: str, value: jax.Array) -> jax.Array:
        return value * self.data.unit if site in self.form.law.amplitudes else value

    def unravel(self) -> tuple[int, Callable[[jax.Array], Theta]]:
        """How many coordinates there are, and the map from a flat vector to them."""
        flat, back = ravel_pytree(jax.tree.map(jnp.zeros_like, self.from_theta(self.draw(jax.random.key(0)))))
        return flat.shape[0], back

    def scaled(self, z: jax.Array, factor: jax.Array) -> jax.Array:
        """Flat coordinates of the same parameters with `sigma` times a factor, where `paired`; volume is kept."""
        _, unravel = self.unravel()
        apart = _apart(sites := unravel(z))
        return ravel_pytree(sites | _together(apart | {"sigma": apart["sigma"] + jnp.log(factor)}))[0]

    def potential(self, z: jax.Array) -> jax.Array:
        """Minus the log posterior density of the flat coordinates, up to a constant."""
        theta, log_det = self.to_theta(self.unravel()[1](z))
        log_p, _ = log_density(program, (self.form, self.prior, self.data), {}, theta)
        return -(log_p + log_det)


def _together(z: Theta) -> Theta:
    """Logs of sigma and drift → half the log of the sum of their squares, and the log of the ratio of their squares."""
    a, b = (z[site] for site in SCATTER)
    return dict(zip(SCATTER, (0.5 * jnp.logaddexp(2 * a, 2 * b), 2 * (b - a)), strict=True))


def _apart(z: Theta) -> Theta:
    """The inverse of `_together`; its log-determinant is -log 2."""
    total, split = (z[site] for site in SCATTER)
    low = 0.5 * jax.nn.softplus(split)
    return dict(zip(SCATTER, (total - low, total - low + 0.5 * split), strict=True))


def draw_prior(prior: Mapping[str, dist.Distribution], targets: int, key: jax.Array) -> Theta:
    """One draw of all sites (target, ...), amplitudes in units of the smallest observed loss."""
    keys = jax.random.split(key, len(prior))
    return {site: b.sample(k, (targets,)) for k, (site, b) in zip(keys, prior.items(), strict=True)}
