"""Make docs/active.md: which run next, replayed on recorded runs. Run `uv run python -m tests.benchmarks.active`.

Every replay is kept in the folder given with --cache, so that an interrupted run goes on where it
stopped; `--only` and `--seeds` make pieces, and the page is written from the pieces there are. The
Gaussian process is a script of its own, because it needs PyTorch: `--tasks` writes what it reads,
and its picks are replayed where they are there.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, override

import numpy as np

from bayesmix.acquisition.functions import RegretReduction
from bayesmix.acquisition.pool import Pool
from bayesmix.campaign.replay import Replays, Step, Trace, paired, replay
from bayesmix.campaign.strategies import D_OPTIMAL, AtRandom, ByCriterion, SpaceFilling, Strategy
from bayesmix.decision.objective import target_weights
from bayesmix.design import Mixture, Scale
from bayesmix.laws.additive import Additive
from bayesmix.model.model import Model
from bayesmix.plots.replays import plot_regret_by_flops
from bayesmix.posterior.posterior import Posterior
from bayesmix.runs.load import load_runs
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import keep_compiled_programs
from bayesmix.runtime.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "active.md"
FIGURE = ROOT / "docs" / "figures" / "active-{}.png"
OURS = "regret per FLOP"
# the drift makes a refit forty times slower, and every strategy shares it
BELIEF = Model(Additive(), discrepancy=None)
GAUSSIAN = "BoTorch GP"
MISSING = "*Not measured yet.*"


@dataclass(frozen=True)
class Bench:
    """One replay: a pool, what is judged, and for which target."""

    name: str
    pool: Callable[[], Runs]
    judged: Callable[[], Runs]
    scale: Callable[[], Scale]
    targets: dict[str, float] | None
    first: int
    until: int
    every: int
    what: str


def slimpajama_pool() -> Runs:
    """The paper's window at 310M and 680M, every other checkpoint counted from the end."""
    window = "(params == 310e6 and tokens >= 4e9) or (params == 680e6 and tokens >= 7e9)"
    runs = load_runs(DATA / "slimpajama" / "runs.csv", where=["~repeat_of_previous", window])
    age = np.zeros(len(runs), dtype=int)
    for name in set(runs.train_run):
        rows = np.flatnonzero(np.array(runs.train_run) == name)
        age[rows[np.argsort(-runs.tokens[rows])]] = np.arange(len(rows))
    return runs.take(age % 2 == 0)


def slimpajama_judged() -> Runs:
    """The 20 runs at 1235M."""
    return load_runs(
        DATA / "slimpajama" / "runs.csv", where=["~repeat_of_previous", "params == 1235e6"]
    )


def regmix(split: str) -> Runs:
    """The runs of one split."""
    return load_runs(DATA / "regmix" / "runs.csv", where=f"split == '{split}'")


def pocket(largest: bool) -> Runs:
    """The runs of the largest pocket model, or those of the smaller ones."""
    runs = load_runs("pocket-multimodal")
    return runs.take((runs.params == runs.params.max()) == largest)


def pocket_flagship() -> Scale:
    """Where the pocket runs are judged."""
    judged = pocket(largest=True)
    return Scale(float(judged.params.max()), float(judged.tokens.max()))


BENCHES = {
    b.name: b
    for b in (
        Bench(
            "slimpajama",
            slimpajama_pool,
            slimpajama_judged,
            lambda: Scale(1.235e9, 4.6078e10),
            {"openhermes": 1.0},
            first=10,
            until=25,
            every=3,
            what="100 runs at 310M and 680M to choose from, judged on the 20 mixtures at 1235M, for OpenHermes, which "
            "is in no training mixture.",
        ),
        Bench(
            "regmix",
            lambda: regmix("train"),
            lambda: regmix("test"),
            lambda: Scale(1310720, 1e9),
            {"pile_cc": 1.0},
            first=40,
            until=60,
            every=5,
            what="512 mixtures at 1M parameters to choose from, judged on 256 others, for Pile-CC. All runs cost the "
            "same.",
        ),
        Bench(
            "pocket",
            lambda: pocket(largest=False),
            lambda: pocket(largest=True),
            pocket_flagship,
            dict.fromkeys(("prose", "code", "speech", "image"), 0.25),
            first=6,
            until=21,
            every=3,
            what="The runs that come with the package, `pocket-multimodal`: the smaller models to choose from, judged "
            "on the mixtures of the largest, the four kinds of data weighed alike.",
        ),
    )
}


@dataclass(frozen=True)
class Recorded(Strategy):
    """The order in which another program bought the runs, by seed."""

    needs_posterior: ClassVar[bool] = False
    orders: dict[int, list[int]]

    @override
    def pick(
        self,
        posterior: Posterior | None,
        pool: Pool,
        remaining: np.ndarray,
        history: np.ndarray,
        seed: int,
    ) -> int:
        order = self.orders[seed]
        assert order[: len(history)] == history.tolist()
        return order[len(history)]

    @property
    @override
    def name(self) -> str:
        return GAUSSIAN


def strategies(bench: Bench, cache: Path) -> dict[str, Strategy]:
    """Ours first; the decision is between the judged mixtures."""
    ours = ByCriterion(RegretReduction(bench.scale(), mixtures=mixtures(bench)), label=OURS)
    picks = gaussian_picks(bench, cache)
    recorded = [Recorded({seed: found["order"] for seed, found in picks.items()})] if picks else []
    return {s.name: s for s in (ours, AtRandom(), SpaceFilling(), D_OPTIMAL, *recorded)}


def mixtures(bench: Bench) -> list[Mixture]:
    """The judged mixtures, in the order of the judged runs."""
    last = Pool.of_runs(bench.judged()).last
    return [last[i].mixture for i in range(len(last))]


def gaussian_picks(bench: Bench, cache: Path) -> dict[int, dict[str, list[int]]]:
    """What `gaussian_process.py` bought and decided, by seed; nothing where it has not run."""
    path = cache / f"{bench.name}.picks"
    return (
        {int(seed): found for seed, found in json.loads(path.read_text()).items()}
        if path.exists()
        else {}
    )


def combined_loss(bench: Bench, runs: Runs) -> np.ndarray:
    """Weighted measured loss (run) at the end of every training run."""
    last = Pool.of_runs(runs).last
    ends = runs.take(np.array([runs.designs.ids.index(i) for i in last.ids]))
    return ends.loss @ np.array(target_weights(runs.targets, bench.targets))


def write_task(bench: Bench, cache: Path, seeds: int) -> None:
    """The file `gaussian_process.py` reads: pool, decisions and the random runs each seed begins with."""
    pool, scale = bench.pool(), bench.scale()
    last = Pool.of_runs(pool).last
    sizes = np.log(np.column_stack([last.params, last.tokens]))
    decisions = np.array([m.on(last.domains) for m in mixtures(bench)])
    flagship = np.tile(np.log([scale.params, scale.tokens]), (len(decisions), 1))
    task = {
        "inputs": np.hstack([last.mixture, sizes]).tolist(),
        "loss": combined_loss(bench, pool).tolist(),
        "cost": last.flops.tolist(),
        "decisions": np.hstack([decisions, flagship]).tolist(),
        "until": bench.until,
        "first": {
            s: np.random.default_rng(s).permutation(len(last))[: bench.first].tolist()
            for s in range(seeds)
        },
    }
    with atomic_write(cache / f"{bench.name}.task") as draft:
        draft.write_text(json.dumps(task))


def gaussian_decides(bench: Bench, cache: Path) -> dict[int, Trace]:
    """The same runs as under the Gaussian process's picks, with the decision left to its own posterior mean."""
    cost = Pool.of_runs(bench.pool()).last.flops
    truth = combined_loss(bench, bench.judged())
    traces = {}
    for seed, found in gaussian_picks(bench, cache).items():
        steps = [
            Step(
                n,
                float(cost[found["order"][:n]].sum()),
                float(truth[decided] - truth.min()),
                np.nan,
                0.0,
            )
            for n, decided in enumerate(found["decided"], start=bench.first)
            if (n - bench.first) % bench.every == 0 or n == bench.until
        ]
        traces[seed] = Trace(f"{GAUSSIAN}, deciding too", seed, tuple(steps))
    return traces


def piece(bench: Bench, strategy: Strategy, seed: int, cache: Path) -> Trace:
    """One replay, from the cache when it is there."""
    path = cache / f"{bench.name}-{strategy.name.replace(' ', '-')}-{seed}.json"
    if not path.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trace = replay(
                BELIEF,
                bench.pool(),
                bench.judged(),
                strategy,
                targets=bench.targets,
                initial=bench.first,
                count=bench.until,
                looks=lambda n: (n - bench.first) % bench.every == 0,
                seed=seed,
            )
        with atomic_write(path) as draft:
            draft.write_text(json.dumps(trace.as_dict()))
    return Trace.from_dict(json.loads(path.read_text()))


def whole_pool(bench: Bench, cache: Path) -> Trace:
    """What the whole pool would decide."""
    path = cache / f"{bench.name}-whole.json"
    if not path.exists():
        pool = bench.pool()
        runs = len(set(pool.train_run))
        trace = replay(
            BELIEF, pool, bench.judged(), AtRandom(), targets=bench.targets, initial=runs
        )
        path.write_text(json.dumps(trace.as_dict()))
    return Trace.from_dict(json.loads(path.read_text()))


def traces(bench: Bench, cache: Path) -> dict[str, dict[int, Trace]]:
    """The pieces there are: strategy → seed → trace."""
    found: dict[str, dict[int, Trace]] = {name: {} for name in strategies(bench, cache)}
    for path in sorted(cache.glob(f"{bench.name}-*-*.json")):
        trace = Trace.from_dict(json.loads(path.read_text()))
        found[trace.strategy][trace.seed] = trace
    found[f"{GAUSSIAN}, deciding too"] = gaussian_decides(bench, cache)
    return {name: by_seed for name, by_seed in found.items() if by_seed}


def table(bench: Bench, found: dict[str, dict[int, Trace]]) -> str:
    """Markdown: area under the regret curve, against ours, and error, over the seeds all strategies share."""
    everything = Replays(tuple(t for by_seed in found.values() for t in by_seed.values()))
    spans, areas = (
        everything.spans(),
        {name: 1e3 * np.array(v) for name, v in everything.areas().items()},
    )
    times = np.quantile([high / low for low, high in spans.values()], [0, 0.5, 1])
    rows = [
        (
            f"{len(spans)} seeds that every strategy has. Areas are over log FLOPs, for each seed"
            f" from what its first runs cost to the least that any strategy spent, {times[1]:.3g}"
            f" times as much (median; {times[0]:.3g} to {times[2]:.3g}), where the end is."
        ),
        (
            "| strategy | mean regret under the curve, mnats | ours minus it [95 % paired] | regret"
            " at the end, mnats | error at the end, % | k̂ ≥ 0.7 |"
        ),
        "|---|" + "---:|" * 5,
    ]
    for name, by_seed in found.items():
        ends = {
            what: np.mean(
                [by_seed[s].at(np.array([high]), what)[0] for s, (_, high) in spans.items()]
            )
            for what in ("regret", "error")
        }
        bad = np.mean([step.khat >= 0.7 for s in spans for step in by_seed[s].steps])
        against = (
            "–"
            if name == OURS or OURS not in areas
            else str(paired(areas[OURS], areas[name])).split(" over")[0]
        )
        law = (
            f"{100 * ends['error']:.2f} | {100 * bad:.0f} %"
            if np.isfinite(ends["error"])
            else "– | –"
        )
        rows.append(
            f"| {name} | {np.mean(areas[name]):.2f} | {against} | {1e3 * ends['regret']:.2f} |"
            f" {law} |"
        )
    return "\n".join([rows[0], "", *rows[1:]])


def reached(bench: Bench, found: dict[str, dict[int, Trace]], whole: Trace) -> str:
    """The share of the pool's FLOPs at which the mean regret of each strategy falls to that of the whole pool."""
    goal, price = whole.steps[-1].regret, whole.steps[-1].flops
    said = []
    for name, by_seed in found.items():
        last = max(t.steps[-1].flops for t in by_seed.values())
        budgets = np.append(np.geomspace(0.01 * price, last, 400), last)
        # NaN until every seed has its first runs
        mean = np.mean([t.at(budgets) for t in by_seed.values()], axis=0)
        there = np.flatnonzero(mean <= goal + 1e-9)
        said.append(
            f"{name} {f'{100 * budgets[there[0]] / price:.0f} %' if len(there) else 'not reached'}"
        )
    return (
        f"The whole pool ({whole.steps[-1].runs} runs, {price:.2g} FLOPs) decides with a regret of"
        f" {1e3 * goal:.2f} mnats and predicts with an error of {100 * whole.steps[-1].error:.2f}"
        f" %. Share of its FLOPs at which the mean regret first is as low: {'; '.join(said)}."
    )


def figure(bench: Bench, found: dict[str, dict[int, Trace]], whole: Trace) -> Path:
    """Mean regret and error against FLOPs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    everything = Replays(tuple(t for by_seed in found.values() for t in by_seed.values()))
    deciding = Replays(tuple(t for t in everything.traces if np.isfinite(t.steps[-1].error)))
    for axis, what, factor, of in (
        (axes[0], "regret", 1, everything),
        (axes[1], "error", 100, deciding),
    ):
        plot_regret_by_flops(of, ax=axis, metric=what)
        axis.axhline(
            factor * getattr(whole.steps[-1], what), color="0.5", ls=":", label="whole pool"
        )
        axis.get_legend().remove()
    fig.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=7,
    )
    fig.suptitle(bench.name, fontsize=10)
    path = Path(str(FIGURE).format(bench.name))
    path.parent.mkdir(exist_ok=True)
    fig.savefig(path, dpi=150)
    plt.close(fig)
    return path


def page(cache: Path) -> None:
    """Write docs/active.md from the pieces there are."""
    parts = [
        "# Which run next: replays",
        (
            "Made by `uv run python -m tests.benchmarks.active`; the tables of slimpajama and"
            " regmix are not part of the project. A recorded pool is revealed run by run to a"
            " strategy; every strategy with the same seed begins with the same random runs. The"
            " decision is the judged mixture with the lowest expected loss; its regret is"
            " *measured*: its recorded loss minus the lowest recorded one. A run is bought whole,"
            " with all its checkpoints."
        ),
        (
            "Beliefs are the additive law without drift, brought up to date with `laplace`"
            " (Student-t at the best fit, Pareto-smoothed importance weights), not with NUTS: with"
            " drift a refit takes some forty times as long. The last column says how often k̂"
            " called for a fit instead."
        ),
        (
            f"*{GAUSSIAN}* is Bayesian optimisation as one does it without a law"
            " (`tests/benchmarks/gaussian_process.py`): a Gaussian process over mixture, log N and"
            " log D, and the knowledge gradient per FLOP over the judged mixtures. In its first"
            " row the law decides on the runs it bought; in the second the process decides too."
        ),
    ]
    for bench in BENCHES.values():
        found = traces(bench, cache)
        if len(found) < 2:  # nothing to compare with
            parts += [f"## {bench.name}", bench.what, MISSING]
            continue
        whole = whole_pool(bench, cache)
        picture = figure(bench, found, whole)
        seeds = ", ".join(f"{name} {len(by_seed)}" for name, by_seed in found.items())
        parts += [
            f"## {bench.name}",
            bench.what,
            f"Begun with {bench.first} random runs, replayed to {bench.until}. Seeds run: {seeds}.",
            table(bench, found),
            reached(bench, found, whole),
            f"![{bench.name}: regret and error against FLOPs](figures/{picture.name})",
        ]
    with atomic_write(PAGE) as draft:
        draft.write_text("\n\n".join(parts) + "\n")


def main() -> None:
    """Run the pieces that are missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "active")
    parser.add_argument("--only", nargs="*", default=list(BENCHES), choices=list(BENCHES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--page",
        action="store_true",
        help="write the page from the pieces there are, and run nothing",
    )
    parser.add_argument(
        "--tasks",
        action="store_true",
        help="write the tasks of the Gaussian process, and run nothing",
    )
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    if options.tasks:
        for name in options.only:
            write_task(BENCHES[name], options.cache, options.seeds)
        return
    keep_compiled_programs()
    for seed in range(0 if options.page else options.seeds):
        for name in options.only:
            for strategy in strategies(BENCHES[name], options.cache).values():
                trace = piece(BENCHES[name], strategy, seed, options.cache)
                print(
                    name,
                    strategy.name,
                    seed,
                    f"{1e3 * trace.steps[-1].regret:.2f} mnats",
                    flush=True,
                )
    page(options.cache)


if __name__ == "__main__":
    main()
