"""Drift of posterior draws: at the cells of the runs, and beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.design import Designs
from bayesmix.model.brownian import octaves
from bayesmix.model.data import Data
from bayesmix.model.discrepancy import Draws, draw
from bayesmix.model.grid import Cells, Misfit
from bayesmix.model.likelihood import DRIFT, Form, relative_errors
from bayesmix.model.model import BoundModel
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64, one_blas_thread

SITES = ("drift_surface", "drift_schedule", "drift_paths", "drift_beyond")
"""Sites of the drift.

f at the cells of the runs (cell); rises of c over its pieces (knot) and of the paths inside the
runs (path), if there are any; and t, the share of its own fall beyond the runs by which the law is
wrong.
"""

BEYOND = 1
"""Second entry of the seed of t, which separates it from other seeds."""
TREND = 0.03
"""Share of the range of losses over the sizes of the runs above which a miss deserves a remark."""


@one_blas_thread
def drift_draws(
    model: BoundModel, runs: Runs, draws: Mapping[str, np.ndarray], weight: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Draw the drift (chain, draw, target, ...) given the runs and the parameters of every draw.

    Args:
        model: model bound to the runs.
        runs: the fitted runs.
        draws: parameters (chain, draw, target, ...).
        weight: weights of the training runs (train_run, target), as in the likelihood.
        seed: random seed of the draws.

    Returns:
        Site → values; empty for a model without discrepancy.
    """
    if model.discrepancy is None:
        return {}
    chains, size = next(iter(draws.values())).shape[:2]
    by_target: list[Draws | None] = []
    with enable_x64():
        data = model.data(runs, pad=True)._replace(weight=weight)  # type: ignore
        for t in range(len(runs.targets)):
            if data.misfit is None:
                by_target.append(None)
                continue
            theta = {
                site: jnp.asarray(v[:, :, t].reshape(-1, 1, *v.shape[3:]))
                for site, v in draws.items()
            }
            keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), t), chains * size)
            flat = _drift(model.form, theta, data.target(t), keys)
            by_target.append(jax.tree.map(lambda v: np.asarray(v).reshape(chains, size, -1), flat))
    return drift_sites(model, runs, by_target, draws["extrapolation"], seed)


def drift_sites(
    model: BoundModel,
    runs: Runs,
    by_target: Sequence[Draws | None],
    extrapolation: np.ndarray,
    seed: int,
) -> dict[str, np.ndarray]:
    """Join the draws of the drift of all targets, without padding.

    Args:
        model: model bound to the runs.
        runs: the fitted runs.
        by_target: draws (chain, draw, ...) of each target; None where the drift does not differ
            between the runs.
        extrapolation: scale of t (chain, draw, target).
        seed: random seed of t.

    Returns:
        Site → values (chain, draw, target, ...).
    """
    cells = model.cells(runs)
    if cells is None:
        return {}
    chains, draws, targets = extrapolation.shape
    fall_share = extrapolation * np.random.default_rng([seed, BEYOND]).normal(
        size=extrapolation.shape
    )
    if not cells.moves:  # all runs are at the reference, where there is none
        return {
            SITES[0]: np.zeros((chains, draws, targets, len(cells.points))),
            SITES[-1]: fall_share,
        }
    drifts = [drift for drift in by_target if drift is not None]
    directions, steps = cells.directions.shape[1], int(cells.inside.sum())
    surface, schedule, paths = (np.stack(values, axis=2) for values in zip(*drifts, strict=True))
    if directions:
        paths = paths.reshape(chains, draws, targets, directions, -1)[..., :steps]
    by_site = {
        SITES[0]: surface[..., : len(cells.points)],
        SITES[1]: schedule[..., : len(cells.ends) - 1],
        SITES[2]: paths.reshape(chains, draws, targets, -1)[..., : directions * steps],
    }
    return {site: value for site, value in by_site.items() if value.shape[-1]} | {
        SITES[-1]: fall_share
    }


def draws_of(sites: Mapping[str, jax.Array], misfit: Misfit) -> Draws:
    """Drift of one draw and one target, as `effect` takes it.

    The misfit is that of the same runs, without padding.
    """
    empty = misfit.psi.shape[1] * misfit.passed.shape[1]
    return Draws(
        sites[SITES[0]],
        sites.get(SITES[1], jnp.zeros(misfit.remaining.shape[1])),
        sites.get(SITES[2], jnp.zeros(empty)),
    )


@partial(jax.jit, static_argnums=0)
def _drift(form: Form, theta: dict[str, jax.Array], data: Data, keys: jax.Array) -> Draws:
    def one(item: tuple[dict[str, jax.Array], jax.Array]) -> Draws:
        theta, key = item
        errors, _ = relative_errors(form, theta, data)
        scales = {site: theta[site][0] for site in DRIFT}
        assert data.misfit is not None
        return draw(scales, errors.target(0), data.misfit, key)

    return jax.lax.map(one, (theta, keys), batch_size=16)


def paths(
    cells: Cells, sites: Mapping[str, np.ndarray], scale: np.ndarray, seed: int
) -> np.ndarray:
    """Rises (draw, target, path) of all paths, drawn anew beyond the runs.

    Args:
        cells: cells of the runs.
        sites: drift of the draws (draw, target, ...).
        scale: `drift_mix` (draw, target).
        seed: random seed of the rises beyond the runs; they belong to the draws, so the same seed
            is used for every design.
    """
    directions = cells.directions.shape[1]
    fresh = np.random.default_rng(seed).normal(size=(*scale.shape, directions, len(cells.steps)))
    values = scale[..., None, None] * np.sqrt(cells.steps) * fresh
    if SITES[2] in sites:
        values[..., cells.inside] = sites[SITES[2]].reshape(*scale.shape, directions, -1)
    return values.reshape(*scale.shape, -1)


def surface(
    cells: Cells,
    sites: Mapping[str, np.ndarray],
    scale: np.ndarray,
    fall: np.ndarray,
    designs: Designs,
    octaves_left: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Relative drift (1 + f + c) e^(t φ) − 1 (draw, run, target) at new designs.

    Designs of one (N, D) share a value of f. Beyond the runs f keeps its value where they end: the
    misses of laws there are in t, whose prior was learned from whole misses, and would count twice.

    Args:
        cells: cells of the runs.
        sites: drift of the draws (draw, target, ...).
        scale: `drift` (draw, target).
        fall: φ (draw, run, target), the law's own fall beyond the runs.
        designs: the new designs.
        octaves_left: octaves (run) from each design to the end of its schedule.
        seed: random seed of f given its values at the cells.
    """
    scales, index = np.unique(
        np.stack([designs.params, designs.tokens]), axis=1, return_inverse=True
    )
    _, first = np.unique(index.reshape(-1), return_index=True)
    weights, root = cells.extend(cells.clipped(designs.take(first)))
    fresh = np.random.default_rng(seed).normal(size=(*scale.shape, scales.shape[1]))
    values = sites[SITES[0]] @ weights.T + scale[..., None] * (fresh @ root.T)
    common = values[..., index.reshape(-1)].swapaxes(1, 2)
    if SITES[1] in sites:
        common = common + (sites[SITES[1]] @ cells.before_end(octaves_left).T).swapaxes(1, 2)
    return (1 + common) * np.exp(sites[SITES[-1]][:, None] * fall) - 1


def trend_remarks(
    cells: Cells, runs: Runs, sites: Mapping[str, np.ndarray]
) -> tuple[tuple[str, ...], ...]:
    """Remarks (target, remark) on laws that miss the trend of losses over the sizes of the runs.

    A law misses it where the surface, which is orthogonal to what the law can bend to, is more than
    twice its own standard deviation and more than `TREND` of the range of the mean losses of the
    cells, both as root mean squares.

    Args:
        cells: cells of the runs.
        runs: the fitted runs.
        sites: drift of the draws (chain, draw, target, ...).
    """
    cell = cells.nearest(octaves(runs.designs, cells.scale))
    remarks = []
    for t in range(len(runs.targets)):
        f = sites[SITES[0]][:, :, t].reshape(-1, len(cells.points))
        losses = [
            runs.loss[(cell == c) & np.isfinite(runs.loss[:, t]), t]
            for c in range(len(cells.points))
        ]
        level = np.array([np.exp(np.log(one).mean()) if len(one) else np.nan for one in losses])
        fall = np.log(np.nanmax(level) / np.nanmin(level))
        missed, unsure = (float(np.sqrt(np.mean(np.square(v)))) for v in (f.mean(0), f.std(0)))
        nats = float(np.sqrt(np.nanmean(np.square(f.mean(0) * level))))
        if fall > 0 and missed > max(2 * unsure, TREND * fall):
            remarks.append(
                (
                    (
                        f"the law alone misses the trend over the sizes of the runs by {nats:.3g}"
                        f" nats ({missed / fall:.0%} of its range); the discrepancy mends it there"
                        " and not beyond: extrapolation is unsafe; try another law, or fit without"
                        " the smallest sizes or token counts"
                    ),
                )
            )
        else:
            remarks.append(())
    return tuple(remarks)
