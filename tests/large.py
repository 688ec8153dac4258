"""A posterior of any size, made of random draws around known parameters without sampling."""

from __future__ import annotations

import numpy as np

from bayesmix.design import Designs, Mixture
from bayesmix.laws.additive import Additive
from bayesmix.model.data import Reference
from bayesmix.model.model import Model
from bayesmix.model.noise import StudentT
from bayesmix.model.simulate import draw_parameters, simulate
from bayesmix.posterior.posterior import Posterior
from bayesmix.runs.runs import Runs

JITTER = 0.02


def invented(
    domains: tuple[str, ...],
    targets: tuple[str, ...],
    *,
    rows: int = 200,
    chains: int = 4,
    draws: int = 125,
    seed: int = 0,
) -> Posterior:
    """A posterior whose draws scatter by 2 % around the parameters of its simulated runs.

    Four checkpoints a training run, at five sizes; rows is a multiple of 4.
    """
    rng = np.random.default_rng(seed)
    runs = rows // 4
    weights = np.repeat(rng.dirichlet(np.ones(len(domains)), runs), 4, axis=0)
    params = np.repeat(np.resize([3e7, 1e8, 3e8, 6e8, 1e9], runs), 4)
    tokens = np.tile([2e9, 4e9, 8e9, 16e9], runs) * np.repeat(np.resize([1.0, 1.5, 3.0], runs), 4)
    designs = Designs(domains, weights, params, tokens, tuple(f"r{i}" for i in range(4 * runs)))
    blank = np.full((len(designs), len(targets)), 3.0)
    model = Model(Additive(), noise=StudentT(), discrepancy=None)
    model = model.at(Reference.of(Runs(designs, targets, blank)))
    truth = draw_parameters(model, targets, len(domains), seed) | {
        "sigma": np.full(len(targets), 0.004)
    }
    truth["E"] = np.minimum(truth["E"], 0.8 * 3.0)  # a floor stays below the smallest loss
    losses = simulate(model, designs, targets=targets, parameters=truth, seed=seed).loss
    stats = {
        "diverging": np.zeros((chains, draws, len(targets)), bool),
        "energy": rng.standard_normal((chains, draws, len(targets))),
        "steps": np.full((chains, draws, len(targets)), 15.0),
        "accept": np.full((chains, draws, len(targets)), 0.9),
    }
    sample = {site: _around(value, (chains, draws), site, rng) for site, value in truth.items()}
    return Posterior(
        model,
        Runs(designs, targets, losses, tuple(f"t{i // 4}" for i in range(len(designs)))),
        sample,
        stats,
        seed,
        {"bayesmix": "0"},
        Mixture.of(domains, weights.mean(axis=0) / weights.mean(axis=0).sum()),
    )


def _around(
    value: np.ndarray, size: tuple[int, int], site: str, rng: np.random.Generator
) -> np.ndarray:
    """Draws (chain, draw, target, ...) near a value, on the simplex where the value is."""
    near = value * np.exp(JITTER * rng.standard_normal((*size, *value.shape)))
    return near / near.sum(axis=-1, keepdims=True) if site.startswith("share") else near
