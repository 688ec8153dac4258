"""`Belief`: a distribution as a statistician writes it down, with the interval it encodes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpyro.distributions as dist
from scipy import stats

from bayesmix.errors import InputError
from bayesmix.validate import closest

PROB = 0.9
SIGNED = {"mean", "low", "high", "shift"}  # arguments that may be negative or zero

Arguments = dict[str, float | list[float]]


class Family(NamedTuple):
    """A distribution as a statistician writes it.

    Attributes:
        build: arguments → NumPyro distribution; its parameter names are the arguments of the card.
        read: NumPyro distribution → values of these arguments.
        frozen: the same arguments → SciPy distribution, with `entries` for the joint ones.
        joint: whether it is a distribution of several entries at once.
    """

    build: Callable[..., dist.Distribution]
    read: Callable[[Any], tuple[Any, ...]]
    frozen: Callable[..., Any]
    joint: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments."""
        return tuple(name for name in inspect.signature(self.build).parameters if name != "entries")


FAMILIES: Mapping[str, Family] = {
    "Normal": Family(
        lambda mean, sd: dist.Normal(mean, sd),
        lambda b: (b.loc, b.scale),
        lambda mean, sd: stats.norm(mean, sd),
    ),
    "LogNormal": Family(
        lambda median, sd_log: dist.LogNormal(_log(median), sd_log),
        lambda b: (np.exp(np.asarray(b.loc)), b.scale),
        lambda median, sd_log: stats.lognorm(sd_log, scale=median),
    ),
    "HalfNormal": Family(
        lambda sd: dist.HalfNormal(sd), lambda b: (b.scale,), lambda sd: stats.halfnorm(scale=sd)
    ),
    "StudentT": Family(
        lambda df, mean, scale: dist.StudentT(df, mean, scale),
        lambda b: (b.df, b.loc, b.scale),
        lambda df, mean, scale: stats.t(df, mean, scale),
    ),
    "Beta": Family(
        lambda a, b: dist.Beta(a, b),
        lambda b: (b.concentration1, b.concentration0),
        lambda a, b: stats.beta(a, b),
    ),
    "Gamma": Family(
        lambda shape, rate: dist.Gamma(shape, rate),
        lambda b: (b.concentration, b.rate),
        lambda shape, rate: stats.gamma(shape, scale=1 / rate),
    ),
    "InverseGamma": Family(
        lambda shape, scale: dist.InverseGamma(shape, scale),
        lambda b: (b.concentration, b.rate),
        lambda shape, scale: stats.invgamma(shape, scale=scale),
    ),
    "Exponential": Family(
        lambda rate: dist.Exponential(rate),
        lambda b: (b.rate,),
        lambda rate: stats.expon(scale=1 / rate),
    ),
    "Uniform": Family(
        lambda low, high: dist.Uniform(low, high),
        lambda b: (b.low, b.high),
        lambda low, high: stats.uniform(low, high - low),
    ),
    "Dirichlet": Family(
        lambda concentration, entries: dist.Dirichlet(
            np.broadcast_to(np.asarray(concentration, float), (entries,))
        ),
        lambda b: (b.concentration,),
        lambda concentration, entries: stats.beta(concentration, concentration * (entries - 1)),
        joint=True,
    ),
    "ZeroSumNormal": Family(
        lambda sd, entries: dist.ZeroSumNormal(sd, event_shape=(entries,)),
        lambda b: (b.scale,),
        lambda sd, entries: stats.norm(0, sd * math.sqrt(1 - 1 / entries)),
        joint=True,
    ),
}


@dataclass(frozen=True)
class Belief:
    """Prior of one site as a card states it.

    `shift` moves the whole distribution to the right.
    """

    family: str
    arguments: Arguments
    shift: float = 0.0

    @property
    def joint(self) -> bool:
        """Whether it is a distribution of several entries at once."""
        return FAMILIES[self.family].joint

    @property
    def scalar(self) -> bool:
        """Whether all entries of the site share these arguments."""
        return not any(isinstance(value, list) for value in self.arguments.values())

    def same(self, other: Belief) -> bool:
        """Whether both are the same distribution, to the precision of a card."""
        mine, theirs = ({"shift": b.shift} | b.arguments for b in (self, other))
        return self.family == other.family and all(
            np.shape(mine[k]) == np.shape(theirs[k]) and np.allclose(mine[k], theirs[k], rtol=1e-6)
            for k in mine
        )

    def interval(self, entries: int) -> tuple[float, float]:
        """Central 90 % interval of one entry, where all entries share the arguments."""
        family = FAMILIES[self.family]
        frozen = family.frozen(**self.arguments, **({"entries": entries} if family.joint else {}))
        low, high = frozen.ppf([(1 - PROB) / 2, (1 + PROB) / 2])
        return float(low) + self.shift, float(high) + self.shift

    def build(self, entries: int | None) -> dist.Distribution:
        """Build the NumPyro distribution.

        It is one of a vector where the arguments are lists or the family is joint.
        """
        family = FAMILIES[self.family]
        arguments = {
            k: np.array(v) if isinstance(v, list) else v for k, v in self.arguments.items()
        }
        belief: Any = family.build(**arguments, **({"entries": entries} if family.joint else {}))
        if self.shift:
            right = dist.transforms.AffineTransform(self.shift, 1.0, domain=belief.support)
            belief = dist.TransformedDistribution(belief, right)
        return belief if self.scalar or family.joint else belief.to_event(1)

    def __str__(self) -> str:
        inside = ", ".join(
            f"{k}={v}" if isinstance(v, list) else f"{k}={v:g}" for k, v in self.arguments.items()
        )
        return f"{self.family}({inside})" + (f" + {self.shift:g}" if self.shift else "")


def belief_of(distribution: dist.Distribution, label: str) -> Belief:
    """Convert a NumPyro distribution to a `Belief`; `label` names it in errors.

    Raises:
        InputError: cards do not support the distribution.
    """
    base: Any = distribution
    while type(base) in (dist.ExpandedDistribution, dist.Independent):
        base = base.base_dist
    shift = 0.0
    if type(base) is dist.TransformedDistribution:
        base, shift = _unshifted(base)
    family = FAMILIES.get(type(base).__name__)
    if family is None:
        raise InputError(
            f"{label} cannot be written in a card",
            expected=f"one of {', '.join(FAMILIES)}",
            got=type(base).__name__,
            advice="Choose the nearest of these.",
        )
    return Belief(
        type(base).__name__,
        {k: _plain(v) for k, v in zip(family.arguments, family.read(base), strict=True)},
        shift,
    )


def belief_from(table: Mapping[str, Any], label: str) -> Belief:
    """Read a `Belief` from a TOML table: `distribution`, its arguments and perhaps `shift`.

    Raises:
        InputError: the distribution is unknown, or an argument is missing, superfluous or no number
            it can take.
    """
    name = str(table.get("distribution", ""))
    if name not in FAMILIES:
        similar = closest(name, FAMILIES) if name else None
        raise InputError(
            f"{label} has no known distribution",
            expected=f"distribution = one of {', '.join(FAMILIES)}",
            got=repr(name) if name else "none",
            advice=f"Did you mean {similar}?" if similar else "Name one of them.",
        )
    arguments = FAMILIES[name].arguments
    keys = [key for key in table if key not in ("distribution", "shift")]
    if set(keys) != set(arguments):
        raise InputError(
            f"{label} does not have the arguments of {name}",
            expected=", ".join(arguments),
            got=", ".join(keys) or "none",
            advice=(
                f"Write for example {name.lower()}'s {arguments[0]} = 1.0, and remove what is not"
                " listed."
            ),
        )
    belief = Belief(
        name,
        {k: _number(table[k], k, label) for k in arguments},
        float(np.asarray(_number(table.get("shift", 0.0), "shift", label))),
    )
    low, high = belief.arguments.get("low", 0.0), belief.arguments.get("high", 1.0)
    if not np.all(np.less(low, high)):
        raise InputError(
            f"{label} is empty", expected="low < high", got=f"{low} and {high}", advice="Swap them."
        )
    return belief


def _unshifted(base: Any) -> tuple[Any, float]:
    """Split a shifted distribution into the distribution without shift and the shift."""
    *inner, last = base.transforms
    if not (
        isinstance(last, dist.transforms.AffineTransform) and np.all(np.asarray(last.scale) == 1)
    ):
        return base, 0.0
    if not inner:
        return base.base_dist, float(np.asarray(last.loc))
    if type(base.base_dist) is dist.Normal and [type(t) for t in inner] == [
        dist.transforms.ExpTransform
    ]:
        return dist.LogNormal(base.base_dist.loc, base.base_dist.scale), float(np.asarray(last.loc))
    return base, 0.0


def _plain(value: Any) -> float | list[float]:
    """A number, or a list of them where they differ, without the noise of single precision."""
    array = np.asarray(value)
    digits = 6 if array.dtype == np.float32 else 12
    flat = [float(f"{x:.{digits}g}") for x in array.reshape(-1).tolist()]
    return flat[0] if len(set(flat)) == 1 else flat


def _number(value: Any, name: str, label: str) -> float | list[float]:
    """A finite number or a list of them, above 0 unless the argument may have a sign."""
    values: list[Any] = [*value] if isinstance(value, list) and value else [value]
    numbers = all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )
    if not numbers or (name not in SIGNED and min(values) <= 0):
        raise InputError(
            f"{name} of {label} is out of range",
            expected="a finite number"
            + ("" if name in SIGNED else " above 0")
            + ", or a list of them, one a domain",
            got=repr(value),
        )
    plain = [float(v) for v in values]
    return plain if isinstance(value, list) else plain[0]


def _log(median: Any) -> Any:
    """Logarithm that is a Python float for a Python float.

    NumPyro then keeps its full precision whatever JAX's default is.
    """
    return math.log(median) if isinstance(median, float) else np.log(median)
