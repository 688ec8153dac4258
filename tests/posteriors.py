"""Small simulated tables with known parameters, and the posterior of one law fitted to them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import qmc

from bayesmix.design import Designs
from bayesmix.errors import DiagnosticsWarning
from bayesmix.inference.fit import fit
from bayesmix.laws.additive import Additive
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.laws.joint import Joint
from bayesmix.model.discrepancy import Discrepancy
from bayesmix.model.model import Model
from bayesmix.model.simulate import simulate
from bayesmix.posterior.posterior import Posterior
from bayesmix.runs.runs import Runs

DOMAINS = ("web", "code", "books")
TRUTH = {
    "E": [1.2, 0.8],
    "A": [0.5, 0.4],
    "alpha": [0.35, 0.3],
    "B": [0.6, 0.7],
    "beta": [0.4, 0.45],
    "M": [0.7, 0.9],
    "share": [[0.3, 0.4, 0.2, 0.1], [0.2, 0.1, 0.6, 0.1]],
    "gamma": [[0.6, 0.5, 0.7], [0.5, 0.8, 0.6]],
    "sigma": [0.004, 0.004],
    "early": [0.1, 0.1],
    "run_effect": [0.002, 0.001],
    "drift": [0.003, 0.004],
    "drift_mix": [0.001, 0.001],
    "schedule": [0.003, 0.003],
    "extrapolation": [0.2, 0.2],
    "share_A": [[0.5, 0.3, 0.2], [0.2, 0.6, 0.2]],
    "gamma_A": [0.2, 0.15],
    "share_B": [[0.2, 0.2, 0.6], [0.6, 0.2, 0.2]],
    "gamma_B": [0.15, 0.2],
}


def grid(mixtures: int = 12, domains: tuple[str, ...] = DOMAINS) -> Designs:
    """Mixtures × four sizes × three token counts a size, N and D not tied."""
    points = qmc.Sobol(len(domains), seed=1).random(16)[:mixtures]
    weights = -np.log(1 - 0.98 * points - 0.01)
    weights = weights / weights.sum(1, keepdims=True)
    scales = [(n, d) for n in (5e7, 1e8, 2e8, 4e8) for d in (2e9, 6e9, 18e9)]
    return Designs(
        domains,
        np.repeat(weights, len(scales), axis=0),
        np.tile([n for n, _ in scales], mixtures),
        np.tile([d for _, d in scales], mixtures),
    )


def truth_of(model: Model) -> dict[str, np.ndarray]:
    """The true parameters of the sites a model has."""
    return {site: np.array(TRUTH[site]) for site in model.priors(len(DOMAINS))}


def simulated(model: Model, targets: tuple[str, ...] = ("chat", "proofs")) -> Runs:
    """Runs of the grid under the true parameters."""
    return simulate(model, grid(), targets=targets, parameters=truth_of(model), seed=3)


LAWS = {"additive": Additive(), "joint": Joint(), "chinchilla": Chinchilla()}
LAW_NAMES = ("additive", pytest.param("joint", marks=pytest.mark.slow), "chinchilla")
"""For tests of every small posterior; that of the joint law takes two minutes to sample."""


def small_posterior(law: str) -> Posterior:
    """A small posterior of one law, two targets, true parameters known."""
    # refits of the law alone would take their time
    model = Model(LAWS[law], discrepancy=Discrepancy(prequential=False))
    with warnings.catch_warnings():
        # few draws; tests look at what matters to them
        warnings.simplefilter("ignore", DiagnosticsWarning)
        return fit(
            model, simulated(model), seed=0, warmup=300, draws=400, target_accept=0.97, extensions=1
        )
