"""Make docs/calibration.md: bands on held-out runs. Run with `uv run python -m tests.benchmarks.calibration`.

Three ways to predict the held-out runs of published tables, all with the same law: (a) the parametric posterior, (b)
least squares with a bootstrap over training runs, (c) the full model. Every fit is kept in the folder given with
--cache, so that an interrupted run goes on where it stopped; --only makes some of the splits.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from bayesmix.compute import keep_compiled_programs
from bayesmix.inference.fit import fit
from bayesmix.inference.laplace import laplace
from bayesmix.inference.posterior import Posterior
from bayesmix.inference.prediction import Prediction
from bayesmix.inference.score import Score, score
from bayesmix.inference.storage import load_posterior, save_posterior
from bayesmix.laws.additive import Additive
from bayesmix.laws.base import Law
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.laws.joint import Joint
from bayesmix.model import Model
from bayesmix.noise import StudentT
from bayesmix.runs.load import load_runs
from bayesmix.runs.table import Runs
from tests.benchmarks.bootstrap import bootstrap

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
WAYS = {"a": "law alone", "b": "bootstrap", "c": "full model"}


@dataclass(frozen=True)
class Split:
    """A table, which rows are fitted and which are predicted."""

    name: str
    says: str
    law: Law
    table: Callable[[], Runs]
    fitted: Callable[[Runs], np.ndarray]
    held_out: Callable[[Runs], np.ndarray]


def slimpajama() -> Runs:
    """All rows that are no copies."""
    return load_runs(DATA / "slimpajama" / "runs.csv", where="~repeat_of_previous")


def gadre(corpus: str) -> Callable[[], Runs]:
    """Runs of one corpus."""
    return lambda: load_runs(DATA / "gadre" / "runs.csv", where=f"train_set == '{corpus}'")


def chosen(seed: int, rows: int) -> Callable[[Runs], np.ndarray]:
    """Some of the training rows of regmix, at random."""

    def mask(runs: Runs) -> np.ndarray:
        picked = np.zeros(len(runs), bool)
        picked[np.random.default_rng(seed).choice(512, rows, replace=False)] = True
        return picked

    return mask


def regmix() -> Runs:
    """512 training rows, then 256 test rows."""
    return load_runs(DATA / "regmix" / "runs.csv")


def below(size: float) -> Callable[[Runs], np.ndarray]:
    """Rows of smaller models."""
    return lambda runs: runs.params < size


def from_size(size: float) -> Callable[[Runs], np.ndarray]:
    """Rows of models at least so large."""
    return lambda runs: runs.params >= size


CORPORA = {"c4_original": "C4", "rpj": "RedPajama", "rw_original": "RefinedWeb"}
SPLITS = [
    *(
        Split(f"gadre-{k}", f"gadre, {v}: N ≤ 412M → 1.4B, 6.9B", Chinchilla(), gadre(k), below(1e9), from_size(1e9))
        for k, v in CORPORA.items()
    ),
    Split(
        "chinchilla",
        "chinchilla: smaller half of N → larger half",
        Chinchilla(),
        lambda: load_runs(DATA / "chinchilla" / "runs.csv", where="~epoch_outlier"),
        lambda runs: runs.params <= np.median(runs.params),
        lambda runs: runs.params > np.median(runs.params),
    ),
    Split("regmix", "regmix: 128 of 512 → 256", Additive(), regmix, chosen(0, 128), lambda r: np.arange(len(r)) >= 512),
    Split("slim-680", "slimpajama: N ≤ 680M → 937M, 1.24B", Joint(), slimpajama, below(7e8), from_size(9e8)),
    Split("slim-937", "slimpajama: N ≤ 937M → 1.24B", Joint(), slimpajama, below(1e9), from_size(1e9)),
]


def posterior(cache: Path, name: str, model: Model, runs: Runs) -> Posterior:
    """The posterior, from the cache when it is there."""
    path = cache / f"{name}.nc"
    if not path.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save_posterior(fit(model, runs, seed=0), path)
    return load_posterior(path)


def predictions(split: Split, cache: Path) -> tuple[Runs, dict[str, Prediction], Posterior]:
    """What each way predicts for the held-out rows."""
    runs = split.table()
    train, test = runs.take(split.fitted(runs)), runs.take(split.held_out(runs))
    full = posterior(cache, f"{split.name}-c", Model(split.law), train)
    alone = posterior(cache, f"{split.name}-a", Model(split.law, noise=StudentT(), discrepancy=None), train)
    path = cache / f"{split.name}-b.npy"
    if not path.exists():
        np.save(path, bootstrap(split.law, train, test.designs))
    resampled = Prediction(np.load(path), test.designs, test.targets)
    return test, {"a": alone.predict(test.designs), "b": resampled, "c": full.predict(test.designs)}, full


def ranking(prediction: Prediction, test: Runs) -> float:
    """Mean Spearman correlation of predicted and measured losses over the mixtures of a cell (N, D), all targets."""
    cells = np.unique(np.stack([test.params, np.round(np.log(test.tokens), 2)]), axis=1, return_inverse=True)[1]
    found = []
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells.reshape(-1) == cell)
        if len(rows) >= 8:
            pairs = zip(prediction.mean[rows].T, test.loss[rows].T, strict=True)
            found += [spearmanr(p[np.isfinite(m)], m[np.isfinite(m)]).statistic for p, m in pairs]
    return float(np.mean(found)) if found else float("nan")


def row(name: str, figures: Score, rank: float) -> str:
    """One line of Markdown: coverage at four levels, width, MRE, CRPS, log score, ranking."""
    cover = " | ".join(f"{figures.pooled(level):.2f}" for level in figures.coverage)
    rest = [figures.pooled(v) for v in (figures.width, figures.mre)]
    order = "–" if np.isnan(rank) else f"{rank:.3f}"
    return (
        f"| {name} | {cover} | {rest[0]:.2f} | {rest[1]:.2f} | {1000 * figures.pooled(figures.crps):.2f} "
        f"| {figures.pooled(figures.log_score):.2f} | {order} |"
    )


HEAD = "| | 50 % | 80 % | 90 % | 95 % | width % | MRE % | CRPS mnats | log score | Spearman |\n|---|" + "---:|" * 9


def section(split: Split, cache: Path) -> str:
    """Pooled and per-target tables of one split."""
    test, by_way, full = predictions(split, cache)
    scores = {way: score(prediction, test.loss) for way, prediction in by_way.items()}
    pooled = "\n".join(row(f"({w}) {WAYS[w]}", scores[w], ranking(by_way[w], test)) for w in WAYS)
    targets = [
        "| target | " + " | ".join(f"({w}) 90 % | width % | CRPS mnats" for w in WAYS) + " |",
        "|---|" + "---:|" * 9,
    ]
    for t, target in enumerate(test.targets):
        cells = [f"{s.coverage[2][t]:.2f} | {s.width[t]:.2f} | {1000 * s.crps[t]:.2f}" for s in scores.values()]
        targets.append(f"| {target} | " + " | ".join(cells) + " |")
    worst = full.diagnostics.targets
    sampled = (
        f"Full model: {len(full.runs)} points of {len(set(full.runs.train_run))} training runs, "
        f"{full.diagnostics.verdict}; largest R-hat {max(t.rhat for t in worst):.3f}, smallest ESS "
        f"{min(min(t.ess_bulk, t.ess_tail) for t in worst):.0f}, {sum(t.divergences for t in worst)} divergences, "
        f"{np.mean([t.steps for t in worst]):.0f} steps a draw. Held out: {len(test)} points."
    )
    return "\n\n".join([f"## {split.says}", sampled, f"{HEAD}\n{pooled}", "\n".join(targets)])


def few_mixtures(seed: int) -> tuple[Runs, dict[str, Runs]]:
    """The rows N ≤ 680M of ten mixtures, and what is predicted: the other mixtures there, and all at 1.24B."""
    runs = slimpajama()
    small = runs.params <= 7e8
    which = np.unique(runs.mixture.round(4), axis=0, return_inverse=True)[1].reshape(-1)
    common = np.unique(which[runs.params == runs.params.max()])  # measured at every size
    known = small & np.isin(which, np.random.default_rng(seed).choice(common, 10, replace=False))
    unseen = {"other mixtures, N ≤ 680M": runs.take(small & ~known), "1.24B": runs.take(runs.params > 1e9)}
    return runs.take(known), unseen


def pooling_section(cache: Path, seeds: int) -> str:
    """Separate laws against laws that share what their targets have in common, with ten mixtures."""
    found: dict[str, list[np.ndarray]] = {}
    for seed in range(seeds):
        path = cache / f"pooling-{seed}.npz"
        if not path.exists():
            train, unseen = few_mixtures(seed)
            made = {}
            for pooling in ("none", "partial"):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    believed, _ = laplace(Model(Additive(), pooling=pooling), train, seed=seed)
                for where, test in unseen.items():
                    s = score(believed.predict(test.designs, seed=seed), test.loss)
                    made[f"{where}|{pooling}"] = np.array([s.pooled(s.mre), s.pooled(s.coverage[2]), s.pooled(s.crps)])
            np.savez(path, **made)  # type: ignore[arg-type]
        for key, value in np.load(path).items():
            found.setdefault(key, []).append(value)
    rows = ["| predicted | pooling | MRE % | 90 % | CRPS mnats | CRPS against none |", "|---|---|" + "---:|" * 4]
    for key, values in found.items():
        where, pooling = key.split("|")
        table = np.array(values)
        less = table[:, 2] / np.array(found[f"{where}|none"])[:, 2] - 1
        mre, inside, crps = table.mean(axis=0)
        sure = f"{100 * less.mean():+.1f} % ± {100 * less.std(ddof=1) / np.sqrt(seeds):.1f}" if less.any() else "–"
        rows.append(f"| {where} | {pooling} | {mre:.3f} | {inside:.2f} | {1000 * crps:.2f} | {sure} |")
    said = (
        f"The additive law on ten mixtures of slimpajama, N ≤ 680M, eight targets, {seeds} random choices of the ten. "
        "Laplace posteriors; ± is one standard error over the choices."
    )
    return "\n\n".join(["## Pooling: few mixtures, many targets", said, "\n".join(rows)])


def main() -> None:
    """Fit what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "calibration")
    parser.add_argument("--only", nargs="*", default=[*(split.name for split in SPLITS), "pooling"])
    parser.add_argument("--seeds", type=int, default=8, help="choices of few mixtures, for pooling")
    parser.add_argument("--fit-only", action="store_true", help="fill the cache, write nothing")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    keep_compiled_programs()
    parts = []
    for split in SPLITS:
        if split.name in options.only:
            parts.append(section(split, options.cache))
            print(parts[-1], flush=True)
    if "pooling" in options.only:
        parts.append(pooling_section(options.cache, options.seeds))
        print(parts[-1], flush=True)
    if not options.fit_only:
        page = ROOT / "docs" / "calibration.md"
        head = page.read_text().split("<!-- tables -->")[0]
        page.write_text(head + "<!-- tables -->\n\n" + "\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
