"""The capacity law: a model divides its parameters among the domains, and domains compete for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from bayesmix.laws import components
from bayesmix.laws.base import Coordinates, Extent, Law, Theta
from bayesmix.laws.simplex import power

MOST_STEPS = 100
"""Newton's method needs about ten: each step settles a domain, or doubles the digits."""
LEAST_SPARE = 1e-3
"""The part of a model that is always divided, so that the division stays defined when N is below the shared part."""
SIMPLEX = dist.transforms.StickBreakingTransform()


class CapacityTerms(NamedTuple):
    """What the capacity law needs of a mixture."""

    demand: jax.Array
    share: jax.Array


@dataclass(frozen=True)
class Capacity(Law[CapacityTerms]):
    """L = E + A Σ sᵢ (xᵢ/x̄ᵢ)^−αᵢ + B (r D/D₀)^−β, with r = Σ sᵢ hᵢ/h̄ᵢ the target's own share of the tokens.

    The capacities x(h, N) are those that make the weighted loss of the training domains smallest:
    min Σ hᵢ cᵢ xᵢ^−αᵢ with xᵢ ≥ H and Σ (xᵢ − H) ≤ N − H. H is shared by all domains, the rest is
    divided among them. x̄ are the capacities at the reference, in units of N₀; they are sampled in
    place of the cᵢ, to which they are equivalent where every domain has a part of its own at the
    reference: cᵢ αᵢ h̄ᵢ ∝ x̄ᵢ^(αᵢ+1).

    In the paper the targets are the domains and share c, α and H. Here every target has a law of
    its own, hence its own view of how the domains compete. Shares s with all mass on one domain are
    the paper's law; they are learned, since a law sees weights without names and a target need not
    be a domain.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | E | `E` | () | (0, smallest observed loss) | nats | floor: the loss no model, data or mixture goes below |
    | A | `A` | () | > 0 | nats | loss that more parameters could remove, at the reference |
    | α | `alpha` | () | > 0 | – | exponent of capacity, geometric mean over the domains |
    | log αᵢ/α | `alpha_domain` | (domain) | sums to 0 | – | how the exponent differs by domain |
    | B | `B` | () | > 0 | nats | loss that more tokens of the target's own could remove, at the reference |
    | β | `beta` | () | > 0 | – | exponent of the target's own tokens |
    | s | `share` | (domain) | simplex | – | part of each domain in what is the target's own, at the reference |
    | H | `shared` | () | (0, 1) | N₀ | capacity that all domains share |
    | f | `part` | (domain) | simplex | – | division of the rest at the reference: x̄ᵢ = H + fᵢ (1 − H) |

    Source: Dai & Zheng 2026, arXiv 2606.08167; the form by target and the learned shares are ours.
    """

    name: ClassVar[str] = "capacity"
    amplitudes: ClassVar[frozenset[str]] = frozenset({"E", "A", "B"})

    def priors(self, domains: int) -> dict[str, dist.Distribution]:
        """As in the additive law; H is 0.01 to 0.5 of N₀ (90 %), the division of the rest is rather even."""
        return components.scale_priors() | {
            "alpha_domain": dist.ZeroSumNormal(0.3, event_shape=(domains,)),
            "share": components.share_prior(domains, constant=False),
            "shared": dist.Beta(1.0, 4.0),
            "part": dist.Dirichlet(np.full(domains, 2.0)),
        }

    def terms(self, theta: Theta, weights: jax.Array, reference: jax.Array) -> CapacityTerms:
        """What each domain would take at the price of the reference, and the target's own share."""
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

    def coordinates(self, extent: Extent) -> Coordinates:
        """Level, slopes in log N and every log hᵢ, splits of the level, exponents, division of the capacity."""
        return CapacityCoordinates(extent)

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
    below the root of a convex decreasing function, so it never passes it; the implicit function
    theorem differentiates the root.

    Args:
        demand: capacity each domain takes at price 1 (domain), 0 for a domain of weight 0.
        elasticity: 1/(1 + αᵢ) (domain).
        shared: H; a model smaller than it has all domains share what there is.
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

    start = jnp.max(
        jnp.log(demand / (spare + floor)) / elasticity
    )  # there one domain alone takes all there is
    start = jax.lax.stop_gradient(start)  # where the search starts has no bearing on the root
    return capacity(
        jax.lax.custom_root(excess, start, newton, lambda g, y: y / g(jnp.ones_like(y)))
    )


@dataclass(frozen=True)
class CapacityCoordinates(Coordinates):
    """level, rise_N, split_N, split_D, slope_mix, alpha_domain, shared and part."""

    extent: Extent

    def to_theta(self, z: Theta) -> tuple[dict[str, jax.Array], jax.Array]:
        """slope_mix is the slope of the loss in the log of each domain's own tokens, B·β·sᵢ."""
        slope, share, log_det_share = components.share_to_theta(z, 0.0)
        extent = self.extent._replace(
            tied=False
        )  # the slopes of the domains tell more of D than its sizes do
        scale, log_det_scale = components.scale_to_theta(
            {**z, "rise_D": slope}, jnp.zeros(()), extent
        )
        part = SIMPLEX(z["part"])
        theta = scale | {
            "alpha_domain": components.zero_sum(z["alpha_domain"]),
            "share": share,
            "shared": jax.nn.sigmoid(z["shared"]),
            "part": part,
        }
        log_det = (
            log_det_share - slope + log_det_scale
        )  # `share_to_theta` measures the slope, not its log
        log_det_shared = jax.nn.log_sigmoid(z["shared"]) + jax.nn.log_sigmoid(-z["shared"])
        return theta, log_det + log_det_shared + SIMPLEX.log_abs_det_jacobian(z["part"], part)

    def from_theta(self, theta: Theta) -> dict[str, jax.Array]:
        """The inverse of `to_theta`."""
        scale = components.scale_from_theta(theta, jnp.zeros(()), self.extent._replace(tied=False))
        share = components.share_from_theta(
            scale.pop("rise_D"), theta["share"], 0.0, constant=False
        )
        return (
            scale
            | share
            | {
                "alpha_domain": components.zero_sum_inverse(theta["alpha_domain"]),
                "shared": jnp.log(theta["shared"]) - jnp.log1p(-theta["shared"]),
                "part": SIMPLEX.inv(theta["part"]),
            }
        )
