"""The region of mixtures that meet all constraints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linprog

from bayesmix.decision.constraint import Constraint, TrustRegion
from bayesmix.decision.solvers.entropic_step import entropic_step
from bayesmix.decision.solvers.polytope import LP_OPTIONS, Polytope, divergence, linear_program
from bayesmix.decision.solvers.region import SLACK, Region
from bayesmix.errors import InfeasibleError


def region(
    domains: tuple[str, ...],
    constraints: Sequence[Constraint] = (),
    trust_region: TrustRegion | None = None,
    hull: np.ndarray | None = None,
) -> Region:
    """The mixtures of `domains` that meet all constraints.

    Args:
        domains: names of the domains.
        constraints: linear constraints.
        trust_region: a trust region.
        hull: mixtures (run, domain) whose convex hull contains the region.

    Raises:
        InfeasibleError: there is no such mixture.
    """
    size = len(domains)
    hull = np.zeros((0, size)) if hull is None else hull
    centre = None if trust_region is None else trust_region.mixture.on(domains)
    lifted = size if trust_region is not None and trust_region.measure == "tv" else 0
    extra = len(hull) + lifted
    rows = [(c, np.append(c.row(domains), np.zeros(extra))) for c in constraints]
    base = _base(size, hull, centre if lifted else None)
    if trust_region is not None and centre is not None:
        if trust_region.measure == "kl":
            base.upper[:size][centre == 0] = 0.0
        else:
            name = f"total variation of {trust_region.radius:g} around {trust_region.mixture}"
            budget = np.append(np.zeros(size + len(hull)), np.ones(size))
            rows.append((Constraint(name, {}, -np.inf, trust_region.radius), budget))
    _require_feasible(base, rows)
    polytope = _pin(_impose(base, rows), size)
    if trust_region is not None and trust_region.measure == "kl":
        polytope = _with_ball(polytope, trust_region, size, domains)
    return Region(domains, polytope)


def _base(size: int, hull: np.ndarray, centre: np.ndarray | None) -> Polytope:
    """The simplex, lifted for a hull and a centre.

    With `hull` the mixtures h are combinations of its rows; with a centre there are variables
    ≥ h − centre.
    """
    atoms, lifted = len(hull), 0 if centre is None else size
    width = size + atoms + lifted
    equal = np.zeros((1, width))
    equal[0, slice(size, size + atoms) if atoms else slice(0, size)] = 1.0
    if atoms:
        link = np.hstack([np.eye(size), -hull.T, np.zeros((size, lifted))])
        equal = np.vstack([equal, link])
    rows = (
        np.hstack([np.eye(size), np.zeros((size, atoms)), -np.eye(size)])
        if lifted
        else np.zeros((0, width))
    )
    return Polytope(
        lower=np.zeros(width),
        upper=np.ones(width),
        equal=equal,
        total=np.append(1.0, np.zeros(len(equal) - 1)),
        rows=rows,
        limit=np.zeros(0) if centre is None else centre.copy(),
    )


def _impose(base: Polytope, rows: Sequence[tuple[Constraint, np.ndarray]]) -> Polytope:
    """The polytope `base` with the constraints imposed.

    A constraint on one variable becomes a bound, one with equal sides an equation, any other rows.
    """
    lower, upper = base.lower.copy(), base.upper.copy()
    equal, total, inequalities, limit = [base.equal], [base.total], [base.rows], [base.limit]
    for constraint, row in rows:
        used = np.flatnonzero(row)
        if len(used) == 1 and row[used[0]] > 0:
            lower[used] = np.maximum(lower[used], constraint.lower / row[used])
            upper[used] = np.minimum(upper[used], constraint.upper / row[used])
        elif constraint.lower == constraint.upper:
            equal.append(row[None])
            total.append(np.array([constraint.upper]))
        else:
            sides = [(row, constraint.upper), (-row, -constraint.lower)]
            inequalities.extend(side[None] for side, bound in sides if bound < np.inf)
            limit.extend(np.array([bound]) for _, bound in sides if bound < np.inf)
    return Polytope(
        lower,
        np.maximum(upper, lower),
        np.vstack(equal),
        np.concatenate(total),
        np.vstack(inequalities),
        np.concatenate(limit),
    )


def _pin(polytope: Polytope, size: int) -> Polytope:
    """The same polytope, with shares that the constraints determine fixed in the bounds."""
    lower, upper = polytope.lower.copy(), polytope.upper.copy()
    for variable in range(size):
        slope = np.eye(1, len(lower), variable)[0]
        low, high = (linear_program(sign * slope, polytope).x[variable] for sign in (1, -1))
        if high - low < SLACK:
            lower[variable] = upper[variable] = np.clip(
                0.5 * (low + high), lower[variable], upper[variable]
            )
    return replace(polytope, lower=lower, upper=upper)


def _with_ball(
    polytope: Polytope, trust_region: TrustRegion, size: int, domains: tuple[str, ...]
) -> Polytope:
    centre = np.append(trust_region.mixture.on(domains), np.zeros(len(polytope.lower) - size))
    stiffness = (centre > 0).astype(float)
    closest = entropic_step(np.zeros((1, len(centre))), centre[None], stiffness[None], polytope)[0]
    distance = float(divergence(closest, centre))
    if distance >= trust_region.radius:
        raise InfeasibleError(
            "no mixture satisfies all the constraints",
            expected=(
                f"a mixture within {trust_region.radius:g} nats (kl) of {trust_region.mixture}"
            ),
            got=f"a distance of at least {distance:.3g} under the other constraints",
            advice=f"Widen the trust region beyond {distance:.3g}, or relax the others.",
        )
    return replace(polytope, ball=(centre, trust_region.radius))


def _require_feasible(base: Polytope, rows: Sequence[tuple[Constraint, np.ndarray]]) -> None:
    """Check that some mixture meets all the constraints.

    An elastic linear program relaxes every side of every constraint at a cost of 1 a unit; the
    constraints are feasible when the lowest cost is 0.

    Raises:
        InfeasibleError: no mixture does; the message names the constraint with the highest price,
            then the tightest bound, and those that conflict with it.
    """
    sides = [(c, row, c.upper) for c, row in rows if c.upper < np.inf]
    sides += [(c, -row, -c.lower) for c, row in rows if c.lower > -np.inf]
    if not sides:
        return
    count, width = len(sides), len(base.lower)
    elastic = linprog(
        np.append(np.zeros(width), np.ones(count)),
        A_ub=np.vstack(
            [
                np.hstack([base.rows, np.zeros((len(base.limit), count))]),
                np.hstack([np.array([row for _, row, _ in sides]), -np.eye(count)]),
            ]
        ),
        b_ub=np.append(base.limit, [bound for _, _, bound in sides]),
        A_eq=np.hstack([base.equal, np.zeros((len(base.total), count))]),
        b_eq=base.total,
        bounds=np.vstack(
            [np.column_stack([base.lower, base.upper]), np.tile([0.0, np.inf], (count, 1))]
        ),
        options=LP_OPTIONS,
    )
    if elastic.fun <= SLACK:
        return
    price = -elastic.ineqlin.marginals[len(base.limit) :]
    blamed = sorted(np.flatnonzero(price > 1e-9), key=lambda i: (-round(price[i], 9), sides[i][2]))
    names = list(dict.fromkeys(sides[i][0].name for i in blamed))
    opponents = f" against {', '.join(repr(n) for n in names[1:4])}" if len(names) > 1 else ""
    remainder = f" and {len(names) - 4} more" if len(names) > 4 else ""
    raise InfeasibleError(
        "no mixture satisfies all the constraints",
        expected="constraints that some mixture meets",
        got=f"'{names[0]}'{opponents}{remainder}, {elastic.fun:.3g} short of each other",
        advice=f"Relax '{names[0]}', the tightest, or the others, by {elastic.fun:.3g} in all.",
    )
