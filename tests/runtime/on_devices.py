"""The process of `test_devices`: a fit and scores of candidates, and the number of devices."""

from __future__ import annotations

import json
import warnings
from typing import Any

import jax

from bayesmix.acquisition import functions
from bayesmix.acquisition.functions import InformationGain, score_pool
from bayesmix.acquisition.pool import Pool
from bayesmix.inference import chains as sampling
from bayesmix.inference.fit import fit
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.model.model import Model
from tests.posteriors import grid, simulated

if __name__ == "__main__":
    warnings.simplefilter("ignore")  # few draws
    chains, candidates, segment, each = set(), set(), sampling.run_segment, functions.score_each

    def watched_segment(*given: Any) -> Any:
        found = segment(*given)
        chains.update(found[1].z.devices())
        return found

    def watched_each(of_one: Any, view: Any, runs: jax.Array) -> jax.Array:
        candidates.update(runs.devices())
        return each(of_one, view, runs)

    sampling.run_segment, functions.score_each = watched_segment, watched_each  # type: ignore[assignment]
    model = Model(Chinchilla(), discrepancy=None)
    posterior = fit(
        model, simulated(model).only(["chat"]), chains=2, warmup=50, draws=50, extensions=0
    )
    by = InformationGain()
    scores = score_pool(by, by.view(posterior, None, 1, 0), posterior, Pool.of(grid()))
    print(
        json.dumps(
            {
                "chains": len(chains),
                "candidates": len(candidates),
                "alpha": posterior.flat["alpha"].reshape(-1).tolist(),
                "scores": scores.tolist(),
            }
        )
    )
