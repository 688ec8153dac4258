"""The drift that belongs to posterior draws: at the cells of the runs, and beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.compute import double, one_blas_thread
from bayesmix.design import Designs
from bayesmix.discrepancy import Cells, Draws, Errors, draw
from bayesmix.model import DRIFT, Data, Form, Model, relative_errors
from bayesmix.runs.table import Runs

SITES = ("drift_surface", "drift_paths")
"""f at the cells of the runs (cell), and increments of the paths inside the runs (path), if there are any."""


@one_blas_thread
def drift_draws(
    model: Model, runs: Runs, draws: Mapping[str, np.ndarray], weight: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """The drift (chain, draw, target, ...) given the parameters of every draw and the runs; empty without one.

    Args:
        model: with a reference.
        runs: what it was fitted to.
        draws: parameters (chain, draw, target, ...).
        weight: of the training runs (train_run, target), as the likelihood had it.
        seed: of the draws.
    """
    chains, size = next(iter(draws.values())).shape[:2]
    found: list[Draws | None] = []
    with double():
        assert model.reference is not None
        cells = model.cells(runs.designs)
        data = Data.of(runs, model.reference, runs.targets, pad=True, cells=cells)._replace(weight=weight)  # type: ignore
        for t in range(len(runs.targets)):
            if data.misfit is None:
                found.append(None)
                continue
            theta = {site: jnp.asarray(v[:, :, t].reshape(-1, 1, *v.shape[3:])) for site, v in draws.items()}
            keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), t), chains * size)
            flat = _drift(model.form, theta, data.target(t), keys)
            found.append(jax.tree.map(lambda v: np.asarray(v).reshape(chains, size, -1), flat))
    return drift_sites(model, runs, found, (chains, size))


def drift_sites(
    model: Model, runs: Runs, by_target: Sequence[Draws | None], shape: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Draws (chain, draw, ...) of the drift of each target, without padding: site → (chain, draw, target, ...).

    Args:
        model: with a reference.
        runs: what it was fitted to.
        by_target: None where the drift does not differ between the runs.
        shape: chains and draws.
    """
    cells = model.cells(runs.designs)
    if cells is None:
        return {}
    if not cells.moves:  # all runs are at the reference, where there is none
        return {SITES[0]: np.zeros((*shape, len(by_target), 1))}
    sizes = (len(cells.points), cells.directions.shape[1] * int(cells.inside.sum()))
    found = [drift for drift in by_target if drift is not None]
    by_site = zip(SITES, zip(*found, strict=True), sizes, strict=True)
    return {site: np.stack([v[..., :used] for v in values], axis=2) for site, values, used in by_site if used}


@partial(jax.jit, static_argnums=0)
def _drift(form: Form, theta: dict[str, jax.Array], data: Data, keys: jax.Array) -> Draws:
    def one(item: tuple[dict[str, jax.Array], jax.Array]) -> Draws:
        theta, key = item
        errors, _ = relative_errors(form, theta, data)
        spread = {site: theta[site][0] for site in DRIFT}
        assert data.misfit is not None
        return draw(spread, of_target(errors), data.misfit, key)

    return jax.lax.map(one, (theta, keys), batch_size=16)


def of_target(errors: Errors) -> Errors:
    """The errors of the only target."""
    return jax.tree.map(lambda v: v[..., 0], errors)


def paths(cells: Cells, sites: Mapping[str, np.ndarray], spread: np.ndarray, seed: int) -> np.ndarray:
    """All increments (draw, target, path) of the paths: those inside the runs, and new ones beyond them.

    Args:
        cells: of the runs.
        sites: the drift of the draws (draw, target, ...).
        spread: `drift_mix` (draw, target).
        seed: of the increments beyond the runs; they belong to the draws, so the same seed is used for every design.
    """
    increments = np.diff(cells.knots)
    directions = cells.directions.shape[1]
    fresh = np.random.default_rng(seed).normal(size=(*spread.shape, directions, len(increments)))
    values = spread[..., None, None] * np.sqrt(increments) * fresh
    if "drift_paths" in sites:
        values[..., cells.inside] = sites["drift_paths"].reshape(*spread.shape, directions, -1)
    return values.reshape(*spread.shape, -1)


def surface(
    cells: Cells,
    sites: Mapping[str, np.ndarray],
    spread: np.ndarray,
    further: np.ndarray,
    designs: Designs,
    seed: int,
) -> np.ndarray:
    """f + g (draw, run, target) at new designs; designs of one (N, D) share a value.

    Args:
        cells: of the runs.
        sites: the drift of the draws (draw, target, ...).
        spread: `drift` (draw, target).
        further: `drift_far` (draw, target).
        designs: where to look.
        seed: of what the cells leave open.
    """
    scales, index = np.unique(np.stack([designs.params, designs.tokens]), axis=1, return_inverse=True)
    _, first = np.unique(index.reshape(-1), return_index=True)
    there = designs.take(first)
    weights, root = cells.extend(there)
    rng = np.random.default_rng(seed)
    shape = (*spread.shape, scales.shape[1])
    values = sites["drift_surface"] @ weights.T + spread[..., None] * (rng.normal(size=shape) @ root.T)
    values += further[..., None] * (rng.normal(size=shape) @ cells.beyond(there).T)
    return values[..., index.reshape(-1)].swapaxes(1, 2)
