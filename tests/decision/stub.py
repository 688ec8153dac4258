"""A posterior with random draws of the additive law, and the interface that decisions need."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import beta

from bayesmix.design import Designs, Mixture, Scale
from bayesmix.laws.simplex import power


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class AdditiveSurface:
    """L = level + 1/(C₀ + Σ Cᵢ hᵢ^γᵢ) at one scale, for every draw and target."""

    level: jax.Array  # (draw, target)
    constant: jax.Array  # (draw, target)
    amplitude: jax.Array  # (draw, target, domain)
    gamma: jax.Array  # (draw, target, domain)
    domains: tuple[str, ...] = field(metadata={"static": True})
    targets: tuple[str, ...] = field(metadata={"static": True})

    def __call__(self, weights: jax.Array) -> jax.Array:
        useful = jnp.sum(self.amplitude * power(weights, self.gamma), axis=-1)
        return self.level + 1 / (self.constant + useful)

    def each(self, weights: jax.Array) -> jax.Array:
        useful = jnp.sum(self.amplitude * power(weights[:, None, :], self.gamma), axis=-1)
        return self.level + 1 / (self.constant + useful)


@dataclass(frozen=True, eq=False)
class StubPosterior:
    """Draws of E, A, α, B, β (draw, target) and C, γ (draw, target, domain)."""

    domains: tuple[str, ...]
    targets: tuple[str, ...]
    floor: np.ndarray
    size: tuple[np.ndarray, np.ndarray]  # A, α: what N explains at 1e9 parameters
    data: tuple[np.ndarray, np.ndarray]  # B, β: what D explains at 1e11 tokens
    constant: np.ndarray
    amplitude: np.ndarray
    gamma: np.ndarray
    designs: Designs
    natural: Mixture | None
    convex: bool = True

    @property
    def n_draws(self) -> int:
        return len(self.floor)

    def surface(
        self, scale: Scale, *, max_draws: int | None = None, noise: bool = False
    ) -> AdditiveSurface:
        take = slice(None, None, 1 if max_draws is None else -(-self.n_draws // max_draws))
        (a, alpha), (b, beta) = self.size, self.data
        level = self.floor + a * (scale.params / 1e9) ** -alpha + b * (scale.tokens / 1e11) ** -beta
        with jax.enable_x64(True):
            arrays = [
                jnp.asarray(v[take]) for v in (level, self.constant, self.amplitude, self.gamma)
            ]
        return AdditiveSurface(*arrays, self.domains, self.targets)

    def losses(self, scale: Scale, mixtures: np.ndarray) -> np.ndarray:
        """Losses (candidate, draw, target) of mixtures (candidate, domain), in plain NumPy."""
        s = self.surface(scale)
        level, constant, amplitude, gamma = (
            np.asarray(v) for v in (s.level, s.constant, s.amplitude, s.gamma)
        )
        useful = np.einsum("dtk,cdtk->cdt", amplitude, mixtures[:, None, None, :] ** gamma)
        return level + 1 / (constant + useful)


def posterior(
    draws: int = 400,
    targets: int = 3,
    domains: int = 5,
    *,
    seed: int = 0,
    spread: float = 0.15,
    constant: float = 0.2,
) -> StubPosterior:
    """A posterior around one random law; `spread` is the posterior sd of log C and log γ."""
    rng = np.random.default_rng(seed)
    shape, wide = (draws, targets), (draws, targets, domains)

    def around(centre: np.ndarray | float, sd: float, size: tuple[int, ...]) -> np.ndarray:
        return np.exp(np.log(centre) + sd * rng.standard_normal(size))

    names = tuple(f"d{i}" for i in range(domains))
    runs = rng.dirichlet(np.ones(domains), 30)
    return StubPosterior(
        domains=names,
        targets=tuple(f"t{i}" for i in range(targets)),
        floor=around(1.5, 0.02, shape),
        size=(around(0.5, 0.05, shape), around(0.3, 0.1, shape)),
        data=(around(0.4, 0.05, shape), around(0.35, 0.1, shape)),
        constant=np.full(shape, constant),
        amplitude=around(rng.gamma(0.7, 1.0, (targets, domains)) + 0.02, spread, wide),
        gamma=np.minimum(around(rng.uniform(0.2, 0.8, (targets, domains)), spread, wide), 1.0),
        designs=Designs(names, runs, np.full(30, 4e8), np.full(30, 8e9)),
        natural=Mixture.of(names, rng.dirichlet(5 * np.ones(domains))),
    )


def harrell_davis(draws: np.ndarray, level: float) -> np.ndarray:
    """The quantile of Harrell and Davis over the last axis."""
    size = draws.shape[-1]
    edges = beta.cdf(np.arange(size + 1) / size, (size + 1) * level, (size + 1) * (1 - level))
    return np.sort(draws, axis=-1) @ np.diff(edges)
