"""Constraints on a mixture, `Constraint`, `TrustRegion` and `ChanceConstraint`, and parsers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from bayesmix.deprecation import renamed
from bayesmix.design import Mixture
from bayesmix.errors import InputError

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Constraint:
    """One linear constraint on the shares, ``lower ≤ Σ coefficient · share ≤ upper``, by name."""

    name: str
    coefficients: Mapping[str, float]
    lower: float
    upper: float

    @classmethod
    def between(
        cls, label: str, coefficients: Mapping[str, float], lower: float, upper: float
    ) -> Self:
        """A constraint whose name is `label` with the bounds that bind."""
        low = f"{lower:g} <= " if lower > 0 else ""
        high = f" <= {upper:g}" if upper < 1 else ""
        return cls(f"{low}{label}{high}", coefficients, lower, upper)

    def row(self, domains: Sequence[str]) -> np.ndarray:
        """Coefficients (domain) in the order of `domains`."""
        unknown = [d for d in self.coefficients if d not in domains]
        if unknown:
            raise InputError(
                f"the constraint '{self.name}' names an unknown domain",
                expected=f"domains among {list(domains)}",
                got=unknown,
            )
        return np.array([float(self.coefficients.get(d, 0.0)) for d in domains])


@dataclass(frozen=True)
class TrustRegion:
    """A trust region: the mixtures within `radius` of `mixture`.

    Args:
        mixture: the centre h₀; with ``kl``, a domain that has no weight in it gets none.
        radius: above 0; in nats for ``kl``, a share between 0 and 1 for ``tv``.
        measure: ``kl`` is Σ hᵢ log(hᵢ/h₀ᵢ); ``tv`` is ½ Σ |hᵢ − h₀ᵢ|, the share of the tokens that
            changes domain.
    """

    mixture: Mixture
    radius: float
    measure: Literal["kl", "tv"] = "kl"

    def __post_init__(self) -> None:
        if self.measure not in ("kl", "tv"):
            raise InputError(
                "the distance of a trust region is unknown", expected="kl or tv", got=self.measure
            )
        if not (isinstance(self.radius, int | float) and 0 < self.radius < np.inf):
            raise InputError(
                "the trust region is empty",
                expected="a radius above 0",
                got=self.radius,
                advice="Widen it.",
            )


def parse_bounds(texts: Iterable[str]) -> dict[str, Bounds]:
    """Bounds, domain → (lowest, highest) share, from ``["web=0.1:0.6", "wiki=:0.2", "books=0.1"]``.

    A single number fixes the share.

    Raises:
        InputError: a text is not of that form, a domain stands twice, or lowest exceeds highest.
    """
    bounds: dict[str, Bounds] = {}
    for text in texts:
        domain, equals, span = text.rpartition("=")
        low, colon, high = span.partition(":")
        try:
            pair = (float(low or 0.0), float(high or 1.0) if colon else float(low))
        except ValueError:
            equals = ""
            pair = (0.0, 1.0)
        if not equals or not domain or domain.strip() in bounds:
            raise InputError(
                f"{text!r} is not a bound",
                expected="domain=lowest:highest, once a domain",
                got=repr(text),
                advice="Write for example web=0.1:0.6.",
            )
        bounds[domain.strip()] = as_bounds(domain, pair)
    return bounds


def parse_linear(text: str) -> Constraint:
    """A `Constraint` from a text such as ``"github + 0.5 * wiki <= 0.4"``.

    Raises:
        InputError: the text has no single comparison, or a term is not a domain with at most one
            factor.
    """
    sides = re.split(r"\s*(<=|>=|==)\s*", text.strip())
    terms = re.split(r"\s+([+-])\s+", sides[0])
    try:
        lhs, sign, rhs = sides
        bound = float(rhs)
        coefficients: dict[str, float] = {}
        for plus, term in zip(["+", *terms[1::2]], terms[::2], strict=True):
            factor, star, domain = term.rpartition("*")
            value = float(factor) if star else 1.0
            name = domain.strip()
            if not name or not lhs or name.strip("+-") != name:
                raise ValueError(term)
            coefficients[name] = coefficients.get(name, 0.0) + (value if plus == "+" else -value)
    except ValueError:
        raise InputError(
            f"{text!r} is not a linear constraint",
            expected="terms, one of <= >= ==, and a number",
            got=repr(text),
            advice='Write for example "github + 0.5 * wiki <= 0.4", with spaces around + and -.',
        ) from None
    return Constraint(
        text.strip(),
        coefficients,
        -np.inf if sign == "<=" else bound,
        np.inf if sign == ">=" else bound,
    )


def as_bounds(name: str, bounds: object) -> Bounds:
    """Validated bounds (lowest, highest) of a share.

    Raises:
        InputError: the bounds are not two shares in order.
    """
    try:
        low, high = (float(b) for b in bounds)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if not 0 <= low <= high <= 1:
        raise InputError(
            f"the bounds of {name} are not a range of shares",
            expected="two numbers, 0 <= lowest <= highest <= 1",
            got=bounds,
            advice="Shares are fractions: write 0.2 for 20 %.",
        )
    return low, high


@renamed(than="baseline")
@dataclass(frozen=True)
class ChanceConstraint:
    """Chance constraint: with some probability no target is much worse than under a baseline.

    "Much worse" means that a loss exceeds that under the baseline by more than a margin. The
    constraint is imposed in its conservative convex form, CVaR(probability) of the largest excess
    ≤ 0, which implies it (Nemirovski and Shapiro 2006, *SIAM Journal on Optimization* 17).

    Args:
        baseline: the mixture to compare with; the natural one when not given.
        margin: largest excess, as a share of the baseline's loss in the same draw.
        probability: smallest probability, above 0 and below 1.
        targets: the targets that the constraint covers; all when not given.
        name: name of the baseline.
    """

    baseline: Mixture | None = None
    margin: float = 0.01
    probability: float = 0.95
    targets: tuple[str, ...] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise InputError(
                "a chance constraint needs a probability",
                expected="a number above 0 and below 1",
                got=self.probability,
                advice="Give for example 0.95.",
            )

    def __str__(self) -> str:
        subject = "no target" if self.targets is None else f"none of {', '.join(self.targets)}"
        baseline_name = self.name or (
            "the natural mixture" if self.baseline is None else str(self.baseline)
        )
        return f"{subject} worse than under {baseline_name} by more than {100 * self.margin:g}%"
