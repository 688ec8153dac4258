"""Plots of loss against N, D or compute, and of the sizes of the runs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from bayesmix.design import Axis, Design, Designs, Scale, count, grow
from bayesmix.plots.style import (
    BLUE,
    DENSE,
    GREY,
    ORANGE,
    calm,
    fill_bands,
    flops_axis,
    key,
    key_above,
    shade,
    size_axis,
    titled,
)
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.stack import Stack

POINTS = 40
NEAR_SIZE, NEAR_MIXTURE = 0.05, 0.05
"""Tolerances of a run on the curve: 5 % of its other size, and 0.05 of total variation."""
CARRIED = 200
"""Largest number of runs carried to the curve."""


def plot_loss_by_size(
    posterior: Posterior | Stack,
    design: Design,
    *,
    target: str,
    ax: Axes,
    along: Axis = "params",
    reach: float = 1.5,
    carried: bool = True,
) -> Axes:
    """Plot the loss of one mixture against N, D or compute, with 50 and 90 % bands.

    The curve goes beyond the fitted sizes. Runs on the curve are drawn as measured. Other runs are
    carried to the curve, without the difference that the law predicts: measured loss × predicted
    loss on the curve / predicted loss of the run.

    Args:
        posterior: a fitted posterior.
        design: the mixture to show, at a scale that the curve passes through; the scale is marked.
        target: the target whose loss is shown.
        ax: axes to draw on.
        along: size on the axis: ``params`` N, ``tokens`` D, or ``flops`` at the design's tokens per
            parameter.
        reach: end of the axis beyond the largest run, and beyond the design, as a factor.
        carried: whether to show the runs that are not on the curve.
    """
    fitted, column = posterior.designs, posterior.targets.index(target)
    place = _place(fitted, along)
    anchor = float(_place(Designs.of(design), along)[0])
    low, high = min(place.min(), anchor) / 1.15, max(place.max(), anchor) * reach
    curve = np.geomspace(low, high, POINTS)
    weights = design.mixture.on(posterior.domains)
    fill_bands(
        ax, curve, posterior.predict(_curve(posterior, design, along, curve)).draws[:, :, column]
    )
    on_curve = _on_curve(fitted, design.scale, along) & (
        0.5 * np.abs(fitted.mixture - weights).sum(1) < NEAR_MIXTURE
    )
    if carried:
        rows = np.flatnonzero(~on_curve & np.isfinite(posterior.runs.loss[:, column]))
        _draw_carried(posterior, design, along, rows, column, ax)
    if on_curve.any():
        measured = posterior.runs.loss[on_curve, column]
        ax.plot(
            place[on_curve], measured, "o", color=ORANGE, markersize=5, label="measured", zorder=3
        )
    shade(ax, place.max(), high)
    if low < place.min() / 1.2:
        shade(ax, low, place.min())
    ax.axvline(
        anchor,
        ymax=0.5,
        color="black",
        linewidth=0.9,
        linestyle=":",
        label=_named(design.scale, along),
    )
    ax.set_xlim(low, high)
    _size_axis(ax, design.scale, along)
    ax.set_ylabel("loss (nats/token)")
    titled(ax, target)
    key(ax, loc="upper right")
    return calm(ax)


def plot_scales(designs: Designs, *, ax: Axes, flagship: Scale | None = None) -> Axes:
    """Plot N and D of the runs, with larger dots for more runs, and of the flagship.

    Args:
        designs: designs of the runs.
        ax: axes to draw on.
        flagship: the scale to decide at.
    """
    cells, counts = np.unique(
        np.stack([designs.params, designs.tokens]), axis=1, return_counts=True
    )
    area = 12 + 80 * np.sqrt(counts / counts.max())
    dots = ax.scatter(
        *cells, s=area, color=BLUE, alpha=0.55, linewidth=0, label=f"{len(designs)} measured points"
    )
    dots.set_rasterized(len(counts) > DENSE)
    sizes = cells
    if flagship is not None:
        point = np.array([[flagship.params], [flagship.tokens]])
        ax.plot(*point, "*", color=ORANGE, markersize=13, label="to decide at", linestyle="")
        sizes = np.hstack([cells, point])
    (n_low, d_low), (n_high, d_high) = sizes.min(axis=1), sizes.max(axis=1)
    ax.set_xlim(n_low / 1.6, n_high * 1.6)
    ax.set_ylim(d_low / 1.6, d_high * 1.6)
    size_axis(ax.xaxis, "model parameters N")
    size_axis(ax.yaxis, "training tokens D")
    key_above(ax)
    return calm(ax)


def _place(designs: Designs, along: Axis) -> np.ndarray:
    """Position (run) on the axis."""
    return {"params": designs.params, "tokens": designs.tokens, "flops": designs.flops}[along]


def _curve(
    posterior: Posterior | Stack, design: Design, along: Axis, positions: np.ndarray
) -> Designs:
    """Designs of the mixture at positions (point) along its curve."""
    anchor = _place(Designs.of(design), along)[0]
    scales = [grow(along)(design.scale, float(value / anchor)) for value in positions]
    weights = np.tile(design.mixture.on(posterior.domains), (len(positions), 1))
    n, d = np.array([[s.params, s.tokens] for s in scales]).T
    return Designs(posterior.domains, weights, n, d)


def _on_curve(designs: Designs, scale: Scale, along: Axis) -> np.ndarray:
    """Whether the size that is not on the axis is that of the scale (run)."""
    n, d = np.log(designs.params / scale.params), np.log(designs.tokens / scale.tokens)
    return np.abs({"params": d, "tokens": n, "flops": d - n}[along]) < NEAR_SIZE


def _draw_carried(
    posterior: Posterior | Stack,
    design: Design,
    along: Axis,
    rows: np.ndarray,
    column: int,
    ax: Axes,
) -> None:
    if not rows.size:
        return
    rows = rows[
        np.unique(np.linspace(0, len(rows) - 1, min(len(rows), CARRIED)).round().astype(int))
    ]
    runs = posterior.designs.take(rows)
    positions = _place(runs, along)
    sizes, index = np.unique(positions, return_inverse=True)
    curve_loss = posterior.predict(_curve(posterior, design, along, sizes), noise=False).quantile(
        0.5
    )[index, column]
    run_loss = posterior.predict(runs, noise=False).quantile(0.5)[:, column]
    ax.plot(
        positions,
        posterior.runs.loss[rows, column] * curve_loss / run_loss,
        "o",
        color=GREY,
        alpha=0.5,
        markersize=3,
        markeredgewidth=0,
        label="other runs, carried here",
        zorder=1.5,
        rasterized=len(rows) > DENSE,
    )


def _named(scale: Scale, along: Axis) -> str:
    return {"params": f"N = {count(scale.params)}", "tokens": f"D = {count(scale.tokens)}"}.get(
        along, str(scale)
    )


def _size_axis(ax: Axes, scale: Scale, along: Axis) -> None:
    match along:
        case "params":
            size_axis(ax.xaxis, f"model parameters N, at D = {count(scale.tokens)} tokens")
        case "tokens":
            size_axis(ax.xaxis, f"training tokens D, at N = {count(scale.params)} parameters")
        case _:
            ratio = count(scale.tokens / scale.params)
            flops_axis(ax.xaxis, f"training compute 6·N·D (FLOPs), at D/N = {ratio}")
