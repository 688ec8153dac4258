"""One optimisation problem in compiled code: the objective of a mixture, and its slope."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.compute import enable_x64
from bayesmix.decision.interface import Surface
from bayesmix.decision.objective import Objective
from bayesmix.decision.risk import CVaR, Risk


class Penalty(NamedTuple):
    """``price`` a nat for what a chance constraint is missed by."""

    ceiling: jax.Array  # (draw, target); +∞ where a target is not covered
    price: float


@dataclass(frozen=True, eq=False)
class Problem:
    """Minimise `objective` under `risk` of the losses on a surface.

    Attributes:
        surface: loss draws as a function of the mixture.
        objective: how targets are combined.
        risk: how draws are judged.
        weights: weight of each target (target), summing to 1.
        baseline: taken off the losses before anything else, (draw, target) or a number.
        rows: positions of the draws that are used, all when None.
        penalties: with `levels`, chance constraints as penalties.
        levels: the probability of each penalty's chance constraint.
    """

    surface: Surface
    objective: Objective
    risk: Risk
    weights: np.ndarray
    baseline: np.ndarray | float = 0.0
    rows: np.ndarray | None = None
    penalties: tuple[Penalty, ...] = field(default=())
    levels: tuple[float, ...] = field(default=())

    def value(self, mixture: np.ndarray) -> float:
        """The objective of one mixture (domain)."""
        with enable_x64():
            return float(_value(*self._given(mixture), self.objective, self.risk, self.levels))

    def value_and_slope(self, mixture: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective of one mixture (domain) and a (sub)gradient (domain)."""
        with enable_x64():
            value, slope = _value_and_slope(*self._given(mixture), self.objective, self.risk, self.levels)
        return float(value), np.asarray(slope)

    def values_and_slopes(self, mixtures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same for mixtures (batch, domain), one after the other: a batch would need the memory of all at once."""
        pairs = [self.value_and_slope(m) for m in mixtures]
        return np.array([v for v, _ in pairs]), np.array([s for _, s in pairs])

    def losses(self, mixture: np.ndarray) -> np.ndarray:
        """Loss draws (draw, target) of one mixture (domain)."""
        with enable_x64():
            return np.asarray(_losses(self.surface, jnp.asarray(mixture)))[
                slice(None) if self.rows is None else self.rows
            ]

    def combined(self, losses: np.ndarray) -> np.ndarray:
        """Draws (draw) of the combined loss, without baseline."""
        with enable_x64():
            return np.asarray(_combined(jnp.asarray(losses), jnp.asarray(self.weights), self.objective))

    def on(self, rows: np.ndarray | None) -> Self:
        """The same problem on some of the draws."""
        return replace(self, rows=rows)

    def _given(self, mixture: np.ndarray) -> tuple[Surface, jax.Array, jax.Array, object, object, object]:
        baseline = jnp.asarray(self.baseline, dtype=jnp.float64)
        return self.surface, jnp.asarray(mixture), jnp.asarray(self.weights), baseline, self.rows, self.penalties


def _objective(surface, mixture, weights, baseline, rows, penalties, objective, risk, levels):
    losses = surface(mixture)
    if rows is not None:
        losses = losses[rows]
        baseline = baseline[rows] if baseline.ndim else baseline
    value = objective(losses - baseline, weights, risk)
    for penalty, level in zip(penalties, levels, strict=True):
        ceiling = penalty.ceiling if rows is None else penalty.ceiling[rows]
        excess = CVaR(level)(jnp.max(losses - ceiling, axis=1))
        value = value + penalty.price * jnp.maximum(excess, 0.0)
    return value


_STATIC = ("objective", "risk", "levels")
_value = jax.jit(_objective, static_argnames=_STATIC)
_value_and_slope = jax.jit(jax.value_and_grad(_objective, argnums=1), static_argnames=_STATIC)
_losses = jax.jit(lambda surface, mixture: surface(mixture))
_combined = jax.jit(
    lambda losses, weights, objective: jax.vmap(objective.combine, in_axes=(0, None))(losses, weights),
    static_argnames=("objective",),
)
