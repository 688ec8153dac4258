"""Which mixtures are allowed: bounds, groups, stock, trust regions; and the arrays an optimiser needs of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from bayesmix.decision.constraint import Bounds, Constraint, TrustRegion, as_bounds, parse_linear
from bayesmix.decision.region import Region, region
from bayesmix.deprecation import renamed, renamed_keys
from bayesmix.design import Designs, Mixture, Scale, count
from bayesmix.errors import InputError


@renamed(near="trust_region")
@dataclass(frozen=True, eq=False)
class FeasibleSet:
    """The mixtures that are allowed.

    Args:
        bounds: domain → (lowest, highest) share.
        groups: name → (domains, (lowest, highest) share of all of them together).
        linear: constraints in words, such as ``"github + stackexchange <= 0.4"`` or ``"2 * wiki - books >= 0"``; signs
            stand between spaces, and ``<=``, ``>=`` and ``==`` are understood.
        stock: domain → tokens there are; with `epochs`, a domain cannot take more than ``epochs · stock / tokens``.
        epochs: how often a token may be seen.
        fixed: domain → its share.
        trust_region: a trust region, `TrustRegion` or (mixture, radius, "kl" or "tv").
        support: designs whose convex hull the mixture must stay in, usually those of the runs.
    """

    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    groups: Mapping[str, tuple[Sequence[str], Bounds]] = field(default_factory=dict)
    linear: Sequence[str] = ()
    stock: Mapping[str, float] = field(default_factory=dict)
    epochs: float = 1.0
    fixed: Mapping[str, float] = field(default_factory=dict)
    trust_region: TrustRegion | tuple[Mixture, float, Literal["kl", "tv"]] | None = None
    support: Designs | None = None

    def __post_init__(self) -> None:
        if isinstance(self.trust_region, tuple):
            object.__setattr__(self, "trust_region", TrustRegion(*self.trust_region))
        _numbers("epochs", {"epochs": self.epochs}, "a finite number above 0", lambda v: v > 0)
        _numbers("stock", self.stock, "tokens, a finite number above 0", lambda v: v > 0)
        _numbers("fixed", self.fixed, "a share between 0 and 1", lambda v: 0 <= v <= 1)
        for domain, bounds in self.bounds.items():
            as_bounds(domain, bounds)
        _ = [parse_linear(text) for text in self.linear]

    @classmethod
    def from_dict(
        cls, table: Mapping[str, Any], *, natural: Mixture | None = None, runs: Designs | None = None
    ) -> Self:
        """The constraints a TOML table spells out.

        The keys are those of the class; ``groups.NAME`` is a table with ``domains`` and ``bounds``; ``trust_region`` is
        a table with ``mixture`` (a table of weights, or ``"natural"``), ``radius`` and ``measure``; ``support = true``
        stands for the hull of `runs`.

        Raises:
            InputError: a key is unknown, or "natural" or the support is asked for and not known.
        """
        table = renamed_keys(table, "the constraints", near="trust_region")
        unknown = set(table) - {f for f in cls.__dataclass_fields__}
        if unknown:
            raise InputError(
                "the constraints have unknown keys",
                expected=f"keys among {list(cls.__dataclass_fields__)}",
                got=sorted(unknown),
                advice="Remove or rename them.",
            )
        arguments = dict(table)
        for key in ("bounds", "groups", "stock", "fixed", "trust_region"):
            _require_table(key, table.get(key, {}))
        for name, group in table.get("groups", {}).items():
            _require_table(f"groups.{name}", group, ("domains", "bounds"), ("domains", "bounds"))
        if "trust_region" in table:
            _require_table("trust_region", table["trust_region"], ("mixture", "radius", "measure"), ("radius",))
        arguments["linear"] = _listed("linear", table.get("linear", ()))
        arguments["bounds"] = {d: as_bounds(d, b) for d, b in table.get("bounds", {}).items()}
        arguments["groups"] = {
            name: (_listed(f"domains of groups.{name}", group["domains"]), as_bounds(name, group["bounds"]))
            for name, group in table.get("groups", {}).items()
        }
        if "trust_region" in table:
            ball = dict(table["trust_region"])
            centre = ball.pop("mixture", "natural")
            if centre != "natural":
                _require_table("trust_region.mixture", centre)
            centre = _required(natural, "the natural mixture") if centre == "natural" else Mixture(centre)
            arguments["trust_region"] = TrustRegion(centre, **ball)
        arguments["support"] = _required(runs, "the support of the runs") if table.get("support") else None
        return cls(**arguments)

    def at(self, scale: Scale, domains: Sequence[str]) -> Region:
        """The allowed mixtures of `domains` at a scale, as arrays.

        Raises:
            InfeasibleError: no mixture meets all the constraints; the message names the tightest.
            InputError: a constraint names an unknown domain.
        """
        ball = self.trust_region if isinstance(self.trust_region, TrustRegion) else None
        hull = None if self.support is None else np.unique(self.support.on(domains).mixture, axis=0)
        return region(tuple(domains), self.constraints(scale), ball, hull)

    def constraints(self, scale: Scale) -> tuple[Constraint, ...]:
        """Every linear constraint at a scale, in words and numbers."""
        boxes = [Constraint.between(f"share of {d}", {d: 1.0}, *b) for d, b in self.bounds.items()]
        fixed = [Constraint(f"share of {d} = {v:g}", {d: 1.0}, v, v) for d, v in self.fixed.items()]
        groups = [
            Constraint.between(f"group {name}", dict.fromkeys(members, 1.0), *b)
            for name, (members, b) in self.groups.items()
        ]
        stock = [
            Constraint(
                f"stock of {d} ({count(have)} tokens, {self.epochs:g} epochs) <= {cap:.3g}", {d: 1.0}, -np.inf, cap
            )
            for d, have in self.stock.items()
            for cap in [self.epochs * have / scale.tokens]
        ]
        return (*boxes, *fixed, *groups, *(parse_linear(text) for text in self.linear), *stock)

    def __str__(self) -> str:
        lines = [c.name for c in self.constraints(Scale(1.0, 1.0)) if not c.name.startswith("stock")]
        lines += [f"stock of {d}: {count(have)} tokens, {self.epochs:g} epochs" for d, have in self.stock.items()]
        if isinstance(self.trust_region, TrustRegion):
            lines.append(
                f"within {self.trust_region.radius:g} ({self.trust_region.measure}) of {self.trust_region.mixture}"
            )
        if self.support is not None:
            lines.append(f"in the convex hull of {len(self.support)} runs")
        return "\n".join(lines) or "every mixture"


def _numbers(key: str, values: Mapping[str, Any], expected: str, holds: Callable[[float], bool]) -> None:
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and np.isfinite(value) and holds(value)):
            where = key if name == key else f"{key} of {name}"
            raise InputError(f"{where} is out of range", expected=expected, got=repr(value), advice="Correct it.")


def _listed(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise InputError(
            f"{name} is no list", expected='a list of texts, ["a", "b"]', got=repr(value), advice="Correct."
        )
    return tuple(value)


def _require_table(name: str, value: Any, known_keys: Sequence[str] = (), required_keys: Sequence[str] = ()) -> None:
    """Refuse what is no table; with `known_keys`, a table with other keys; or one that lacks a key."""
    keys = list(value) if isinstance(value, Mapping) else None
    if keys is None or not set(required_keys) <= set(keys) or (known_keys and not set(keys) <= set(known_keys)):
        raise InputError(
            f"[{name}] of the constraints is not understood",
            expected=f"a table with {' and '.join(required_keys) or 'one entry a domain'}",
            got=repr(value) if keys is None else f"keys {keys}",
            advice="Correct the table.",
        )


def _required[T](value: T | None, name: str) -> T:
    if value is None:
        raise InputError(
            f"{name} is not known here", expected=name, got="nothing", advice="Give it, or drop the constraint."
        )
    return value
