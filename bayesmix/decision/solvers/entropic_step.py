"""`entropic_step`: minimise entropy plus a linear term over a polytope, as in mirror descent.

On the simplex with bounds the solution is direct; with further constraints a small interior-point
method finds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesmix.decision.solvers.polytope import Polytope, divergence

MAX_STEPS = 60
TOLERANCE = 1e-11
FLATTEST = 1e-7
LEAST = 1e-12
"""Positive number that replaces a weight of 0, from which no later step could move away."""


def entropic_step(
    slope: np.ndarray, centre: np.ndarray, stiffness: np.ndarray, polytope: Polytope
) -> np.ndarray:
    r"""Minimise Σ slopeᵢ xᵢ + Σ stiffnessᵢ (xᵢ log(xᵢ/centreᵢ) − xᵢ) over a polytope.

    A batch of problems is solved at once.

    With ``slope = 0`` this is the Kullback–Leibler projection of `centre`; with ``slope = ∇f`` and
    ``stiffness = 1/η`` it is one step of entropic mirror descent. With nothing but bounds and a
    given sum only the multiplier of the sum is unknown. Else a primal–dual method (Boyd and
    Vandenberghe, *Convex Optimization*, 11.7): Newton on the perturbed optimality conditions,
    reduced to one dense system in the multipliers, which stays small however many variables there
    are.

    Args:
        slope: slopes (batch, variable).
        centre: centres (batch, variable), positive where `stiffness` is.
        stiffness: factors (batch, variable) of the entropy, at least 0; 0 leaves a variable without
            entropy (a lifted one).
        polytope: the polytope; it must not be empty.

    Returns:
        The minimisers (batch, variable). Where a weight would be 0 the answer is a positive number,
        at most near 1e-12.
    """
    free = polytope.free
    if not free.any():
        return np.broadcast_to(polytope.lower, slope.shape).copy()
    fixed = np.where(free, 0.0, polytope.lower)
    equations, rows = (np.abs(a[:, free]).any(axis=1) for a in (polytope.equal, polytope.rows))
    # rows are scaled: a slope can be 1e10 near weight 0
    size = np.maximum(np.abs(polytope.rows[:, free]).max(axis=1, initial=0.0), 1e-300)
    inner = Polytope(
        polytope.lower[free],
        polytope.upper[free],
        polytope.equal[np.ix_(equations, free)],
        (polytope.total - polytope.equal @ fixed)[equations],
        polytope.rows[np.ix_(rows, free)] / size[rows, None],
        ((polytope.limit - polytope.rows @ fixed) / size)[rows],
        _inner_ball(polytope, free, fixed),
    )
    answer = np.broadcast_to(fixed, slope.shape).copy()
    solve = _scale_and_clip if _only_bounds(inner, stiffness[:, free]) else _solve
    answer[:, free] = solve(slope[:, free], centre[:, free], stiffness[:, free], inner)
    return answer


def _only_bounds(p: Polytope, stiffness: np.ndarray) -> bool:
    """Whether there are only bounds and a sum, and each problem has one positive stiffness."""
    box = p.ball is None and not len(p.limit) and len(p.total) == 1 and bool((p.equal == 1).all())
    return box and bool(((stiffness > 0) & (stiffness == stiffness[:, :1])).all())


def _scale_and_clip(
    slope: np.ndarray, centre: np.ndarray, stiffness: np.ndarray, p: Polytope
) -> np.ndarray:
    """xᵢ = clip(centreᵢ exp(μ − slopeᵢ/stiffness), lowerᵢ, upperᵢ) with the μ that gives the sum.

    The sum grows with μ, with a kink where a variable leaves its lower bound or meets its upper
    one. Bisection finds the two kinks that μ lies between; the variables that move there then share
    what the others leave.
    """
    total = p.total[0]
    log_lower, log_upper = (
        np.log(np.maximum(p.lower, LEAST)),
        np.log(np.clip(p.upper, LEAST, total)),
    )
    log_weight = np.log(np.maximum(centre, 1e-300)) - slope / stiffness
    leaves, meets = log_lower - log_weight, log_upper - log_weight
    edges = np.sort(np.concatenate([leaves, meets], axis=1), axis=1)
    batch = np.arange(len(edges))
    first, last = np.zeros(len(edges), dtype=int), np.full(len(edges), edges.shape[1] - 1)
    while (last - first > 1).any():
        middle = (first + last) // 2
        x = np.exp(np.clip(log_weight + edges[batch, middle, None], log_lower, log_upper))
        surplus = x.sum(axis=1) > total
        first, last = np.where(surplus, first, middle), np.where(surplus, middle, last)
    low, high = edges[batch, first, None], edges[batch, last, None]
    moves = (leaves <= low) & (meets >= high)
    at_bound = np.where(moves, 0.0, np.exp(np.where(leaves > low, log_lower, log_upper)))
    peak = np.where(moves, log_weight, -1e300).max(axis=1, keepdims=True)
    weight = np.where(moves, np.exp(np.where(moves, log_weight - peak, 0.0)), 0.0)
    rest = total - at_bound.sum(axis=1, keepdims=True)
    return at_bound + rest * weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)


def _inner_ball(
    polytope: Polytope, free: np.ndarray, fixed: np.ndarray
) -> tuple[np.ndarray, float] | None:
    if polytope.ball is None:
        return None
    reference, radius = polytope.ball
    return reference[free], radius - float(divergence(fixed[~free], reference[~free]))


@dataclass
class _Iterate:
    x: np.ndarray  # (batch, variable)
    slack: np.ndarray  # (batch, row)
    price: np.ndarray  # multiplier of each row (batch, row)
    level: np.ndarray  # multiplier of each equation (batch, equation)
    low: np.ndarray  # multiplier of each lower bound (batch, variable)
    high: np.ndarray  # multiplier of each upper bound (batch, variable)


def _start(
    centre: np.ndarray, slope: np.ndarray, stiffness: np.ndarray, p: Polytope, rows: int
) -> _Iterate:
    width = np.minimum(p.upper - p.lower, 1.0)
    x = p.lower + np.clip(
        np.where(stiffness > 0, centre, 0.5) - p.lower, 0.05 * width, 0.95 * width
    )
    scale = (
        np.maximum(np.abs(slope).max(axis=1, keepdims=True), stiffness.max(axis=1, keepdims=True))
        + 1e-8
    )
    one = np.ones((len(x), rows))
    bounded = np.isfinite(p.upper)
    return _Iterate(
        x=x,
        slack=0.1 * one,
        price=scale * 0.1 * one,
        level=np.zeros((len(x), len(p.total))),
        low=0.1 * scale * np.ones_like(x),
        high=np.where(bounded, 0.1 * scale * np.ones_like(x), 0.0),
    )


def _solve(slope: np.ndarray, centre: np.ndarray, stiffness: np.ndarray, p: Polytope) -> np.ndarray:
    """Primal–dual iterations on a polytope whose variables can all move; see `entropic_step`."""
    log_centre = np.log(np.where(stiffness > 0, np.maximum(centre, 1e-300), 1.0))
    curved = None if p.ball is None else p.ball[0] > 0
    iterate = _start(centre, slope, stiffness, p, len(p.limit) + (p.ball is not None))
    scale = np.abs(slope).max(axis=1) + stiffness.max(axis=1) + 1e-300
    centring = np.full(len(slope), 0.3)
    for _ in range(MAX_STEPS):
        lower_room, upper_room = _room(iterate.x, p)
        rows, value, bend = _rows(iterate.x, p, curved)
        jacobian = np.concatenate(
            [np.broadcast_to(p.equal, (len(rows), *p.equal.shape)), rows], axis=1
        )
        multipliers = np.concatenate([iterate.level, iterate.price], axis=1)
        gradient = slope + stiffness * (np.log(np.maximum(iterate.x, 1e-300)) - log_centre)
        dual = (
            gradient + np.einsum("bmn,bm->bn", jacobian, multipliers) - iterate.low + iterate.high
        )
        balance = np.einsum("mn,bn->bm", p.equal, iterate.x) - p.total
        excess = value + iterate.slack
        pairs = (
            (iterate.slack * iterate.price).sum(1)
            + (iterate.low * lower_room).sum(1)
            + _finite(iterate.high, upper_room).sum(1)
        )
        mean_pair = pairs / (iterate.slack.shape[1] + 2 * iterate.x.shape[1])
        outside = np.maximum(
            np.abs(balance).max(1, initial=0.0), np.abs(excess).max(1, initial=0.0)
        )
        # A weight that tends to exp(−1000) never meets its own optimality condition, and is
        # negligible.
        settled = (np.abs(dual).max(1) < TOLERANCE * scale) | (mean_pair < 1e-3 * TOLERANCE * scale)
        converged = (outside < 100 * TOLERANCE) & (mean_pair < TOLERANCE * scale) & settled
        converged |= mean_pair < 1e-6 * TOLERANCE * scale
        if converged.all():
            break
        target = (centring * mean_pair)[:, None]
        step = _newton(iterate, p, stiffness, jacobian, bend, dual, balance, excess, target, scale)
        length = _step_length(iterate, step, lower_room, upper_room)
        centring = np.where(length > 0.7, 0.1, 0.4)
        for name in ("x", "slack", "price", "level", "low", "high"):
            moved = getattr(iterate, name) + length[:, None] * getattr(step, name)
            setattr(iterate, name, np.where(converged[:, None], getattr(iterate, name), moved))
    return iterate.x


def _room(x: np.ndarray, p: Polytope) -> tuple[np.ndarray, np.ndarray]:
    """Distances of x (batch, variable) to its lower and upper bounds, kept above 0."""
    return np.maximum(x - p.lower, 1e-30 + 1e-16 * p.lower), np.maximum(p.upper - x, 1e-16)


def _finite(multiplier: np.ndarray, room: np.ndarray) -> np.ndarray:
    return multiplier * np.where(np.isfinite(room), room, 0.0)


def _rows(
    x: np.ndarray, p: Polytope, curved: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients and values of the inequalities, and the diagonal of the ball's Hessian.

    Their axes are (batch, row, variable), (batch, row) and (batch, variable).
    """
    rows = np.broadcast_to(p.rows, (len(x), *p.rows.shape))
    value = np.einsum("mn,bn->bm", p.rows, x) - p.limit
    if p.ball is None or curved is None:
        return rows, value, np.zeros_like(x)
    reference, radius = p.ball
    tangent = np.where(curved, np.log(x / np.where(curved, reference, 1.0)) + 1.0, 0.0)
    rows = np.concatenate([rows, tangent[:, None, :]], axis=1)
    value = np.concatenate([value, (divergence(x, reference) - radius)[:, None]], axis=1)
    return rows, value, np.where(curved, 1.0 / x, 0.0)


def _newton(
    iterate: _Iterate,
    p: Polytope,
    stiffness: np.ndarray,
    jacobian: np.ndarray,
    bend: np.ndarray,
    dual: np.ndarray,
    balance: np.ndarray,
    excess: np.ndarray,
    target: np.ndarray,
    scale: np.ndarray,
) -> _Iterate:
    """The Newton direction towards complementarity products of `target`, by a Schur complement."""
    lower_room, upper_room = _room(iterate.x, p)
    equations = p.equal.shape[0]
    diagonal = stiffness / iterate.x + iterate.low / lower_room + iterate.high / upper_room
    if iterate.price.shape[1]:
        diagonal = diagonal + bend * iterate.price[:, -1:]
    # A small proximal term where neither entropy nor a bound has curvature: the system of the
    # multipliers would otherwise lose every digit to cancellation.
    diagonal = np.maximum(diagonal, FLATTEST * scale[:, None])
    right = (
        -dual
        + (target / lower_room - iterate.low)
        - np.where(np.isfinite(upper_room), target / upper_room - iterate.high, 0.0)
    )
    row_right = -excess - target / iterate.price + iterate.slack
    # (J D⁻¹ Jᵀ + diag(0, slack/price)) Δλ = J D⁻¹ r − r_rows, then Δx = D⁻¹ (r − Jᵀ Δλ)
    weighted = jacobian / diagonal[:, None, :]
    system = weighted @ jacobian.swapaxes(1, 2)
    corner = np.concatenate(
        [np.zeros((len(iterate.x), equations)), iterate.slack / iterate.price], axis=1
    )
    index = np.arange(system.shape[1])
    system[:, index, index] += corner + 1e-14 * system[:, index, index]
    system_right = np.einsum("bmn,bn->bm", weighted, right) - np.concatenate(
        [-balance, row_right], axis=1
    )
    move = np.linalg.solve(system, system_right[..., None])[..., 0]
    x = (right - np.einsum("bmn,bm->bn", jacobian, move)) / diagonal
    price = move[:, equations:]
    # Exact where −excess − rows·x would cancel
    slack = (target - iterate.slack * price) / iterate.price - iterate.slack
    return _Iterate(
        x=x,
        slack=slack,
        price=price,
        level=move[:, :equations],
        low=target / lower_room - iterate.low - iterate.low * x / lower_room,
        high=np.where(
            np.isfinite(upper_room),
            target / upper_room - iterate.high + iterate.high * x / upper_room,
            0.0,
        ),
    )


def _step_length(
    iterate: _Iterate, step: _Iterate, lower_room: np.ndarray, upper_room: np.ndarray
) -> np.ndarray:
    """Longest step (batch), at most 1, with positive slacks, multipliers and bound distances."""
    length = np.ones(len(iterate.x))
    positive = (
        (iterate.slack, step.slack),
        (iterate.price, step.price),
        (iterate.low, step.low),
        (iterate.high, step.high),
    )
    for room, move in (*positive, (lower_room, step.x), (upper_room, -step.x)):
        shrinking = (move < 0) & np.isfinite(room)
        ratio = np.where(shrinking, room / np.where(shrinking, -move, 1.0), np.inf)
        length = np.minimum(length, 0.995 * ratio.min(axis=1, initial=np.inf))
    return length
