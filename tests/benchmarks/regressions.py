"""Baselines for tables at one N and D: LightGBM as RegMix trains it, and the additive law by least squares."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares
from scipy.stats import spearmanr

from bayesmix.laws.simplex import power
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64

# arXiv 2407.01492 and its code, without its early stopping on the test set
LIGHTGBM = {
    "objective": "regression",
    "metric": "l2",
    "learning_rate": 0.01,
    "seed": 42,
    "verbosity": -1,
}
ROUNDS = 1000
STARTS = 3


def boosted_trees(train: Runs, test: Runs) -> np.ndarray:
    """Losses (run, target) that LightGBM predicts from the weights."""
    import lightgbm  # of the dependency group `benchmark`, which tests do without

    found = []
    for target in range(len(train.targets)):
        data = lightgbm.Dataset(train.mixture, train.loss[:, target])
        trees = lightgbm.train({**LIGHTGBM, "num_threads": 1}, data, ROUNDS)
        found.append(np.asarray(trees.predict(test.mixture)))
    return np.stack(found, axis=1)


@jax.jit
def _law(x: jax.Array, mixture: jax.Array) -> jax.Array:
    """E + 1/(C₀ + Σ Cᵢ hᵢ^γᵢ) (run); x = log E, log C₀, log C, log γ."""
    domains = mixture.shape[1]
    c, gamma = jnp.exp(x[2 : 2 + domains]), jnp.exp(x[2 + domains :])
    return jnp.exp(x[0]) + 1 / (jnp.exp(x[1]) + power(mixture, gamma) @ c)


_slope = jax.jit(jax.jacfwd(_law))


def least_squares_law(train: Runs, test: Runs, seed: int = 0) -> np.ndarray:
    """Losses (run, target) of E + 1/(C₀ + Σ Cᵢ hᵢ^γᵢ) fitted by least squares, the best of a few starts."""
    domains, found = len(train.domains), []
    with enable_x64():
        mixture = jnp.asarray(train.mixture)
        for target in range(len(train.targets)):
            loss = train.loss[:, target]
            fits = []
            for start in range(STARTS):
                rng = np.random.default_rng([seed, target, start])
                x = np.concatenate(
                    [
                        [np.log(0.6 * loss.min()), np.log(0.5 / loss.min())],
                        rng.normal(np.log(1 / loss.min()), 0.5, domains),
                        rng.normal(np.log(0.6), 0.3, domains),
                    ]
                )
                fits.append(
                    least_squares(
                        lambda x, loss=loss: np.asarray(_law(x, mixture)) - loss,
                        x,
                        jac=lambda x: np.asarray(_slope(x, mixture)),
                        bounds=(-12.0, 6.0),
                        max_nfev=300,
                    )
                )
            best = min(fits, key=lambda fit: fit.cost)
            found.append(np.asarray(_law(best.x, jnp.asarray(test.mixture))))
    return np.stack(found, axis=1)


def spearman(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Rank correlation over runs, the mean over targets."""
    pairs = zip(predicted.T, measured.T, strict=True)
    return float(np.mean([spearmanr(p, m).statistic for p, m in pairs]))


def mse(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Mean squared error, the mean over targets."""
    return float(((predicted - measured) ** 2).mean())
