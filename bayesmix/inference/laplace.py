"""The Laplace approximation: a fast substitute for NUTS.

Draws around the posterior mode carry importance weights; Pareto k̂ says how far to trust them.
"""

from __future__ import annotations

import numpy as np

from bayesmix.inference.gaussian import approximate
from bayesmix.inference.problems import problems_of
from bayesmix.model.model import Model
from bayesmix.posterior.discrepancy import drift_draws
from bayesmix.posterior.posterior import Posterior
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import one_blas_thread, package_versions


@one_blas_thread
def laplace(
    model: Model, runs: Runs, *, seed: int = 0, draws: int = 1000, starts: int = 3
) -> tuple[Posterior, np.ndarray]:
    """Approximate the posterior of the model given the runs, a hundred times faster than `fit`.

    In the law's own coordinates the posterior is nearly Gaussian. Draws of a Student-t with the
    curvature at the mode are weighted by the true density, Pareto-smoothed, and resampled in
    proportion to their weights.

    Args:
        model: law, prior and noise.
        runs: the measured points.
        seed: random seed of starts and draws.
        draws: number of draws.
        starts: number of optimisations for each target.

    Returns:
        The posterior as one chain of independent draws, and Pareto k̂ of each target (target).
        Where k̂ is 0.7 or more the draws are in effect those of the approximation alone: use `fit`.
    """
    model = model.bind(runs)
    fits = [
        approximate(problem, seed, draws, starts) for problem in problems_of(model, runs, seed=seed)
    ]
    theta = {
        site: np.concatenate([fit.theta[site] for fit in fits], axis=1)[None]
        for site in fits[0].theta
    }
    weight = np.concatenate([np.asarray(fit.problem.data.weight) for fit in fits], axis=1)
    nothing = np.zeros((1, draws, len(runs.targets)))
    stats = {name: nothing for name in ("energy", "steps", "accept", "potential")} | {
        "diverging": nothing > 0
    }
    drift = drift_draws(model, runs, theta, weight, seed)
    posterior = Posterior(model, runs, theta, stats, seed, package_versions(), drift=drift)
    return posterior, np.array([fit.khat for fit in fits])
