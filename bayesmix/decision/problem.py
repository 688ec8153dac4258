"""One optimisation problem in compiled code: the objective of a mixture, and its slope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.decision.objective import Custom, Objective, WeightedLoss, target_weights
from bayesmix.decision.protocols import PosteriorLike, Surface
from bayesmix.decision.risk import CVaR, Mean, Risk
from bayesmix.design import Scale
from bayesmix.runtime.compute import enable_x64


class Penalty(NamedTuple):
    """Penalty of `price` per nat by which a chance constraint is violated."""

    ceiling: jax.Array  # (draw, target); +∞ where a target is not covered
    price: float


@dataclass(frozen=True, eq=False)
class Problem:
    """Minimise `objective` under `risk` of the losses on a surface.

    Attributes:
        surface: loss draws as a function of the mixture.
        objective: how targets are combined.
        risk: risk measure over the draws.
        weights: weight of each target (target), summing to 1.
        convex_losses: whether the losses of every draw are convex in the mixture.
        baseline: losses (draw, target), or a number, subtracted from the losses first.
        rows: positions of the draws that are used, all when None.
        penalties: with `levels`, chance constraints as penalties.
        levels: the probability of each penalty's chance constraint.
    """

    surface: Surface
    objective: Objective
    risk: Risk
    weights: np.ndarray
    convex_losses: bool
    baseline: np.ndarray | float = 0.0
    rows: np.ndarray | None = None
    penalties: tuple[Penalty, ...] = field(default=())
    levels: tuple[float, ...] = field(default=())

    @classmethod
    def of(
        cls,
        posterior: PosteriorLike,
        scale: Scale,
        *,
        targets: Mapping[str, float] | None = None,
        objective: Objective | None = None,
        risk: Risk | None = None,
        max_draws: int | None = None,
        noise: bool = False,
    ) -> Self:
        """The problem at a scale, without baseline or chance constraints.

        By default it is to minimise the mean weighted loss.

        Args:
            posterior: the fitted losses.
            scale: parameters and tokens.
            targets: target → weight; equal weights when not given.
            objective: how targets are combined; `WeightedLoss` when not given.
            risk: risk measure over the draws; `Mean` when not given.
            max_draws: use at most this many draws.
            noise: whether run noise counts as a risk.

        Raises:
            InputError: unknown targets.
        """
        surface = posterior.surface(scale, max_draws=max_draws, noise=noise)
        weights = np.array(target_weights(surface.targets, targets))
        return cls(surface, objective or WeightedLoss(), risk or Mean(), weights, posterior.convex)

    @property
    def why_not_convex(self) -> str:
        """Reason why no certificate can be given; empty when one can."""
        if not self.convex_losses:
            return (
                "the loss of some draws is not convex in the mixture, so no bound on the gap is"
                " known"
            )
        if not self.objective.convex:
            return "the objective is not known to be convex, so no bound on the gap is known"
        if not self.risk.convex and not isinstance(self.objective, Custom):
            return f"the risk {self.risk} is not convex, so no bound on the gap is known"
        return ""

    @property
    def convex(self) -> bool:
        """Whether a certificate can be given."""
        return not self.why_not_convex

    @property
    def n_draws(self) -> int:
        """Number of draws of the surface, used or not."""
        with enable_x64():
            shape = jax.ShapeDtypeStruct((len(self.surface.domains),), jnp.float64)
            return jax.eval_shape(_losses, self.surface, shape).shape[0]

    def loss_scale(self, mixture: np.ndarray) -> float:
        """Mean absolute weighted loss of one mixture (domain), in nats: the unit of tolerances."""
        return float(np.abs(self.losses(mixture) @ self.weights).mean())

    def value(self, mixture: np.ndarray) -> float:
        """The objective of one mixture (domain)."""
        with enable_x64():
            return float(_value(*self._given(mixture), self.objective, self.risk, self.levels))

    def value_and_slope(self, mixture: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective of one mixture (domain) and a (sub)gradient (domain)."""
        with enable_x64():
            value, slope = _value_and_slope(
                *self._given(mixture), self.objective, self.risk, self.levels
            )
        return float(value), np.asarray(slope)

    def values_and_slopes(self, mixtures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Objectives (batch) and (sub)gradients (batch, domain) of mixtures (batch, domain).

        They are evaluated one after the other: a batch would need the memory of all at once.
        """
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
            return np.asarray(
                _combined(jnp.asarray(losses), jnp.asarray(self.weights), self.objective)
            )

    def on(self, rows: np.ndarray | None) -> Self:
        """The same problem on some of the draws."""
        return replace(self, rows=rows)

    def _given(
        self, mixture: np.ndarray
    ) -> tuple[Surface, jax.Array, jax.Array, object, object, object]:
        baseline = jnp.asarray(self.baseline, dtype=jnp.float64)
        return (
            self.surface,
            jnp.asarray(mixture),
            jnp.asarray(self.weights),
            baseline,
            self.rows,
            self.penalties,
        )


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
    lambda losses, weights, objective: jax.vmap(objective.combine, in_axes=(0, None))(
        losses, weights
    ),
    static_argnames=("objective",),
)
