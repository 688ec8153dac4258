"""Objectives, which combine the losses of several targets, and the texts that name them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, override

import jax
import jax.numpy as jnp

from bayesmix.decision.risk import Mean, Risk, WorstDraw
from bayesmix.errors import InputError


@dataclass(frozen=True)
class Objective(ABC):
    """Function from the losses of all targets to one loss, for one draw.

    A `Risk` then maps the draws to one number. A concrete objective implements `combine`.
    `relative_to` names the baseline that is subtracted from the losses first: nothing, the loss of
    each target under its own best mixture, or the loss of each draw under its own best mixture.
    """

    relative_to: ClassVar[Literal["nothing", "target", "draw"]] = "nothing"
    name: ClassVar[str] = ""

    @abstractmethod
    def combine(self, losses: jax.Array, weights: jax.Array) -> jax.Array:
        """One loss from the losses (target) and the weights (target) of the targets, of sum 1."""

    def __call__(self, losses: jax.Array, weights: jax.Array, risk: Risk) -> jax.Array:
        """The objective of loss draws (draw, target)."""
        return risk(jax.vmap(self.combine, in_axes=(0, None))(losses, weights))

    @property
    def convex(self) -> bool:
        """Whether the objective is convex when every loss and the risk are."""
        return True

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class WeightedLoss(Objective):
    """The weighted mean of the targets' losses."""

    @override
    def combine(self, losses: jax.Array, weights: jax.Array) -> jax.Array:
        return losses @ weights


@dataclass(frozen=True)
class DrawRegret(Objective):
    """The weighted mean loss minus the lowest that any allowed mixture has in the same draw."""

    name: ClassVar[str] = "regret"
    relative_to: ClassVar[Literal["nothing", "target", "draw"]] = "draw"

    @override
    def combine(self, losses: jax.Array, weights: jax.Array) -> jax.Array:
        return losses @ weights


@dataclass(frozen=True)
class WorstTarget(Objective):
    """The highest loss among the targets that have weight."""

    name: ClassVar[str] = "worst-target"

    @override
    def combine(self, losses: jax.Array, weights: jax.Array) -> jax.Array:
        return _worst(losses, weights)


@dataclass(frozen=True)
class TargetRegret(Objective):
    """The highest regret of any target.

    The regret of a target is its loss minus its loss under the mixture that is best for it alone: a
    target's own best mixture minimises the same risk of its loss over the same allowed mixtures.
    """

    name: ClassVar[str] = "max-regret"
    relative_to: ClassVar[Literal["nothing", "target", "draw"]] = "target"

    @override
    def combine(self, losses: jax.Array, weights: jax.Array) -> jax.Array:
        return _worst(losses, weights)


@dataclass(frozen=True)
class Custom(Objective):
    """A function of all loss draws, used instead of a risk.

    Args:
        function: JAX function of the losses (draw, target) in nats that returns a number; lower is
            better.
        declared_convex: whether it is convex and never decreases when a loss increases, so that a
            certificate holds.
    """

    function: Callable[[jax.Array], jax.Array]
    declared_convex: bool = False
    name: ClassVar[str] = "custom"

    @override
    def combine(self, losses: jax.Array, weights: jax.Array) -> jax.Array:
        return losses @ weights

    @override
    def __call__(self, losses: jax.Array, weights: jax.Array, risk: Risk) -> jax.Array:
        return self.function(losses)

    @property
    @override
    def convex(self) -> bool:
        return self.declared_convex


OBJECTIVES: dict[str, Objective] = {
    o.name: o for o in (WeightedLoss(), DrawRegret(), WorstTarget(), TargetRegret())
}


def criterion(text: str) -> tuple[Objective, Risk]:
    """Objective and risk from a text ``RISK``, ``OBJECTIVE`` or ``OBJECTIVE/RISK``.

    ``cvar:0.9`` is a risk of the weighted loss; ``worst-target`` and ``max-regret`` stand for their
    mean over draws; ``worst-target/cvar:0.9`` names both; ``minimax-regret`` is
    ``regret/worst-draw``.

    Raises:
        InputError: the text names neither.
    """
    if text.strip() == "minimax-regret":
        return DrawRegret(), WorstDraw()
    name, slash, risk = text.strip().partition("/")
    if name in OBJECTIVES and name:
        return OBJECTIVES[name], Risk.parse(risk) if slash else Mean()
    if slash:
        raise InputError(
            f"{name!r} is not an objective", expected=", ".join(filter(None, OBJECTIVES)), got=name
        )
    return WeightedLoss(), Risk.parse(text)


def criterion_text(objective: Objective, risk: Risk) -> str:
    """Text of an objective and a risk, which `criterion` parses."""
    if not objective.name or isinstance(objective, Custom):
        return objective.name or str(risk)
    return objective.name if isinstance(risk, Mean) else f"{objective.name}/{risk}"


def target_weights(
    targets: tuple[str, ...], weights: Mapping[str, float] | None
) -> tuple[float, ...]:
    """Weights (target) that sum to 1, equal when none are given.

    Raises:
        InputError: a name is not a target, a weight is negative or not finite, or all are 0.
    """
    if weights is None:
        return tuple(1 / len(targets) for _ in targets)
    unknown = [t for t in weights if t not in targets]
    if unknown:
        raise InputError(
            "the weights name unknown targets",
            expected=f"targets among {list(targets)}",
            got=unknown,
        )
    values = [float(weights.get(t, 0.0)) for t in targets]
    total = sum(values)
    if not (min(values) >= 0 and 0 < total < float("inf")):
        raise InputError(
            "the weights of the targets are not weights",
            expected="finite numbers of at least 0, some above",
            got=dict(weights),
            advice="Correct them; they are divided by their sum.",
        )
    return tuple(v / total for v in values)


def _worst(losses: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.max(jnp.where(weights > 0, losses, -jnp.inf))
