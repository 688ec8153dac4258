"""Make docs/calibration.md: predictive bands scored on larger sizes, more tokens and other mixtures than were fitted.

Run with `uv run python -m tests.benchmarks.calibration`. It needs the tables of ../shared/data,
which are not part of the project. What every split gave is kept in the folder given with --cache,
so that an interrupted run goes on where it stopped; --only makes some of the splits, --page-only
none.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta, spearmanr

from bayesmix.evaluation.score import score
from bayesmix.inference.fit import fit
from bayesmix.laws.additive import Additive
from bayesmix.laws.base import Law
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.laws.joint import Joint
from bayesmix.model.discrepancy import Discrepancy
from bayesmix.model.model import Model
from bayesmix.model.noise import StudentT
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.prediction import Prediction
from bayesmix.posterior.storage import load_posterior, save_posterior
from bayesmix.runs.load import load_runs
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import keep_compiled_programs
from bayesmix.runtime.files import atomic_write
from tests.benchmarks.bootstrap import bootstrap, conformal

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
SUITE = "suite"
NOT_OURS = (
    "mlp_teacher_student",
    "cifar5m_ladder",
    "cerebras_gpt",
    "pythia_pile_final",
    "clip_datacomp",
)
"""Tables of the suite with too few runs to leave a size out, or of other things than sequences."""
FIT = {"warmup": 450, "draws": 400, "extensions": 1}
WAYS = {
    "alone": "law alone",
    "bootstrap": "bootstrap",
    "conformal": "split conformal",
    "default": "default model",
    "free": "… with a surface that is not orthogonal",
    "near": "… without the far part",
    "blind": "… without the record of earlier misses",
}
"""The law alone has independent Student-t rows; bootstrap and split conformal are around least squares."""
EVERYWHERE = ("alone", "bootstrap", "conformal", "default", "near", "blind")
QUANTILES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


@dataclass(frozen=True)
class Split:
    """A table, which rows are fitted and which are predicted.

    Attributes:
        name: a word for files and for --only.
        table: what the rows of the page are grouped by.
        says: what is fitted and what is predicted.
        law: that is fitted.
        runs: makes the table.
        fitted, held_out: rows.
        octaves: how far the farthest design is beyond the runs, in N and D together; 0 for other
            mixtures.
    """

    name: str
    table: str
    says: str
    law: Law
    runs: Callable[[], Runs]
    fitted: Callable[[Runs], np.ndarray]
    held_out: Callable[[Runs], np.ndarray]
    ways: tuple[str, ...] = EVERYWHERE


def slimpajama(window: bool = False) -> Runs:
    """All rows that are no copies; with the window, those that the paper fits."""
    runs = load_runs(DATA / "slimpajama" / "runs.csv", where="~repeat_of_previous")
    n, d = runs.params, runs.tokens
    least = np.select([n < 2e8, n < 4e8, n < 1e9], [np.inf, 3.9e9, 6.9e9], 12.9e9)
    return runs.take(d >= least) if window else runs


def below(size: float) -> Callable[[Runs], np.ndarray]:
    """Rows of models at most so large."""
    return lambda runs: runs.params <= size


def above(size: float) -> Callable[[Runs], np.ndarray]:
    """Rows of larger models."""
    return lambda runs: runs.params > size


def from_file(path: Path, **options: Any) -> Callable[[], Runs]:
    """A table of ../shared/data, without rows of fewer than two tokens a parameter, where laws break."""

    def load() -> Runs:
        runs = load_runs(path, **options)
        return runs.take(runs.tokens >= 2 * runs.params)

    return load


def cut(
    name: str,
    table: str,
    law: Law,
    runs: Callable[[], Runs],
    size: float,
    says: str = "",
    **more: Any,
) -> Split:
    """What is above a size predicted from what is below."""
    return Split(
        name, table, says or f"N ≤ {size:.3g} → larger", law, runs, below(size), above(size), **more
    )


def splits() -> Iterator[Split]:
    """All of them, short ones first."""
    for folder in sorted((DATA / SUITE).iterdir()):
        if folder.is_dir() and folder.name not in NOT_OURS:
            load = from_file(folder / "runs.csv")
            for i, size in enumerate(_cuts(load())):
                yield cut(f"{folder.name}-{i}", folder.name, Chinchilla(), load, size)
    for corpus in ("c4_original", "rpj", "rw_original"):
        load = from_file(DATA / "gadre" / "runs.csv", where=f"train_set == '{corpus}'")
        yield cut(f"gadre-{corpus}", f"gadre {corpus}", Chinchilla(), load, 4.2e8)
    for setting in ("language", "multimodal", "vision"):

        def load(setting: str = setting) -> Runs:
            return load_runs(f"pocket-{setting}", where="seed == 0")

        for law in (Additive(), Joint()):
            for size in (8.6e4, 3e4):
                yield cut(
                    f"pocket-{setting}-{law.name}-{size:.0f}",
                    f"pocket {setting}, {law.name}",
                    law,
                    load,
                    size,
                )

            def short(runs: Runs) -> np.ndarray:
                return runs.tokens < 0.3 * runs.tokens.max()

            def long(runs: Runs) -> np.ndarray:
                return runs.tokens > 0.3 * runs.tokens.max()

            name = f"pocket-{setting}-{law.name}-D"
            yield Split(
                name,
                f"pocket {setting}, {law.name}",
                "D to a quarter → the rest",
                law,
                load,
                short,
                long,
            )
    regmix = from_file(DATA / "regmix" / "runs.csv")
    yield Split(
        "regmix",
        "regmix, additive",
        "128 of 512 mixtures → 256 others",
        Additive(),
        regmix,
        lambda r: np.isin(
            np.arange(len(r)), np.random.default_rng(0).choice(512, 128, replace=False)
        ),
        lambda r: np.arange(len(r)) >= 512,
    )
    for window in (True, False):

        def table(window: bool = window) -> Runs:
            return slimpajama(window)

        where = "the paper's window" if window else "all rows"
        short = "window" if window else "all"
        for law in (Additive(), Joint()):
            name = f"slimpajama, {where}, {law.name}"
            for size in (9.5e8, 7e8) if window else (9.5e8, 7e8, 3.2e8):
                ways = (*EVERYWHERE, "free") if law == Additive() else EVERYWHERE
                yield cut(
                    f"slimpajama-{short}-{law.name}-{size:.3g}", name, law, table, size, ways=ways
                )
            yield Split(
                f"slimpajama-{short}-{law.name}-D",
                name,
                "D ≤ 13e9 → D ≥ 19e9",
                law,
                table,
                lambda r: r.tokens <= 1.31e10,
                lambda r: r.tokens >= 1.9e10,
            )


def _cuts(runs: Runs) -> list[float]:
    """Up to two sizes to cut a table at: one that leaves about an octave of N out, one that leaves half of the rest."""
    sizes = np.unique(runs.params)
    able = [s for s in sizes[2:] if s <= sizes[-1] / 1.6 and np.sum(runs.params <= s) >= 10]
    return [
        float(s) for s in dict.fromkeys([*able[-1:], *able[len(able) // 3 : len(able) // 3 + 1]])
    ]


def _model(way: str, law: Law) -> Model:
    if way == "alone":
        return Model(law, noise=StudentT(), discrepancy=None)
    return Model(law, discrepancy=Discrepancy(orthogonal=way != "free", prequential=way != "blind"))


def predictions(
    split: Split, train: Runs, test: Runs, cache: Path
) -> dict[str, tuple[Prediction, dict[str, Any]]]:
    """What each way predicts for the held-out rows, and how its fit went.

    Posteriors are kept beside the results, as what predictions add to them may change without them.
    """
    found: dict[str, tuple[Prediction, dict[str, Any]]] = {}
    default = None
    for way in split.ways:
        if way in ("bootstrap", "conformal"):
            draws = (bootstrap if way == "bootstrap" else conformal)(split.law, train, test.designs)
            made, fitted = Prediction(draws, test.designs, test.targets), {}
        elif way in ("near", "blind"):
            assert default is not None
            made, fitted = _other_far(way, default, test), found["default"][1]
        else:
            posterior = _fit(_model(way, split.law), train, cache / f"{split.name}-{way}.nc")
            default = posterior if way == "default" else default
            made, fitted = (
                posterior.predict(test.designs, octaves_left=test.octaves_left),
                _sampled(posterior),
            )
        found[way] = made, fitted
    return found


def _fit(model: Model, runs: Runs, path: Path) -> Posterior:
    if not path.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            save_posterior(fit(model, runs, seed=0, **FIT), path)
    return load_posterior(path)


def _other_far(way: str, posterior: Posterior, test: Runs) -> Prediction:
    """The same draws with another share of the fall beyond the runs, of which the runs themselves say nothing."""
    beyond = np.zeros_like(posterior.drift["drift_beyond"])
    if way == "blind":
        prior: Any = posterior.model.priors(len(posterior.domains))["extrapolation"]
        rng = np.random.default_rng(1)
        beyond = np.exp(
            rng.normal(float(prior.loc), float(prior.scale), beyond.shape)
        ) * rng.normal(size=beyond.shape)
    return replace(posterior, drift={**posterior.drift, "drift_beyond": beyond}).predict(
        test.designs, octaves_left=test.octaves_left
    )


def _sampled(posterior: Posterior) -> dict[str, Any]:
    worst = posterior.diagnostics.targets
    return {
        "verdict": posterior.diagnostics.verdict,
        "rhat": max(t.rhat for t in worst),
        "ess": min(min(t.ess_bulk, t.ess_tail) for t in worst),
        "divergences": sum(t.divergences for t in worst),
        "steps": float(np.mean([t.steps for t in worst])),
    }


def ranking(prediction: Prediction, test: Runs) -> float:
    """Mean Spearman correlation of predicted and measured losses over the mixtures of a cell (N, D), all targets."""
    cells = np.unique(
        np.stack([test.params, np.round(np.log(test.tokens), 2)]), axis=1, return_inverse=True
    )[1]
    found = []
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells.reshape(-1) == cell)
        if len(np.unique(test.mixture[rows], axis=0)) >= 8:
            pairs = zip(prediction.mean[rows].T, test.loss[rows].T, strict=True)
            found += [spearmanr(p[np.isfinite(m)], m[np.isfinite(m)]).statistic for p, m in pairs]
    return float(np.mean(found)) if found else float("nan")


def figures(prediction: Prediction, test: Runs) -> dict[str, Any]:
    """What the page says of one way, pooled and a target."""
    s = score(prediction, test.loss)
    error = prediction.quantile(0.5) / test.loss - 1
    gap = test.loss - np.quantile(prediction.draws, QUANTILES, axis=0)
    wis = 2 * np.mean(
        np.maximum(QUANTILES[:, None, None] * gap, (QUANTILES[:, None, None] - 1) * gap), axis=0
    )
    return {
        "coverage": np.mean(s.coverage, axis=1).tolist(),
        "width": float(s.width.mean()),
        "mre": float(100 * np.nanmean(np.abs(error), axis=0).mean()),
        "signed": float(100 * np.nanmean(error, axis=0).mean()),
        "wis": float(np.nanmean(wis, axis=0).mean()),
        "crps": float(s.crps.mean()),
        "spearman": ranking(prediction, test),
        "by_target": {
            t: {
                "coverage": s.coverage[2][i],
                "width": s.width[i],
                "mre": 100 * np.nanmean(np.abs(error[:, i])),
                "signed": 100 * np.nanmean(error[:, i]),
                "wis": np.nanmean(wis[:, i]),
            }
            for i, t in enumerate(test.targets)
        },
    }


def result(split: Split, cache: Path) -> dict[str, Any]:
    """What a split gave, from the cache when it is there."""
    path = cache / f"{split.name}.json"
    if not path.exists():
        runs = split.runs()
        train, test = runs.take(split.fitted(runs)), runs.take(split.held_out(runs))
        beyond = [
            np.log2(np.maximum(getattr(test, s) / getattr(train, s).max(), 1))
            for s in ("params", "tokens")
        ]
        found: dict[str, Any] = {
            "fitted": [len(train), len(set(train.train_run))],
            "held_out": [len(test), len(set(test.train_run))],
            "octaves": float(np.median(beyond[0] + beyond[1])),
            "ways": {
                way: {"fit": fitted, **figures(made, test)}
                for way, (made, fitted) in predictions(split, train, test, cache).items()
            },
        }
        with atomic_write(path) as draft:
            draft.write_text(json.dumps(found, indent=1, default=float), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def interval(share: float, count: int) -> str:
    """Clopper–Pearson interval of 95 % of a coverage, for as many independent runs."""
    inside = share * count
    low = beta.ppf(0.025, inside, count - inside + 1) if inside > 0 else 0.0
    high = beta.ppf(0.975, inside + 1, count - inside) if inside < count else 1.0
    return f"{low:.2f}–{high:.2f}"


HEAD = (
    "| | 50 % | 80 % | 90 % | by runs | 95 % | width % | MRE % | signed % | WIS mnats | CRPS mnats"
    " | Spearman |\n|---|" + "---:|" * 11
)


def row(way: str, of: dict[str, Any], runs: int) -> str:
    """One line of Markdown."""
    cover = [f"{c:.2f}" for c in of["coverage"]]
    cover.insert(3, interval(of["coverage"][2], runs))
    rank = "–" if np.isnan(of["spearman"]) else f"{of['spearman']:.3f}"
    mark = " †" if of["fit"].get("verdict") == "FAIL" else ""
    cells = [*cover, f"{of['width']:.2f}", f"{of['mre']:.2f}", f"{of['signed']:+.2f}"]
    cells += [f"{1000 * of['wis']:.2f}", f"{1000 * of['crps']:.2f}", rank]
    return f"| {WAYS[way]}{mark} | " + " | ".join(cells) + " |"


def section(split: Split, found: dict[str, Any]) -> str:
    """The table of one split."""
    fitted, held_out = found["fitted"], found["held_out"]
    default = found["ways"]["default"]["fit"]
    says = (
        f"{split.says}. Fitted: {fitted[0]} points of {fitted[1]} runs. Held out: {held_out[0]}"
        f" points of {held_out[1]} runs, {found['octaves']:.1f} octaves beyond. Default model:"
        f" {default['verdict']}, R-hat {default['rhat']:.3f}, ESS {default['ess']:.0f},"
        f" {default['divergences']} divergences, {default['steps']:.0f} steps a draw."
    )
    rows = "\n".join(row(way, of, held_out[1]) for way, of in found["ways"].items())
    targets = next(iter(found["ways"].values()))["by_target"]
    if len(targets) == 1:
        return f"{says}\n\n{HEAD}\n{rows}"
    head = (
        "| target | "
        + " | ".join(f"{WAYS[w]}: 90 %, signed %, WIS mnats" for w in ("alone", "default"))
        + " |\n|---|"
    )
    lines = [head + "---:|" * 2]
    for target in targets:
        each = [found["ways"][w]["by_target"][target] for w in ("alone", "default")]
        cells = [f"{e['coverage']:.2f}, {e['signed']:+.2f}, {1000 * e['wis']:.2f}" for e in each]
        lines.append(f"| {target} | " + " | ".join(cells) + " |")
    return f"{says}\n\n{HEAD}\n{rows}\n\n" + "\n".join(lines)


def summary(found: dict[Split, dict[str, Any]]) -> str:
    """All splits in one table: WIS against the better of law alone and bootstrap, coverage by distance."""
    lines = [
        (
            "| table | octaves beyond | runs held out | WIS: default over the better of law alone"
            " and bootstrap | 90 % cover: alone, bootstrap, default | signed error %: alone,"
            " default | Spearman: alone, default |"
        ),
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    ratios, near, far = [], [], []
    for split, one in found.items():
        ways = one["ways"]
        ratio = ways["default"]["wis"] / min(ways[w]["wis"] for w in ("alone", "bootstrap"))
        ratios.append(ratio)
        runs = one["held_out"][1]
        (near if one["octaves"] < 2 else far).append((ways["default"]["coverage"][2], runs))
        cover = ", ".join(
            f"{ways[w]['coverage'][2]:.2f}" for w in ("alone", "bootstrap", "default")
        )
        signed = ", ".join(f"{ways[w]['signed']:+.2f}" for w in ("alone", "default"))
        rank = [ways[w]["spearman"] for w in ("alone", "default")]
        mark = " †" if ways["default"]["fit"]["verdict"] == "FAIL" else ""
        lines.append(
            f"| {split.table}: {split.says}{mark} | {one['octaves']:.1f} | {runs} | {ratio:.2f} | {cover} | {signed} | "
            + ("–" if np.isnan(rank[0]) else ", ".join(f"{r:.3f}" for r in rank))
            + " |"
        )
    said = (
        f"{len(found)} splits. WIS of the default model over that of the better of law alone and"
        f" bootstrap: geometric mean {np.exp(np.mean(np.log(ratios))):.2f}, largest"
        f" {max(ratios):.2f}. 90 % bands of the default model, "
        + "; ".join(
            f"{name}: {np.average([c for c, _ in rows], weights=[n for _, n in rows]):.2f} of"
            f" {sum(n for _, n in rows)} runs, a mean of {np.mean([c for c, _ in rows]):.2f} over"
            " splits"
            for name, rows in (("up to 2 octaves beyond", near), ("farther", far))
            if rows
        )
        + "."
    )
    others = []
    for way in ("near", "blind", "free"):
        both = [(o["ways"][way], o["ways"]["default"]) for o in found.values() if way in o["ways"]]
        if both:
            ratio = np.exp(np.mean([np.log(a["wis"] / b["wis"]) for a, b in both]))
            cover = np.mean([a["coverage"][2] for a, _ in both])
            others.append(
                f"{WAYS[way].removeprefix('… ')}: WIS × {ratio:.2f}, mean cover {cover:.2f}"
                f" ({len(both)} splits)"
            )
    return f"{said}\n\nAgainst the default model, {'; '.join(others)}.\n\n" + "\n".join(lines)


def page(found: dict[Split, dict[str, Any]]) -> str:
    """Everything below the head."""
    parts = ["## All splits", summary(found)]
    for table in dict.fromkeys(split.table for split in found):
        parts.append(f"## {table}")
        parts += [section(split, one) for split, one in found.items() if split.table == table]
    return "\n\n".join(parts)


def main() -> None:
    """Fit what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "calibration")
    parser.add_argument("--only", nargs="*", help="beginnings of the names of splits")
    parser.add_argument(
        "--page-only", action="store_true", help="write the page from what is in the cache"
    )
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    keep_compiled_programs()
    found: dict[Split, dict[str, Any]] = {}
    for split in splits():
        wanted = not options.only or split.name.startswith(tuple(options.only))
        if (options.cache / f"{split.name}.json").exists() or (wanted and not options.page_only):
            found[split] = one = result(split, options.cache)
            ways = {way: round(1000 * of["wis"], 2) for way, of in one["ways"].items()}
            print(split.name, ways, one["ways"]["default"]["fit"], flush=True)
    head = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")
    whole = len(list(splits()))
    if len(found) < whole:
        head += (
            f"\n*{len(found)} of {whole} splits are made so far; the others are missing below.*\n"
        )
    with atomic_write(ROOT / "docs" / "calibration.md") as draft:
        draft.write_text(f"{head}\n{page(found)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
