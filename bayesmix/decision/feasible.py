"""`FeasibleSet`: the allowed mixtures, by bounds, groups, stock, trust region and support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from bayesmix.decision.constraint import Bounds, Constraint, TrustRegion, as_bounds, parse_linear
from bayesmix.decision.feasible_region import region
from bayesmix.decision.solvers.region import Region
from bayesmix.deprecation import renamed, renamed_keys
from bayesmix.design import Designs, Mixture, Scale, count
from bayesmix.errors import InputError
from bayesmix.validate import finite, known_keys, strings, subtable

CONSTRAINTS = "the constraints"


@renamed(near="trust_region")
@dataclass(frozen=True, eq=False)
class FeasibleSet:
    """Set of allowed mixtures.

    Args:
        bounds: domain → (lowest, highest) share.
        groups: name → (domains, (lowest, highest) share of all of them together).
        linear: linear constraints as texts, such as ``"github + stackexchange <= 0.4"`` or
            ``"2 * wiki - books >= 0"``; signs stand between spaces, and ``<=``, ``>=`` and ``==``
            are understood.
        stock: domain → available tokens; with `epochs`, a domain cannot take more than
            ``epochs · stock / tokens``.
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
        finite(self.epochs, "epochs", "a finite number above 0", lambda v: v > 0)
        for domain, tokens in self.stock.items():
            finite(tokens, f"stock of {domain}", "tokens, a finite number above 0", lambda v: v > 0)
        for domain, share in self.fixed.items():
            finite(share, f"fixed of {domain}", "a share between 0 and 1", lambda v: 0 <= v <= 1)
        for domain, bounds in self.bounds.items():
            as_bounds(domain, bounds)
        _ = [parse_linear(text) for text in self.linear]

    @classmethod
    def from_dict(
        cls,
        table: Mapping[str, Any],
        *,
        natural: Mixture | None = None,
        runs: Designs | None = None,
    ) -> Self:
        """Feasible set from a TOML table.

        The keys are those of the class; ``groups.NAME`` is a table with ``domains`` and ``bounds``;
        ``trust_region`` is a table with ``mixture`` (a table of weights, or ``"natural"``),
        ``radius`` and ``measure``; ``support = true`` stands for the hull of `runs`.

        Raises:
            InputError: a key is unknown, or "natural" or the support is asked for and not known.
        """
        table = renamed_keys(table, CONSTRAINTS, near="trust_region")
        if "near" in table:
            raise InputError(
                "a trust region is given twice",
                expected="trust_region",
                got="trust_region and near, its old name",
                advice="Remove near.",
            )
        known_keys(table, cls.__dataclass_fields__, CONSTRAINTS)
        arguments = dict(table)
        for key in ("bounds", "groups", "stock", "fixed"):
            subtable(table, key, CONSTRAINTS)
        arguments["linear"] = strings(table.get("linear", ()), "linear")
        arguments["bounds"] = {d: as_bounds(d, b) for d, b in table.get("bounds", {}).items()}
        arguments["groups"] = dict(
            _group(table["groups"], name) for name in table.get("groups", {})
        )
        if "trust_region" in table:
            arguments["trust_region"] = _trust_region(table, natural)
        arguments["support"] = (
            _known(runs, "the support of the runs") if table.get("support") else None
        )
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
        """Every linear constraint at a scale, with its name."""
        boxes = [Constraint.between(f"share of {d}", {d: 1.0}, *b) for d, b in self.bounds.items()]
        fixed = [Constraint(f"share of {d} = {v:g}", {d: 1.0}, v, v) for d, v in self.fixed.items()]
        groups = [
            Constraint.between(f"group {name}", dict.fromkeys(members, 1.0), *b)
            for name, (members, b) in self.groups.items()
        ]
        stock = [
            Constraint(
                f"stock of {d} ({count(have)} tokens, {self.epochs:g} epochs) <= {cap:.3g}",
                {d: 1.0},
                -np.inf,
                cap,
            )
            for d, have in self.stock.items()
            for cap in [self.epochs * have / scale.tokens]
        ]
        return (*boxes, *fixed, *groups, *(parse_linear(text) for text in self.linear), *stock)

    def __str__(self) -> str:
        lines = [
            c.name for c in self.constraints(Scale(1.0, 1.0)) if not c.name.startswith("stock")
        ]
        lines += [
            f"stock of {d}: {count(have)} tokens, {self.epochs:g} epochs"
            for d, have in self.stock.items()
        ]
        if isinstance(self.trust_region, TrustRegion):
            lines.append(
                f"within {self.trust_region.radius:g} ({self.trust_region.measure}) of"
                f" {self.trust_region.mixture}"
            )
        if self.support is not None:
            lines.append(f"in the convex hull of {len(self.support)} runs")
        return "\n".join(lines) or "every mixture"


def _group(groups: Mapping[str, Any], name: str) -> tuple[str, tuple[tuple[str, ...], Bounds]]:
    place, keys = f"groups.{name}", ("domains", "bounds")
    group = known_keys(subtable({place: groups[name]}, place, CONSTRAINTS, keys), keys, place)
    domains = strings(group["domains"], f"domains of {place}")
    return name, (domains, as_bounds(name, group["bounds"]))


def _trust_region(table: Mapping[str, Any], natural: Mixture | None) -> TrustRegion:
    keys = ("mixture", "radius", "measure")
    options = subtable(table, "trust_region", CONSTRAINTS, ("radius",))
    ball = dict(known_keys(options, keys, "[trust_region]"))
    mixture = ball.pop("mixture", "natural")
    if mixture == "natural":
        return TrustRegion(_known(natural, "the natural mixture"), **ball)
    if not isinstance(mixture, Mapping):
        raise InputError(
            "mixture of [trust_region] is no mixture",
            expected='"natural", or a table [trust_region.mixture] of weights',
            got=repr(mixture),
        )
    return TrustRegion(Mixture(mixture), **ball)


def _known[T](value: T | None, name: str) -> T:
    if value is None:
        raise InputError(
            f"{name} is not known here",
            expected=name,
            got="nothing",
            advice="Give it, or drop the constraint.",
        )
    return value
