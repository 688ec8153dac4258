"""`Repeated`: any law on a corpus of limited stock, where tokens seen again count for less."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from bayesmix.design import Scale
from bayesmix.errors import InputError
from bayesmix.laws.base import Bijection, Extent, Law, Theta
from bayesmix.laws.bijections import Chain, positive


class RepeatedTerms(NamedTuple):
    """The mixture and the reference.

    How often a domain is repeated depends on D too, so all work is done in `loss`.
    """

    weights: jax.Array
    reference: jax.Array


@dataclass(frozen=True)
class Repeated(Law[RepeatedTerms]):
    """A law of effective tokens, for which repeated tokens count for less.

    D hᵢ tokens of a domain with Uᵢ in stock count as Uᵢ + Uᵢ R* (1 − e^(−Rᵢ/R*)), where
    Rᵢ = D hᵢ/Uᵢ − 1 are the epochs beyond the first. The law underneath sees the number of
    effective tokens and their mixture. Tokens seen for the first time count in full, so where
    nothing is repeated the law is unchanged; at most Uᵢ (1 + R*) effective tokens come from a
    domain, however often it is repeated.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | R* | `repeats` | () | > 0 | epochs | epochs beyond the first in which value decays |

    and all sites of the law underneath.

    Args:
        law: the law of effective tokens.
        stock: domain → tokens available; a domain that is not named never runs out.
        in_reference: Uᵢ/D₀ (domain); filled in by `at`.

    Raises:
        InputError: a stock is not above 0, belongs to a domain the runs do not have, or `at` was
            not called.

    Source: Muennighoff et al. 2023, arXiv 2305.16264, effective data; to apply it by domain is
    ours.
    """

    law: Law
    stock: Mapping[str, float] = field(hash=False)
    in_reference: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for domain, tokens in self.stock.items():
            if not tokens > 0:
                raise InputError(
                    f"the stock of {domain} is not a number of tokens",
                    expected="a number above 0",
                    got=tokens,
                    advice="If it must not be used, forbid it when optimising instead.",
                )
        object.__setattr__(self, "stock", MappingProxyType(dict(self.stock)))
        object.__setattr__(self, "name", self.law.name)
        object.__setattr__(self, "amplitudes", self.law.amplitudes)

    def at(self, domains: Sequence[str], scale: Scale) -> Repeated:
        """The same law with its stock by domain, in units of the reference tokens."""
        foreign = [domain for domain in self.stock if domain not in domains]
        if foreign:
            raise InputError(
                "the stock names unknown domains",
                expected=f"domains among {list(domains)}",
                got=foreign,
                advice="Rename or remove them.",
            )
        in_reference = tuple(self.stock.get(domain, math.inf) / scale.tokens for domain in domains)
        return Repeated(self.law.at(domains, scale), self.stock, in_reference)

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default priors of the law underneath, and of R*, 7 to 34 epochs (90 %)."""
        return self.law.priors(domains) | {"repeats": dist.LogNormal(math.log(15.0), 0.5)}

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> RepeatedTerms:
        """The mixture and the reference, unchanged."""
        return RepeatedTerms(weights, reference)

    def loss(self, theta: Theta, terms: RepeatedTerms, n: jax.Array, d: jax.Array) -> jax.Array:
        """The loss of the law underneath at the effective tokens, in number and mixture."""
        if not self.in_reference:
            raise InputError(
                "the law does not know its domains yet",
                expected="a law that `at` has returned",
                got=self,
                advice="Call law.at(domains, reference scale).",
            )
        tokens = effective_tokens(
            d * terms.weights, jnp.asarray(self.in_reference), theta["repeats"]
        )
        total = jnp.sum(tokens)
        return self.law.loss(
            theta, self.law.terms(theta, tokens / total, terms.reference), n, total
        )

    def convex(self, theta: Mapping[str, jax.Array]) -> bool:
        """Whether nothing can run out and the law underneath is convex.

        Effective tokens make the mixture nonlinear.
        """
        return not self.stock and self.law.convex(theta)

    def coordinates(self, extent: Extent) -> Bijection | None:
        """Coordinates of the law underneath, and log R*."""
        inner = self.law.coordinates(extent)
        return Chain((inner, positive("repeats"))) if inner else None


def effective_tokens(tokens: jax.Array, stock: jax.Array, repeats: jax.Array) -> jax.Array:
    """Effective tokens U + U R* (1 − e^(−R/R*)), with R = D/U − 1, of tokens from a stock.

    Effective tokens are worth as much as tokens that are seen once. Within the first epoch
    every token counts in full, and the first repeats count almost so.

    Args:
        tokens: D, tokens trained on, any shape.
        stock: U, tokens available; infinite where they never run out.
        repeats: R*, the scale of epochs beyond the first on which their value decays.

    Returns:
        Effective tokens, at most the tokens trained on and less than U (1 + R*).
    """
    extra_epochs = jnp.maximum(tokens / stock - 1, 0.0)
    return jnp.minimum(tokens, stock) * (1 - repeats * jnp.expm1(-extra_epochs / repeats))
