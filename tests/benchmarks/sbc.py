"""Make docs/sbc.md and docs/sbc.json: simulation-based calibration. Run with `uv run python -m tests.benchmarks.sbc`.

Parameters are drawn from the prior, runs are simulated under them, and the model is fitted to the
runs. If model, sampler and fit agree, the rank of each true value among its posterior draws is
uniform (Talts et al. 2018, arXiv 1804.06788). Targets are independent of each other, so the
simulations of a batch are the targets of one table. Batches are kept in the folder given with
--cache, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import warnings
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import qmc

from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.per_draw import lowest_per_draw
from bayesmix.decision.problem import Problem
from bayesmix.design import Design, Designs, Mixture, Scale
from bayesmix.evaluation.loo_pit import Ecdf
from bayesmix.inference.fit import fit
from bayesmix.laws.additive import Additive
from bayesmix.model.discrepancy import Discrepancy
from bayesmix.model.model import Model
from bayesmix.model.noise import StudentT
from bayesmix.model.simulate import draw_parameters, reference_of, simulate
from bayesmix.posterior.posterior import Posterior
from bayesmix.runtime.compute import keep_compiled_programs
from bayesmix.runtime.files import atomic_write
from bayesmix.runtime.parallel import parallel_map, processes
from tests.source import code

ROOT = Path(__file__).resolve().parents[2]
DESCRIBED = [  # what the artefact speaks of; a change of any of it makes the artefact out of date
    *(
        f"model/{name}"
        for name in ("brownian", "data", "discrepancy", "grid", "likelihood", "model", "noise")
    ),
    *("model/priors", "model/simulate", "posterior/discrepancy", "runtime/compute"),
    *(f"laws/{name}" for name in ("additive", "base", "components", "simplex")),
    *(
        f"inference/{name}"
        for name in ("chains", "coordinates", "density", "fit", "gaussian", "kernel", "laplace")
    ),
    *(
        f"inference/{name}"
        for name in ("modes", "pooling", "prequential", "problems", "sampler", "scale_mixture")
    ),
    "runs/robust",
]
MODELS = {
    "full": Model(Additive(), discrepancy=Discrepancy(prequential=False)),
    "full-unit-of-runs": Model(Additive(), discrepancy=Discrepancy(prequential=False)),
    "parametric": Model(Additive(), noise=StudentT(), discrepancy=None),
}
"""The full model without what it learns from earlier cuts of a table: simulated runs know of no miss beyond them."""
UNIT_OF_RUNS = "full-unit-of-runs"
"""Where the unit of the priors is what `fit` takes from the runs, and not the one the truth was drawn with."""
MADE = {"full": 200, UNIT_OF_RUNS: 200, "parametric": 600}
"""Draws of each of the two chains; exponents γ have long tails, in which short chains stray too rarely."""
DOMAINS = ("web", "code", "books")
BATCH = 10
DRAWS = 99
FALSE_ALARM = 0.01
"""Chance that any of the bands of a model is left when all ranks are uniform."""


class Ranks(NamedTuple):
    """Where true values stand among posterior draws."""

    pit: dict[str, np.ndarray]  # quantity → share of the draws below the truth (simulation)
    rhat: np.ndarray  # (simulation) largest of all parameters


def code_hash() -> str:
    """Of the code an artefact describes, without its comments, docstrings and layout."""
    digest = hashlib.sha256()
    for name in DESCRIBED:
        digest.update(code(ROOT / "bayesmix" / f"{name}.py").encode())
    return digest.hexdigest()[:16]


def designs() -> Designs:
    """Eight mixtures at four sizes, with two token counts each."""
    points = -np.log(1 - 0.98 * qmc.Sobol(3, seed=1).random(8) - 0.01)
    scales = np.array([(n, d) for n in (5e7, 1e8, 2e8, 4e8) for d in (3e9, 12e9)])
    weights = np.repeat(points / points.sum(1, keepdims=True), len(scales), axis=0)
    return Designs(DOMAINS, weights, *np.tile(scales, (8, 1)).T)


def quantities(posterior: Posterior) -> dict[str, np.ndarray]:
    """Draws (draw, target) of every parameter, and of what decisions rest on at ten times the largest N and D."""
    far = Scale(4e9, 1.2e11)
    uniform = np.full(3, 1 / 3)
    law = replace(posterior, drift={})  # the drift of the truth is not known
    found = {}
    for site, value in law.flat.items():
        parts = value.reshape(*value.shape[:2], -1)
        names = [site] if parts.shape[2] == 1 else [f"{site}[{i}]" for i in range(parts.shape[2])]
        found |= dict(zip(names, np.moveaxis(parts, 2, 0), strict=True))
    loss = law.loss(Design(Mixture(dict(zip(DOMAINS, uniform, strict=True))), far)).draws[:, 0]
    best, region = np.empty_like(loss), FeasibleSet().at(far, DOMAINS)
    for t, target in enumerate(law.targets):
        one = replace(
            law,
            runs=law.runs.only((target,)),
            draws={k: v[:, :, t : t + 1] for k, v in law.draws.items()},
        )
        best[:, t] = lowest_per_draw(replace(Problem.of(one, far), convex_losses=False), region)[1]
    return found | {
        "loss far away": loss,
        "loss of the best mixture": best,
        "regret of uniform": loss - best,
    }


def batch(name: str, seed: int) -> Ranks:
    """Ranks of one table of simulations."""
    targets = tuple(f"s{i}" for i in range(BATCH))
    runs_at = designs()
    model = MODELS[name].at(reference_of(runs_at, targets, unit=3.0))
    truth = draw_parameters(model, targets, len(DOMAINS), seed)
    runs = simulate(model, runs_at, targets=targets, parameters=truth, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = MODELS[name] if name == UNIT_OF_RUNS else model
        posterior = fit(
            fitted, runs, seed=seed, chains=2, warmup=300, draws=MADE[name], extensions=0
        )
    total = posterior.draws["sigma"].shape[0] * posterior.draws["sigma"].shape[1]
    keep = np.linspace(0, total - 1, DRAWS).round().astype(int)
    thin = replace(posterior, draws={site: v[keep][None] for site, v in posterior.flat.items()})
    known = quantities(replace(posterior, draws={site: v[None, None] for site, v in truth.items()}))
    rng = np.random.default_rng(seed)
    pit = {
        name: ((draws < known[name]).sum(axis=0) + rng.uniform(size=BATCH)) / (DRAWS + 1)
        for name, draws in quantities(thin).items()
    }
    return Ranks(pit, np.array([t.rhat for t in posterior.diagnostics.targets]))


def ranks(name: str, simulations: int, cache: Path, executor: Executor | None = None) -> Ranks:
    """Ranks of so many simulations of a model, from the cache where they are there."""
    paths = [cache / f"sbc-{name}-{seed}.npz" for seed in range(-(-simulations // BATCH))]
    missing = [(seed, path) for seed, path in enumerate(paths) if not path.exists()]
    names = [path.name for _, path in missing]
    parallel_map(
        partial(_keep, name), missing, executor, lambda path: print(path.name, flush=True), names
    )
    parts = [dict(np.load(path)) for path in paths]
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return Ranks({key: value for key, value in whole.items() if key != "rhat"}, whole["rhat"])


def _keep(name: str, item: tuple[int, Path]) -> Path:
    seed, path = item
    made = batch(name, seed)
    with atomic_write(path) as draft, open(draft, "wb") as file:
        np.savez(file, **made.pit, rhat=made.rhat)  # type: ignore[arg-type]
    return path


def judge(found: Ranks) -> dict[str, Any]:
    """What an artefact says of one model."""
    alarm = FALSE_ALARM / len(found.pit)
    return {
        "simulations": len(found.rhat),
        "rhat_above_1.05": float((found.rhat > 1.05).mean()),
        "quantities": {
            name: {
                "excess": round(Ecdf.of(pit, alarm).excess, 4),
                "ranks": np.histogram(pit, 10, (0, 1))[0].tolist(),
                "inside_90": round(float(np.mean((pit > 0.05) & (pit < 0.95))), 3),
            }
            for name, pit in found.pit.items()
        },
    }


def page(artefact: dict[str, Any]) -> str:
    """Markdown."""
    parts = [
        "# Simulation-based calibration",
        (
            "Made by `uv run python -m tests.benchmarks.sbc`; the figures are in"
            " [sbc.json](sbc.json), with a hash of the code they describe. Parameters are drawn"
            " from the prior of the additive law, 64 runs of 3 domains are simulated, and the"
            " model is fitted to them. Ranks of true values among posterior draws are uniform when"
            " everything is right. *Leaves its band* is how far their ECDF is outside a"
            f" simultaneous band that one table in {round(1 / FALSE_ALARM)} would leave by chance;"
            " negative is inside."
        ),
    ]
    for name, found in artefact["models"].items():
        parts.append(f"## {name}")
        if name == UNIT_OF_RUNS:
            parts.append(
                "As users have it: the priors of amplitudes are in units of the smallest measured"
                " loss, but for gross errors, and not in the unit that the truth was drawn with. A"
                " prior that looks at the data need not have uniform ranks; this says how far they"
                " are."
            )
        parts.append(
            f"{found['simulations']} simulations. In {found['rhat_above_1.05']:.1%} of them a"
            " parameter has R-hat above 1.05 after the short chains used here (two, of"
            f" {MADE[name]} draws); all count."
        )
        rows = [
            "| quantity | leaves its band | truth inside the 90 % interval | ranks in tenths |",
            "|---|---:|---:|---|",
        ]
        rows += [
            f"| {quantity} | {q['excess']:.3f} | {q['inside_90']:.3f} |"
            f" {' '.join(map(str, q['ranks']))} |"
            for quantity, q in found["quantities"].items()
        ]
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Simulate what is missing and write the artefact and its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "sbc" / code_hash())
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    keep_compiled_programs()
    with processes(options.processes) as executor:
        found = {
            name: judge(ranks(name, options.simulations, options.cache, executor))
            for name in MODELS
        }
    artefact = {"code": code_hash(), "models": found}
    with atomic_write(ROOT / "docs" / "sbc.json") as draft:
        draft.write_text(json.dumps(artefact, indent=1) + "\n", encoding="utf-8")
    with atomic_write(ROOT / "docs" / "sbc.md") as draft:
        draft.write_text(page(artefact), encoding="utf-8")


if __name__ == "__main__":
    main()
