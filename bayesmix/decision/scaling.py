"""Decisions across scales: path of the optimum, compute-optimal size and crossovers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack, cast

import numpy as np
from scipy.optimize import OptimizeResult, minimize_scalar

from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.optimize import Options, optimize
from bayesmix.decision.optimum import Optimum
from bayesmix.decision.per_draw import lowest_per_draw
from bayesmix.decision.problem import Problem
from bayesmix.decision.protocols import PosteriorLike
from bayesmix.deprecation import renamed
from bayesmix.design import Axis, Mixture, Scale, count, grow
from bayesmix.errors import InputError
from bayesmix.runtime.progress import bar
from bayesmix.text import clipped

SHOWN = 3  # number of domains in a printed path


def scales_along(
    start: Scale, factor: float, *, along: Axis = "flops", points: int = 5
) -> tuple[Scale, ...]:
    """`points` scales in equal ratios from `start` to `factor` times as much along an axis."""
    if points < 2 or not factor > 0:
        raise InputError(
            "there is no path",
            expected="a factor above 0 and 2 points or more",
            got=(factor, points),
        )
    return tuple(grow(along)(start, float(f)) for f in np.geomspace(1.0, factor, points))


@dataclass(frozen=True, eq=False)
class Path:
    """Optima at growing scales.

    Attributes:
        optima: one optimum per scale.
        bands: 5 % and 95 % quantile (scale, 2, domain) of the share in the mixture that is best for
            each draw.
    """

    optima: tuple[Optimum, ...]
    bands: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Shares (scale, domain) of the optima."""
        return np.array([o.mixture.weights for o in self.optima])

    def as_dict(self) -> dict[str, Any]:
        """Dictionary ready for JSON."""
        bands = [
            {
                d: {"q05": float(low), "q95": float(high)}
                for d, low, high in zip(o.mixture.domains, *band, strict=True)
            }
            for o, band in zip(self.optima, self.bands, strict=True)
        ]
        return {
            "path": [
                o.as_dict() | {"best_share": b} for o, b in zip(self.optima, bands, strict=True)
            ]
        }

    def __str__(self) -> str:
        domains = self.optima[0].mixture.domains
        columns = sorted(range(len(domains)), key=lambda i: -self.shares[:, i].max())[:SHOWN]
        lines = [
            f"{'params':>7} {'tokens':>7}  {'loss':>6}"
            + "".join(f"  {clipped(domains[i], 13):>13}" for i in columns)
        ]
        for o, share, (low, high) in zip(self.optima, self.shares, self.bands, strict=True):
            cells = "".join(
                f"  {f'{100 * share[i]:.0f}% [{100 * low[i]:.0f}, {100 * high[i]:.0f}]':>13}"
                for i in columns
            )
            lines.append(
                f"{count(o.scale.params):>7} {count(o.scale.tokens):>7}  {o.loss.mean:6.4g}{cells}"
            )
        rest = (
            f"; {len(domains) - len(columns)} smaller domains are not shown"
            if len(domains) > len(columns)
            else ""
        )
        return "\n".join(
            [*lines, "", f"share [90 % of the draws have their own best share in here]{rest}"]
        )


@renamed(within="feasible", promises="chance_constraints", against="baselines", look="regret_draws")
def path(
    posterior: PosteriorLike,
    scales: Sequence[Scale],
    *,
    regret_draws: int = 200,
    **options: Unpack[Options],
) -> Path:
    """The optimum at every scale, with bands of the best shares.

    The bands are from `regret_draws` draws; the options are the arguments of `optimize`.
    """
    optima, bands = [], []
    for scale in bar(scales, doing="path", unit="scale"):
        optima.append(optimize(posterior, scale, **options))
        bands.append(_best_shares(posterior, optima[-1], regret_draws, options))
    return Path(tuple(optima), np.stack(bands))


def _best_shares(
    posterior: PosteriorLike, optimum: Optimum, look: int, options: Options
) -> np.ndarray:
    """5 % and 95 % quantile (2, domain) of the share in the best mixture of each draw."""
    region = (options.get("feasible") or FeasibleSet()).at(optimum.scale, posterior.domains)
    problem = Problem.of(posterior, optimum.scale, targets=optimum.targets, max_draws=look)
    optima, _ = lowest_per_draw(problem, region)
    return np.quantile(optima, [0.05, 0.95], axis=0)


@dataclass(frozen=True, eq=False)
class ComputeOptimum:
    """Compute-optimal parameters, tokens and mixture for a budget.

    Attributes:
        optimum: the mixture at the best scale.
        flops: the budget 6·N·D.
        params: 5 %, 50 % and 95 % quantile over the draws of the N that is best for the chosen
            mixture.
        at_edge: whether the best N is at the end of the range that was searched.
    """

    optimum: Optimum
    flops: float
    params: tuple[float, float, float]
    at_edge: bool

    def as_dict(self) -> dict[str, Any]:
        """Dictionary ready for JSON."""
        return {
            **self.optimum.as_dict(),
            "flops": self.flops,
            "params_band": list(self.params),
            "at_edge": self.at_edge,
        }

    def __str__(self) -> str:
        low, middle, high = map(count, self.params)
        edge = (
            "\nthe best N is at the edge of the range looked at: widen it" if self.at_edge else ""
        )
        return (
            f"{self.flops:.3g} FLOPs: best N over the draws {middle} [{low},"
            f" {high}]{edge}\n{self.optimum}"
        )


@renamed(within="feasible", promises="chance_constraints", against="baselines")
def compute_optimal(
    posterior: PosteriorLike,
    flops: float,
    *,
    params: tuple[float, float],
    points: int = 7,
    **options: Unpack[Options],
) -> ComputeOptimum:
    """Parameters, tokens and mixture that jointly minimise the risk under ``6·N·D = flops``.

    The optimum over mixtures is a function of log N alone; it is evaluated on a grid and refined by
    Brent's method.

    Args:
        posterior: the fitted losses.
        flops: the budget.
        params: smallest and largest N.
        points: grid points.
        **options: arguments of `optimize`.

    Raises:
        InputError: the range of N is empty or the budget is not above 0.
    """
    low, high = params
    if not (0 < low < high and 0 < flops < np.inf):
        raise InputError(
            "there is nothing to choose from",
            expected="0 < smallest N < largest N and a budget above 0",
            got=(params, flops),
            advice="Correct the range or the budget.",
        )

    def scale(log_params: float) -> Scale:
        size = float(np.exp(log_params))
        return Scale(size, flops / (6 * size))

    def value(log_params: float) -> float:
        return optimize(posterior, scale(log_params), **options).value

    grid = np.linspace(np.log(low), np.log(high), points)
    values = np.array([value(x) for x in bar(grid, doing="sizes", unit="size")])
    best = int(np.argmin(values))
    bracket = grid[max(best - 1, 0)], grid[min(best + 1, points - 1)]
    options_brent = {"xatol": 0.01, "maxiter": 12}
    refined = cast(
        OptimizeResult,
        minimize_scalar(value, bounds=bracket, method="bounded", options=options_brent),
    )
    best_log_params = float(refined.x) if refined.fun < values[best] else float(grid[best])
    optimum = optimize(posterior, scale(best_log_params), **options)
    fine = np.linspace(grid[0], grid[-1], 65)
    losses = np.stack([_losses(posterior, scale(x), optimum.mixture, options) for x in fine])
    params_per_draw = np.exp(fine[np.argmin(losses, axis=0)])
    band = tuple(float(q) for q in np.quantile(params_per_draw, [0.05, 0.5, 0.95]))
    at_edge = best in (0, points - 1) and abs(best_log_params - grid[best]) < 0.05 * (
        grid[1] - grid[0]
    )
    return ComputeOptimum(optimum, flops, (band[0], band[1], band[2]), at_edge)


def _losses(
    posterior: PosteriorLike, scale: Scale, mixture: Mixture, options: Options
) -> np.ndarray:
    problem = Problem.of(
        posterior, scale, targets=options.get("targets"), max_draws=options.get("max_draws")
    )
    return problem.combined(problem.losses(mixture.on(posterior.domains)))


@dataclass(frozen=True, eq=False)
class Crossover:
    """Change of preference between two mixtures along a series of scales.

    Attributes:
        scales: the scales, growing.
        first_better: probability (scale) that the first mixture has the lower loss.
        changes: share of the draws in which the preference at the largest scale is not that at the
            smallest.
        flops: 5 %, 50 % and 95 % quantile of the FLOPs at the change, over the draws that change;
            None when none do.
        names: names of the two mixtures.
    """

    scales: tuple[Scale, ...]
    first_better: np.ndarray
    changes: float
    flops: tuple[float, float, float] | None
    names: tuple[str, str] = ("first", "second")

    def as_dict(self) -> dict[str, Any]:
        """Dictionary ready for JSON."""
        return {
            "mixtures": list(self.names),
            "scales": [{"params": s.params, "tokens": s.tokens} for s in self.scales],
            "probability_first_better": self.first_better.tolist(),
            "probability_of_change": self.changes,
            "flops": None if self.flops is None else list(self.flops),
        }

    def __str__(self) -> str:
        first, second = self.names
        lines = [f"{'params':>7} {'tokens':>7}  {'FLOPs':>8}  P({first} better than {second})"]
        lines += [
            f"{count(s.params):>7} {count(s.tokens):>7}  {s.flops:8.2g}  {p:.2f}"
            for s, p in zip(self.scales, self.first_better, strict=True)
        ]
        where = (
            ""
            if self.flops is None
            else ", at {1:.2g} [{0:.2g}, {2:.2g}] FLOPs".format(*self.flops)
        )
        return "\n".join(
            [*lines, f"the preference changes with probability {self.changes:.2f}{where}"]
        )


def crossover(
    posterior: PosteriorLike,
    first: Mixture,
    second: Mixture,
    scales: Sequence[Scale],
    *,
    targets: Mapping[str, float] | None = None,
    max_draws: int | None = None,
    names: tuple[str, str] = ("first", "second"),
) -> Crossover:
    """The scale at which the better of two mixtures changes, draw by draw.

    Between the given scales the difference of the losses is interpolated in log FLOPs.

    Args:
        posterior: the fitted losses.
        first: a mixture.
        second: another one.
        scales: at least two, in growing order of FLOPs; `scales_along` makes them.
        targets: target → weight; equal weights when not given.
        max_draws: use at most this many draws.
        names: names of the two mixtures.

    Raises:
        InputError: the scales do not grow.
    """
    axis = np.log([s.flops for s in scales])
    if len(scales) < 2 or (np.diff(axis) <= 0).any():
        raise InputError(
            "the scales do not grow",
            expected="two or more, FLOPs increasing",
            got=list(scales),
            advice="Sort them.",
        )
    options: Options = {"targets": targets, "max_draws": max_draws}
    edge = np.stack(
        [
            _losses(posterior, s, first, options) - _losses(posterior, s, second, options)
            for s in scales
        ]
    )
    changed = (edge[0] < 0) != (edge[-1] < 0)
    flops = None
    if changed.any():
        lead = np.where(edge[0] > 0, edge, -edge)[:, changed]
        end = np.argmax(lead <= 0, axis=0)
        end = np.clip(end, 1, len(scales) - 1)
        column = np.arange(lead.shape[1])
        high, low = lead[end - 1, column], lead[end, column]
        log_flops = axis[end - 1] + high / np.where(high > low, high - low, 1.0) * (
            axis[end] - axis[end - 1]
        )
        low_q, middle, high_q = np.quantile(np.exp(log_flops), [0.05, 0.5, 0.95])
        flops = (float(low_q), float(middle), float(high_q))
    return Crossover(tuple(scales), (edge < 0).mean(axis=1), float(changed.mean()), flops, names)
