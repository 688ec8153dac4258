"""Interfaces of a posterior that decisions depend on."""

from __future__ import annotations

from typing import Protocol

import jax

from bayesmix.design import Designs, Mixture, Scale


class Surface(Protocol):
    """Loss draws at one scale as a function of the mixture.

    A surface is a JAX pytree, so that compiled code can take it as an argument. Losses are in nats,
    float64, differentiable in the interior of the simplex; a weight of 0 is legal and gives a
    finite or an infinite loss, never NaN.
    """

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the training domains."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        ...

    def __call__(self, weights: jax.Array) -> jax.Array:
        """Losses (draw, target) of one mixture (domain)."""
        ...

    def each(self, weights: jax.Array) -> jax.Array:
        """Losses (draw, target) when every draw has its own mixture (draw, domain)."""
        ...


class PosteriorLike(Protocol):
    """Labelled draws of the loss at any scale.

    Draw i is the same state of the world at every scale.
    """

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the training domains."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        ...

    @property
    def n_draws(self) -> int:
        """Number of draws."""
        ...

    @property
    def designs(self) -> Designs:
        """The designs of the fitted runs."""
        ...

    @property
    def natural(self) -> Mixture | None:
        """The natural mixture, the corpus' own proportions; None when they are not known."""
        ...

    @property
    def convex(self) -> bool:
        """Whether the loss of every draw and target is convex in the mixture at a fixed scale."""
        ...

    def surface(
        self, scale: Scale, *, max_draws: int | None = None, noise: bool = False
    ) -> Surface:
        """Loss draws at `scale`; at most `max_draws` of them, and with run noise when asked."""
        ...
