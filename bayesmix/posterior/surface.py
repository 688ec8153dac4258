"""`LossSurface`: the expected loss of mixtures at one scale, draw by draw."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from bayesmix.laws.base import Law


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("theta", "factor", "tilt", "n", "d", "reference"),
    meta_fields=("law", "domains", "targets"),
)
@dataclass(frozen=True, eq=False)
class LossSurface:
    """Loss draws as a function of the mixture at one scale.

    The loss is factor·L(h) + (h − h̄)·tilt, with L the law: convex where the law is. The class is a
    JAX pytree, so it passes through `jit` and `grad`.
    """

    theta: dict[str, jax.Array]
    factor: jax.Array  # (draw, target) drift common to all mixtures, and scatter where asked for
    tilt: jax.Array  # (draw, target, domain) drift of the differences between mixtures
    n: jax.Array
    d: jax.Array
    reference: jax.Array
    law: Law
    domains: tuple[str, ...]
    targets: tuple[str, ...]

    def __call__(self, weights: jax.Array) -> jax.Array:
        """Losses (draw, target) of the mixture with the given weights (domain)."""
        law = jax.vmap(jax.vmap(self._one, (0, None)), (0, None))(self.theta, weights)
        return self.factor * law + jnp.sum(self.tilt * (weights - self.reference), axis=-1)

    def each(self, weights: jax.Array) -> jax.Array:
        """Losses (draw, target) when every draw has its own mixture (draw, domain)."""
        law = jax.vmap(jax.vmap(self._one, (0, None)))(self.theta, weights)
        return self.factor * law + jnp.sum(self.tilt * (weights - self.reference)[:, None], axis=-1)

    def _one(self, theta: dict[str, jax.Array], weights: jax.Array) -> jax.Array:
        return self.law.loss(theta, self.law.terms(theta, weights, self.reference), self.n, self.d)
