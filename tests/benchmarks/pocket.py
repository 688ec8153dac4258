"""Make docs/pocket.md and its figures from the shipped tables. Run with `uv run python -m tests.benchmarks.pocket`.

With `--optimum SETTING --out PLAN.csv` it writes instead the plan of the runs that put the
recommended mixture to the test; sweep it, and write its table as
bayesmix/runs/data/pocket-SETTING-optimum.csv. Fits are kept in --cache.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bayesmix.decision.optimize import optimize
from bayesmix.design import Scale, count
from bayesmix.evaluation.score import score
from bayesmix.inference.laplace import laplace
from bayesmix.laws.additive import Additive
from bayesmix.laws.joint import Joint
from bayesmix.model.model import Model
from bayesmix.pocket.corpora import SETTINGS
from bayesmix.pocket.plan import LARGEST, TrainingJob, write_plan
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.storage import load_posterior, save_posterior
from bayesmix.runs.io import read_frame, shipped
from bayesmix.runs.load import load_runs
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import keep_compiled_programs
from tests.benchmarks.pocket_figures import draw
from tests.benchmarks.pointfit import PointFit
from tests.benchmarks.results import diagnostics_table, fitted, pointed

ROOT = Path(__file__).resolve().parents[2]
LAWS = {"additive": Additive(), "joint": Joint()}
# arXiv 2507.09404, table of errors: lowest and highest MRE in percent of the additive and the joint
# law
PAPER = {
    "multimodal": ("native multimodal, 8B", "0.51 to 1.23", "0.32 to 1.17"),
    "language": ("LLM, 3B and 7B", "0.31 to 4.45", "0.34 to 2.51"),
    "vision": ("large vision, 1.1B", "0.79 to 6.19", "0.63 to 5.94"),
}
GOAL = 2  # percent: the extrapolation error of the joint law
UNFITTED = "The laws are not fitted to these runs yet: this page was made with `--no-fits`."
SEEDS = (10, 11, 12)  # of the runs at the optimum; none of them is in the tables


class Part(NamedTuple):
    """Runs on which a fit is scored."""

    name: str
    runs: Runs


class Fit(NamedTuple):
    """One law on the runs to be fitted: the posterior, how it was made, and a point fit."""

    posterior: Posterior
    how: str
    point: PointFit


def parts(name: str) -> tuple[Runs, list[Part]]:
    """The runs to fit, and those to score on: the same, larger N, larger D, unseen mixtures, and all three at once."""
    frame, runs = read_frame(name), load_runs(name)
    large, long = runs.params == runs.params.max(), runs.tokens == runs.tokens.max()
    unseen = frame["hold_out"].isin(["mixture", "both"]).to_numpy()
    which = {
        "in sample": ~large & ~long & ~unseen,
        f"larger N ({count(runs.params.max())})": large & ~long & ~unseen,
        f"larger D ({count(runs.tokens.max())})": ~large & long & ~unseen,
        "unseen mixtures": ~large & ~long & unseen,
        "all three at once": large & long & unseen,
    }
    scored = [Part(label, runs.take(rows)) for label, rows in which.items() if rows.any()]
    return scored[0].runs, scored


def noise(name: str) -> tuple[str, float]:
    """Markdown table of the standard deviation over seeds, in percent, and its root mean square."""
    frame = read_frame(name)
    targets = [column for column in frame if str(column).startswith("loss.")]
    grouped = frame.groupby(["mixture", "size", "tokens"])[targets]
    several = grouped.count().iloc[:, 0] >= 3
    relative = 100 * (grouped.std() / grouped.mean())[several]
    by_mixture = (relative**2).groupby("mixture").mean() ** 0.5
    if not len(by_mixture):
        return "No mixture has three seeds yet.", float("nan")
    rows = [
        "| mixture | " + " | ".join(t.removeprefix("loss.") for t in targets) + " |",
        "|---|" + "---:|" * len(targets),
    ]
    rows += [
        f"| {m} | " + " | ".join(f"{value:.2f}" for value in by_mixture.loc[m]) + " |"
        for m in by_mixture.index
    ]
    return "\n".join(rows), float(np.sqrt((relative.to_numpy() ** 2).mean()))


def errors(fits: dict[str, Fit], scored: list[Part]) -> str:
    """Markdown: MRE, coverage and width per part and law, with the MRE of a point fit where there is one."""
    rows = [
        "| scored on | points | "
        + " | ".join(f"{law} MRE % | cover 90 % | width % | point fit MRE %" for law in fits)
        + " |",
        "|---|---:|" + "---:|" * 4 * len(fits),
    ]
    for part in scored:
        cells = [str(int(np.isfinite(part.runs.loss).sum()))]
        for posterior, _, point in fits.values():
            figure = score(posterior.predict(part.runs.designs), part.runs.loss)
            values = [figure.pooled(v) for v in (figure.mre, figure.coverage[2], figure.width)]
            cells += [f"{value:.2f}" for value in values]
            cells.append(
                f"{100 * np.abs(point.predict(part.runs.designs) / part.runs.loss - 1).mean():.2f}"
            )
        rows.append(f"| {part.name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def by_target(fits: dict[str, Fit], part: Part) -> str:
    """Markdown: MRE and coverage of every target on one part."""
    rows = [
        "| target | " + " | ".join(f"{law} MRE % | cover 90 %" for law in fits) + " |",
        "|---|" + "---:|" * 2 * len(fits),
    ]
    figures = [
        score(posterior.predict(part.runs.designs), part.runs.loss)
        for posterior, *_ in fits.values()
    ]
    for i, target in enumerate(part.runs.targets):
        rows.append(
            f"| {target} | "
            + " | ".join(f"{f.mre[i]:.2f} | {f.coverage[2][i]:.2f}" for f in figures)
            + " |"
        )
    return "\n".join(rows)


def posterior_of(cache: Path, name: str, law: str, runs: Runs, nuts: bool) -> tuple[Posterior, str]:
    """The posterior by NUTS where it is asked for or already there, else by Laplace with importance weights."""
    model = Model(LAWS[law])
    if nuts or (cache / f"{name}.nc").exists():
        return fitted(cache, name, model, runs, draws=600), "NUTS"
    quick, tails = cache / f"{name}-laplace.nc", cache / f"{name}-laplace.npy"
    if not tails.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, khat = laplace(model, runs, seed=0, draws=2000)
        save_posterior(found, quick)
        np.save(tails, khat)
    said = ", ".join(
        f"{target} {k:.2f}" for target, k in zip(runs.targets, np.load(tails), strict=True)
    )
    return (
        load_posterior(quick),
        f"Laplace with importance weights, which can be relied on where k̂ < 0.7. k̂: {said}",
    )


def below_largest(cache: Path, setting: str, nuts: bool) -> Posterior:
    """The joint law on every run that is smaller than the largest size of the plan."""
    runs = load_runs(f"pocket-{setting}", where=f"size != '{LARGEST}'")
    return posterior_of(
        cache, f"pocket-{setting}-joint-{runs.fingerprint[:8]}", "joint", runs, nuts
    )[0]


def optimum_plan(cache: Path, setting: str, out: Path, nuts: bool) -> None:
    """Plan the recommended, the natural and the uniform mixture at the largest size, with three seeds each."""
    posterior = below_largest(cache, setting, nuts)
    tokens = int(posterior.runs.tokens.max())
    best = optimize(posterior, Scale(_params(LARGEST), tokens)).mixture.on(posterior.domains)
    frame = read_frame(f"pocket-{setting}")
    named = {
        row["mixture"]: np.array([row[f"weight.{domain}"] for domain in posterior.domains])
        for row in frame.to_dict(orient="records")
    }
    mixtures = {"recommended": best, "natural": named["natural"], "uniform": named["uniform"]}
    jobs = [
        TrainingJob(
            f"{setting}-{LARGEST}-{name}-{seed}",
            setting,
            LARGEST,
            seed,
            (tokens,),
            dict(zip(posterior.domains, weights.tolist(), strict=True)),
            name,
            "optimum",
        )
        for seed in SEEDS
        for name, weights in mixtures.items()
    ]
    write_plan(jobs, out)


def optimum_section(cache: Path, setting: str, nuts: bool) -> str:
    """Markdown: predicted and measured mean loss of the three mixtures."""
    name = f"pocket-{setting}-optimum"
    if name not in shipped():
        return "The runs at the optimum are not measured yet."
    runs, frame = load_runs(name), read_frame(name)
    posterior = below_largest(cache, setting, nuts)
    draws = posterior.predict(runs.designs).draws.mean(axis=2)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    measured = runs.loss.mean(axis=1)
    rows = [
        "| mixture | weights | predicted | 90 % band | measured, three seeds | inside |",
        "|---|---|---:|---|---|---:|",
    ]
    for mixture in ("recommended", "natural", "uniform"):
        at = np.flatnonzero((frame["mixture"] == mixture).to_numpy())
        weights = ", ".join(
            f"{d} {w:.2f}" for d, w in zip(runs.domains, runs.mixture[at[0]], strict=True)
        )
        inside = int(((low[at] <= measured[at]) & (measured[at] <= high[at])).sum())
        rows.append(
            f"| {mixture} | {weights} | {draws[:, at].mean():.4f} | {low[at[0]]:.4f} to"
            f" {high[at[0]]:.4f} | {', '.join(f'{value:.4f}' for value in measured[at])} | {inside}"
            f" of {len(at)} |"
        )
    means = {
        m: measured[(frame["mixture"] == m).to_numpy()].mean()
        for m in ("recommended", "natural", "uniform")
    }
    return (
        "\n".join(rows)
        + f"\n\nLowest measured mean loss: **{min(means, key=lambda m: means[m])}**."
    )


def _params(size: str) -> float:
    from bayesmix.pocket.sizes import SIZES

    return float(SIZES[size].params)


def section(cache: Path, setting: str, nuts: bool, fits: bool) -> str:
    """Everything about one setting."""
    name = f"pocket-{setting}"
    table, floor = noise(name)
    draw(name, ROOT / "docs" / "figures" / f"{name}.png")
    said = [
        f"## {setting}",
        f"{load_runs(name)}. How they were made: `bayesmix/runs/data/{name}.md`.",
        f"![Loss against N, D and a domain's own weight](figures/{name}.png)",
        "Standard deviation over three seeds, percent of the loss:",
        table,
        (
            f"Root mean square {floor:.2f} %; the MRE of an exact law would be"
            f" {floor * np.sqrt(2 / np.pi):.2f} %."
        ),
    ]
    return "\n\n".join([*said, *(fit_section(cache, setting, nuts) if fits else [UNFITTED])])


def fit_section(cache: Path, setting: str, nuts: bool) -> list[str]:
    """How well the laws fit and extrapolate, and the optimum."""
    name, paper = f"pocket-{setting}", PAPER[setting]
    runs, scored = parts(name)
    mark = runs.fingerprint[:8]
    fits = {
        law: Fit(
            *posterior_of(cache, f"{name}-{law}-fit-{mark}", law, runs, nuts),
            pointed(cache, f"{name}-{law}-{mark}", law, runs),
        )
        for law in LAWS
    }
    return [
        f"Fitted on {len(runs)} points of {len(set(runs.train_run))} runs:",
        errors(fits, scored),
        *(
            _verdict(fits, part)
            for part in scored
            if part.name.startswith(("larger N", "all three"))
        ),
        *(_larger(fits, part, paper) for part in scored if part.name.startswith("larger N")),
        *(
            f"Posterior of the {law} law: {fit.how}.\n\n{_sampling(fit)}".rstrip()
            for law, fit in fits.items()
        ),
        "### The optimum on real ground",
        optimum_section(cache, setting, nuts),
    ]


def _verdict(fits: dict[str, Fit], part: Part) -> str:
    figure = score(fits["joint"].posterior.predict(part.runs.designs), part.runs.loss)
    mre = figure.pooled(figure.mre)
    return (
        f"Joint law, {part.name}: MRE {mre:.2f} % (goal below {GOAL} %:"
        f" {'met' if mre < GOAL else 'missed'})."
    )


def _larger(fits: dict[str, Fit], part: Part, paper: tuple[str, str, str]) -> str:
    where, additive, joint = paper
    head = f"By target, {part.name} (the paper's {where}: additive {additive} %, joint {joint} %):"
    return f"{head}\n\n{by_target(fits, part)}"


def _sampling(fit: Fit) -> str:
    return diagnostics_table(fit.posterior) if fit.how == "NUTS" else ""


def main() -> None:
    """Write the page, or the plan of the runs at the optimum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "results")
    parser.add_argument("--optimum", choices=list(SETTINGS))
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--nuts",
        action="store_true",
        help="sample what is not in the cache: half an hour a setting",
    )
    parser.add_argument("--no-fits", action="store_true", help="only what was measured")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    keep_compiled_programs()
    if options.optimum:
        optimum_plan(options.cache, options.optimum, options.out, options.nuts)
        return
    there = [setting for setting in SETTINGS if f"pocket-{setting}" in shipped()]
    head = (
        "# Pocket runs\n\nTiny decoders really trained on data mixtures, on a CPU. The tables come"
        " with the package; each has a README in `bayesmix/runs/data/` that says how it was made."
        " This page is made by `uv run python -m tests.benchmarks.pocket`. MRE is the mean of |mean"
        " prediction − measured| / measured, over all targets where none is named."
    )
    missing = [setting for setting in SETTINGS if setting not in there]
    if missing:
        head += f"\n\nNot measured yet: {', '.join(missing)}."
    page = "\n\n".join(
        [
            head,
            *(
                section(options.cache, setting, options.nuts, not options.no_fits)
                for setting in there
            ),
        ]
    )
    (ROOT / "docs" / "pocket.md").write_text(page + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
