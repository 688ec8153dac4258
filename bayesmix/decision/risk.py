"""Risk measures, which map the draws of an uncertain loss to the number that is minimised.

A risk takes the draws of one loss and returns one number in nats. Losses are bad when high, so
every risk concerns the upper tail.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import override

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import beta

from bayesmix.errors import InputError


@dataclass(frozen=True)
class Risk(ABC):
    """Risk measure: function from the draws (draw) of a loss to one number in nats.

    Lower is better. A concrete risk implements `__call__` in JAX. `convex` says whether the risk is
    convex and never decreases when a draw increases: then it keeps the convexity of each draw's
    loss in the mixture, and `optimize` can certify its answer.
    """

    @abstractmethod
    def __call__(self, losses: jax.Array) -> jax.Array:
        """The risk of `losses` (draw)."""

    @property
    def convex(self) -> bool:
        """Whether the risk of convex losses is convex."""
        return True

    @staticmethod
    def parse(text: str) -> Risk:
        """The risk named by a text such as ``cvar:0.9``, the text that `str` of a risk gives.

        Raises:
            InputError: the name is unknown, or the number is missing, superfluous or out of range.
        """
        name, _, number = text.strip().partition(":")
        if name not in RISKS:
            raise _unknown(text)
        risk = RISKS[name]
        try:
            return risk(*([float(number)] if number else []))
        except InputError:
            raise
        except (TypeError, ValueError):
            raise _unknown(text) from None

    def __str__(self) -> str:
        name = next(name for name, risk in RISKS.items() if risk is type(self))
        return ":".join([name, *(f"{getattr(self, f.name):g}" for f in fields(self))])

    def __repr__(self) -> str:
        arguments = ", ".join(f"{getattr(self, f.name):g}" for f in fields(self))
        return f"{type(self).__name__}({arguments})"


@dataclass(frozen=True, repr=False)
class Mean(Risk):
    """The expected loss."""

    @override
    def __call__(self, losses: jax.Array) -> jax.Array:
        return jnp.mean(losses)


@dataclass(frozen=True, repr=False)
class Quantile(Risk):
    """The loss that is exceeded with probability 1 − `level`; not convex.

    The estimate of Harrell and Davis (1982, *Biometrika* 69): a weighted mean of the ordered draws
    around the level, which is less noisy than a single order statistic and has a useful gradient.

    Args:
        level: a probability between 0 and 1.
    """

    level: float

    def __post_init__(self) -> None:
        _require(
            "quantile level",
            self.level,
            0 < self.level < 1,
            "a probability strictly between 0 and 1",
        )

    @override
    def __call__(self, losses: jax.Array) -> jax.Array:
        size = losses.shape[0]
        edges = beta.cdf(
            np.arange(size + 1) / size, (size + 1) * self.level, (size + 1) * (1 - self.level)
        )
        return jnp.sort(losses) @ np.diff(edges)

    @property
    @override
    def convex(self) -> bool:
        return False


@dataclass(frozen=True, repr=False)
class CVaR(Risk):
    r"""Conditional value at risk: the mean of the worst 1 − `level` of the draws.

    The fractional form min_c c + Σ max(0, Lᵢ − c) / (n(1 − level)), which counts the draw at the
    edge of the tail in part (Rockafellar and Uryasev 2002, *Journal of Banking & Finance* 26).
    ``CVaR(0)`` is the mean.

    Args:
        level: share of the draws that is left out, at least 0 and below 1.
    """

    level: float

    def __post_init__(self) -> None:
        _require(
            "CVaR level", self.level, 0 <= self.level < 1, "a probability of at least 0 and below 1"
        )

    @override
    def __call__(self, losses: jax.Array) -> jax.Array:
        size = losses.shape[0]
        tail = size * (1 - self.level)
        share = np.clip(tail - np.arange(size), 0, 1) / min(tail, size)
        worst = int(np.ceil(tail - 1e-12)) or 1
        return jnp.sum(jax.lax.top_k(losses, worst)[0] * (share[:worst] / share[:worst].sum()))


@dataclass(frozen=True, repr=False)
class Entropic(Risk):
    r"""Entropic risk (1/a) log mean exp(a L).

    To first order in a it is the mean plus a/2 times the variance.

    Args:
        aversion: a, above 0, in 1/nats.
    """

    aversion: float

    def __post_init__(self) -> None:
        _require(
            "entropic aversion",
            self.aversion,
            0 < self.aversion < np.inf,
            "a finite number above 0",
        )

    @override
    def __call__(self, losses: jax.Array) -> jax.Array:
        return (jax.nn.logsumexp(self.aversion * losses) - jnp.log(losses.shape[0])) / self.aversion


@dataclass(frozen=True, repr=False)
class MeanDeviation(Risk):
    """Mean plus `aversion` times the mean absolute deviation from the mean.

    It is convex, and never decreases when a draw increases, up to an aversion of 1/2 (Ogryczak and
    Ruszczyński 1999).

    Args:
        aversion: factor of the deviation, at least 0.
    """

    aversion: float

    def __post_init__(self) -> None:
        _require(
            "aversion to deviation",
            self.aversion,
            0 <= self.aversion < np.inf,
            "a finite number of at least 0",
        )

    @override
    def __call__(self, losses: jax.Array) -> jax.Array:
        mean = jnp.mean(losses)
        return mean + self.aversion * jnp.mean(jnp.abs(losses - mean))

    @property
    @override
    def convex(self) -> bool:
        return self.aversion <= 0.5


@dataclass(frozen=True, repr=False)
class WorstDraw(Risk):
    """The highest loss of all draws; it grows with the number of draws."""

    @override
    def __call__(self, losses: jax.Array) -> jax.Array:
        return jnp.max(losses)


RISKS: dict[str, Callable[..., Risk]] = {
    "mean": Mean,
    "quantile": Quantile,
    "cvar": CVaR,
    "entropic": Entropic,
    "deviation": MeanDeviation,
    "worst-draw": WorstDraw,
}


def _require(name: str, value: float, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(
            f"the {name} is out of range",
            expected=expected,
            got=value,
            advice="Correct the number.",
        )


def _unknown(text: str) -> InputError:
    return InputError(
        f"{text!r} is not a risk",
        expected=(
            "mean, quantile:LEVEL, cvar:LEVEL, entropic:AVERSION, deviation:AVERSION or worst-draw"
        ),
        got=repr(text),
        advice="Write for example cvar:0.9, the mean of the worst tenth.",
    )
