"""The capacity law: domains compete for the parameters of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.base import NOTHING, Bijection, Extent, Law, Theta
from bayesmix.laws.bijections import Chain, LevelAndRises, SiteTransform, Slopes, zero_sum_site
from bayesmix.laws.simplex import power

MOST_STEPS = 100
"""Largest number of Newton steps; ten are typical, each settles a domain or doubles the digits."""
LEAST_SPARE = 1e-3
"""Smallest part of a model that is divided among the domains.

It keeps the division defined when N is below the shared part.
"""
SIMPLEX = dist.transforms.StickBreakingTransform()
SIGMOID = dist.transforms.SigmoidTransform()
SHARES = Slopes("rise_D")


class CapacityTerms(NamedTuple):
    """Terms of the capacity law that depend on the mixture."""

    demand: jax.Array  # (domain) capacity at the price of the reference
    share: jax.Array  # r


@dataclass(frozen=True)
class Capacity(Law[CapacityTerms]):
    """L = E + A Σ sᵢ (xᵢ/x̄ᵢ)^−αᵢ + B (r D/D₀)^−β.

    r = Σ sᵢ hᵢ/h̄ᵢ is the target's own share of the tokens, relative to the reference. The
    capacities x(h, N) minimise the weighted loss of the training domains: min Σ hᵢ cᵢ xᵢ^−αᵢ with
    xᵢ ≥ H and Σ (xᵢ − H) ≤ N − H. H is shared by all domains, the rest is divided among them. x̄
    are the capacities at the reference, in units of N₀; they are sampled in place of the cᵢ, to
    which they are equivalent where every domain has a part of its own at the reference:
    cᵢ αᵢ h̄ᵢ ∝ x̄ᵢ^(αᵢ+1).

    In the paper the targets are the domains and share c, α and H. Here every target has a law of
    its own, hence its own capacities. Shares s with all mass on one domain are the paper's law;
    they are learned, since a law sees weights without names and a target need not be a domain.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | E | `E` | () | (0, smallest observed loss) | nats | irreducible loss |
    | A | `A` | () | > 0 | nats | loss that more parameters could remove, at the reference |
    | α | `alpha` | () | > 0 | – | exponent of capacity, geometric mean over the domains |
    | log αᵢ/α | `alpha_domain` | (domain) | sums to 0 | – | log ratio of the exponent by domain |
    | B | `B` | () | > 0 | nats | loss that more own tokens could remove, at the reference |
    | β | `beta` | () | > 0 | – | exponent of the target's own tokens |
    | s | `share` | (domain) | simplex | – | parts in the own share r at the reference |
    | H | `shared` | () | (0, 1) | N₀ | capacity that all domains share |
    | f | `part` | (domain) | simplex | – | division of the rest: x̄ᵢ = H + fᵢ (1 − H) |

    Source: Dai & Zheng 2026, arXiv 2606.08167; the form by target and the learned shares are ours.
    """

    name: ClassVar[str] = "capacity"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"E", "A", "B"})

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """Default priors, where shared those of the additive law.

        H is 0.01 to 0.5 of N₀ (90 %), the division of the rest is rather even.
        """
        return components.scale_priors() | {
            "alpha_domain": dist.ZeroSumNormal(0.3, event_shape=(domains,)),
            "share": components.share_prior(domains, constant=False),
            "shared": dist.Beta(1.0, 4.0),
            "part": dist.Dirichlet(np.full(domains, 2.0)),
        }

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> CapacityTerms:
        """Demand of each domain at the price of the reference, and the target's own share."""
        ratio = weights / reference
        demand = self._at_reference(theta) * power(ratio, 1 / (1 + self._exponents(theta)))
        return CapacityTerms(demand, jnp.sum(theta["share"] * ratio))

    def loss(self, theta: Theta, terms: CapacityTerms, n: jax.Array, d: jax.Array) -> jax.Array:
        """E + A Σ sᵢ (xᵢ/x̄ᵢ)^−αᵢ + B (r d)^−β."""
        exponents = self._exponents(theta)
        x = divide(terms.demand, 1 / (1 + exponents), theta["shared"], n)
        from_n = theta["A"] * jnp.sum(
            theta["share"] * (x / self._at_reference(theta)) ** -exponents
        )
        return theta["E"] + from_n + theta["B"] * (terms.share * d) ** -theta["beta"]

    def coordinates(self, extent: Extent) -> Bijection:
        """Level, slopes in log N and every log hᵢ, splits of the level, exponents, H and f."""
        exponents, division = zero_sum_site("alpha_domain"), SiteTransform("part", SIMPLEX)
        shared = SiteTransform("shared", SIGMOID)
        return Chain((CapacitySlopes(extent), exponents, shared, division))

    @staticmethod
    def _exponents(theta: Theta) -> jax.Array:
        return theta["alpha"] * jnp.exp(theta["alpha_domain"])

    @staticmethod
    def _at_reference(theta: Theta) -> jax.Array:
        return theta["shared"] + theta["part"] * (1 - theta["shared"])


def divide(
    demand: jax.Array, elasticity: jax.Array, shared: jax.Array, total: jax.Array
) -> jax.Array:
    """Capacities xᵢ = max(H, demandᵢ·λ^−elasticityᵢ) at the price λ at which Σ (xᵢ − H) = N − H.

    Above H this is the first-order condition of min Σ hᵢ cᵢ xᵢ^−αᵢ. Newton's method in log λ starts
    below the root of a convex decreasing function, so it never passes it; derivatives of the root
    are by the implicit function theorem.

    Args:
        demand: capacity of each domain at price 1 (domain), 0 for a domain of weight 0.
        elasticity: 1/(1 + αᵢ) (domain).
        shared: H; all domains share the whole of a model smaller than H.
        total: N in the unit of the capacities.
    """
    floor = jnp.minimum(shared, total)
    spare = jnp.maximum(total - shared, LEAST_SPARE * total)

    def capacity(log_price: jax.Array) -> jax.Array:
        return jnp.maximum(demand * jnp.exp(-elasticity * log_price), floor)

    def excess(log_price: jax.Array) -> jax.Array:
        return jnp.sum(capacity(log_price) - floor) - spare

    def newton(_: Callable[[jax.Array], jax.Array], start: jax.Array) -> jax.Array:
        def step(state: tuple[jax.Array, jax.Array, int]) -> tuple[jax.Array, jax.Array, int]:
            log_price, _, steps = state
            x = capacity(log_price)
            slope = jnp.sum(elasticity * x * (x > floor))
            move = (jnp.sum(x - floor) - spare) / slope
            return log_price + move, move, steps + 1

        close = 8 * jnp.finfo(start.dtype).eps
        initial = (start, jnp.full_like(start, jnp.inf), 0)
        return jax.lax.while_loop(
            lambda state: (state[1] > close) & (state[2] < MOST_STEPS), step, initial
        )[0]

    # at the starting price one domain alone takes everything; the root does not depend on it
    start = jnp.max(jnp.log(demand / (spare + floor)) / elasticity)
    start = jax.lax.stop_gradient(start)
    return capacity(
        jax.lax.custom_root(excess, start, newton, lambda g, y: y / g(jnp.ones_like(y)))
    )


@dataclass(frozen=True)
class CapacitySlopes(Bijection):
    """Coordinates level, rise_N, split_N, split_D, slope_mix of E, A, alpha, B, beta and share.

    slope_mix is the slope of the loss in the log of each domain's own tokens, B·β·sᵢ; the sum of
    the slopes replaces rise_D. N and D are treated as not tied: the slopes of the domains tell more
    about D than its sizes do.

    Args:
        extent: extent of the runs.
    """

    extent: Extent

    def transform_and_log_det(
        self, z: Theta, condition: Theta = NOTHING
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        """Parameters of the part in N and D, and the shares."""
        slope, share, log_det_share = SHARES.log_total(z)
        scale, log_det_scale = self._scale.transform_and_log_det({**z, "rise_D": slope})
        # `log_total` measures the slope, not its log
        return scale | {"share": share}, log_det_share - slope + log_det_scale

    def inverse(self, theta: Theta) -> dict[str, jax.Array]:
        """Level, rise in N, splits and slopes."""
        scale = self._scale.inverse(theta)
        slope = jnp.exp(scale.pop("rise_D"))
        return scale | SHARES.inverse({SHARES.total: slope, "share": theta["share"]})

    @property
    def _scale(self) -> LevelAndRises:
        return LevelAndRises(self.extent._replace(tied=False))
