"""Ternary maps of any three domains: predicted loss and expected regret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mpltern  # noqa: F401  registers the projection
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bayesmix.decision.decide import Decision
from bayesmix.decision.problem import Problem
from bayesmix.design import Design, Mixture
from bayesmix.errors import InputError
from bayesmix.plots.style import GREEN, ORANGE, plain
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.stack import Stack

STEPS = 24
"""The grid has (STEPS + 1)(STEPS + 2)/2 mixtures."""
DRAWS = 200
LEVELS = 11
FORBIDDEN = "0.8"
LOSS, REGRET = "viridis_r", "cividis_r"  # light is low, and both are read by colour-blind readers
MARKS = {"natural": ("D", GREEN), "uniform": ("s", "white")}


def ternary_axes(figure: Figure, *position: int) -> Axes:
    """Ternary axes in a figure, for the two maps below; `position` as for `Figure.add_subplot`."""
    return figure.add_subplot(*position, projection="ternary")


def plot_ternary_loss(
    posterior: Posterior | Stack,
    design: Design,
    domains: Sequence[str] | None = None,
    *,
    ax: Axes,
    targets: Mapping[str, float] | None = None,
) -> Axes:
    """Plot the expected loss over three domains; all others keep their shares.

    Args:
        posterior: a fitted posterior.
        design: the shares of the other domains, and the scale; its mixture is marked.
        domains: three domains; those with the largest shares when not given.
        ax: ternary axes, of `ternary_axes`.
        targets: target → weight of the loss that is shown; equal weights when not given.

    Raises:
        InputError: the domains are not three of the posterior's, or the design leaves nothing to
            them.
    """
    names = _three(posterior, design.mixture, domains)
    corner, mixtures = _grid(design.mixture.on(posterior.domains), posterior.domains, names)
    problem = Problem.of(posterior, design.scale, targets=targets, max_draws=DRAWS)
    loss = np.array([problem.combined(problem.losses(h)).mean() for h in mixtures])
    _map(ax, names, corner, loss, LOSS, "expected loss (nats/token)")
    _mark(ax, names, {"chosen": design.mixture, **_known(posterior)})
    return ax


def plot_ternary_regret(
    posterior: Posterior | Stack,
    decision: Decision,
    domains: Sequence[str] | None = None,
    *,
    ax: Axes,
) -> Axes:
    """Plot the expected regret over three domains; all others keep their chosen shares.

    Regret is the loss above that of the best allowed mixture of each draw. Grey is
    below zero: mixtures that would be better and that the constraints forbid.

    Args:
        posterior: posterior of the decision.
        decision: result of `decide`.
        domains: three domains; those with the largest shares when not given.
        ax: ternary axes, of `ternary_axes`.

    Raises:
        InputError: the domains are not three of the posterior's, or the decision leaves nothing to
            them.
    """
    names = _three(posterior, decision.mixture, domains)
    corner, mixtures = _grid(decision.mixture.on(posterior.domains), posterior.domains, names)
    draws = len(decision.regret.losses)
    problem = Problem.of(
        posterior, decision.optimum.scale, targets=decision.optimum.targets, max_draws=draws
    )
    chosen = problem.combined(problem.losses(decision.mixture.on(posterior.domains)))
    lowest = (
        chosen - decision.regret.losses
    ).mean()  # the mean over the draws of each draw's lowest loss
    regret = np.array([problem.combined(problem.losses(h)).mean() for h in mixtures]) - lowest
    _map(ax, names, corner, regret, REGRET, "expected regret (nats)", spread=True)
    _mark(ax, names, {"chosen": decision.mixture, **_known(posterior)})
    return ax


def _known(posterior: Posterior | Stack) -> dict[str, Mixture]:
    natural = {} if posterior.natural is None else {"natural": posterior.natural}
    return {**natural, "uniform": Mixture.uniform(posterior.domains)}


def _three(
    posterior: Posterior | Stack, mixture: Mixture, domains: Sequence[str] | None
) -> tuple[str, ...]:
    shares = mixture.as_dict()
    largest = sorted(posterior.domains, key=lambda d: -shares.get(d, 0.0))[:3]
    names = tuple(domains or largest)
    if len(set(names)) != 3 or not set(names) <= set(posterior.domains):
        raise InputError(
            "a ternary map needs three domains",
            expected=f"three of {list(posterior.domains)}",
            got=list(names),
            advice="Name three.",
        )
    if not sum(shares.get(d, 0.0) for d in names) > 0:
        raise InputError(
            "the three domains have no share to divide",
            expected="a share above 0",
            got=0.0,
            advice="Name others.",
        )
    return names


def _grid(
    mixture: np.ndarray, domains: tuple[str, ...], names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Positions in the triangle (point, 3), and their mixtures (point, domain).

    The mixtures divide the total share of the three domains.
    """
    steps = [(i, j, STEPS - i - j) for i in range(STEPS + 1) for j in range(STEPS + 1 - i)]
    corner = np.array(steps, dtype=float) / STEPS
    # a law may be infinite where a domain it needs has no weight
    inside = np.maximum(corner, 1e-3)
    inside = inside / inside.sum(axis=1, keepdims=True)
    columns = [domains.index(d) for d in names]
    mixtures = np.tile(mixture, (len(corner), 1))
    mixtures[:, columns] = mixture[columns].sum() * inside
    return corner, mixtures


def _map(
    ax: Any,
    names: tuple[str, ...],
    corner: np.ndarray,
    value: np.ndarray,
    colours: str,
    label: str,
    spread=False,
) -> None:
    """Draw filled contours.

    With `spread`, levels grow from zero by a factor, since regret is flat near the optimum.
    """
    low, high = float(value.min()), float(np.quantile(value, 0.98))
    levels = np.linspace(low, high, LEVELS)
    if spread:
        levels = np.append(0.0, np.geomspace(max(low, high / 300), high, LEVELS - 1))
    shades = colormaps[colours].with_extremes(under=FORBIDDEN)
    underflow = value.min() < levels[0]
    filled = ax.tricontourf(
        *corner.T, value, levels=levels, cmap=shades, extend="both" if underflow else "max"
    )
    if underflow:
        ax.fill([], [], [], color=FORBIDDEN, label="better, but not allowed")
    for axis, name in zip((ax.taxis, ax.laxis, ax.raxis), names, strict=True):
        axis.set_label_text(plain(name))
        axis.set_label_position("tick1")
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.set_tick_params(labelsize="small")
    bar = ax.figure.colorbar(
        filled, ax=ax, shrink=0.75, pad=0.13, format="%.2g" if spread else f"%.{_decimals(levels)}f"
    )
    bar.set_label(label)


def _decimals(levels: np.ndarray) -> int:
    """Number of decimals that tell the levels apart."""
    return int(max(0, np.ceil(-np.log10(max(float(np.diff(levels).min()), 1e-9)))))


def _mark(ax: Any, names: tuple[str, ...], mixtures: Mapping[str, Mixture]) -> None:
    for name, mixture in mixtures.items():
        shares = np.array([mixture.as_dict().get(d, 0.0) for d in names])
        if shares.sum() <= 0:
            continue
        marker, colour = MARKS.get(name, ("o", ORANGE))
        size = 9 if name == "chosen" else 6
        ax.plot(
            *(shares / shares.sum())[:, None],
            marker,
            color=colour,
            markersize=size,
            markeredgecolor="black",
            markeredgewidth=0.8,
            linestyle="",
            label=name,
            clip_on=False,
        )
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(-0.2, 1.05))
