# /// script
# requires-python = ">=3.11"
# dependencies = ["botorch>=0.15", "numpy>=2"]
# ///
"""Bayesian optimisation of a recorded pool with a BoTorch Gaussian process: what it buys, and what it decides.

A script of its own, so that PyTorch is no dependency of the project:
`uv run --script gaussian_process.py TASK.json PICKS.json`. The task is written by
`tests.benchmarks.active`, which reads the picks.

The surface is loss(mixture, log N, log D), an RBF kernel with a length for every input and
BoTorch's priors. A run is worth its knowledge gradient: by how much the lowest posterior mean among
the decisions at the flagship is expected to fall, exact for a finite set of decisions up to the
quadrature, per FLOP.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Normalize, Standardize
from gpytorch.mlls import ExactMarginalLogLikelihood
from scipy.stats import norm

REFIT = 3  # runs between two fits of the lengths
NODES = norm.ppf((np.arange(32) + 0.5) / 32)


def surface(x: np.ndarray, y: np.ndarray, bounds: np.ndarray, lengths: dict | None) -> SingleTaskGP:
    """The GP given the runs; with `lengths`, with the kernel found before."""
    model = SingleTaskGP(
        torch.tensor(x),
        torch.tensor(y)[:, None],
        outcome_transform=Standardize(1),
        input_transform=Normalize(x.shape[1], bounds=torch.tensor(bounds)),
    )
    if lengths is None:
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    else:
        kept = {k: v for k, v in lengths.items() if "outcome" not in k and "input" not in k}
        model.load_state_dict(kept, strict=False)
    return model.eval()


def knowledge(
    model: SingleTaskGP, decisions: np.ndarray, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean (decision) and knowledge gradient (run)."""
    with torch.no_grad():
        found = model.posterior(torch.tensor(np.vstack([decisions, left])))
        mean = found.mean.squeeze(-1).numpy()
        covariance = found.distribution.covariance_matrix.numpy()
        scale = float(model.outcome_transform.stdvs) ** 2
        noise = float(model.likelihood.noise) * scale
    n = len(decisions)
    # (decision, run)
    moved = covariance[:n, n:] / np.sqrt(np.maximum(np.diag(covariance)[n:], 0) + noise)
    after = (mean[:n, None, None] + moved[:, :, None] * NODES).min(axis=0).mean(axis=1)
    return mean[:n], mean[:n].min() - after


def one(task: dict, first: list[int]) -> dict[str, list]:
    """One replay: the order of the runs, and the decision after each of them."""
    x, y = np.array(task["inputs"]), np.array(task["loss"])
    cost, decisions = np.array(task["cost"]), np.array(task["decisions"])
    every = np.vstack([x, decisions])
    low, span = every.min(axis=0), np.ptp(every, axis=0)
    free = span > 0
    x, decisions = x[:, free], decisions[:, free]
    bounds = np.stack([low, low + span])[:, free]
    made, chosen, lengths = list(first), [], None
    while True:
        model = surface(
            x[made], y[made], bounds, lengths if (len(made) - len(first)) % REFIT else None
        )
        lengths = model.state_dict()
        left = np.setdiff1d(np.arange(len(x)), made)
        mean, gain = knowledge(model, decisions, x[left])
        chosen.append(int(np.argmin(mean)))
        if len(made) >= task["until"]:
            return {"order": [int(i) for i in made], "decided": chosen}
        made.append(int(left[np.argmax(gain / cost[left])]))


def main() -> None:
    """Replay every seed of the task that has no picks yet."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    task, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    picks = json.loads(out.read_text()) if out.exists() else {}
    for seed, first in task["first"].items():
        if seed in picks:
            continue
        picks[seed] = one(task, first)
        print(seed, picks[seed]["order"][len(first) :][:8], flush=True)
        out.write_text(json.dumps(picks))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
