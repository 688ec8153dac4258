"""Make docs/decisions-guide.md from docs' words and real fits. Run with `uv run python -m tests.benchmarks.decisions`.

Every fit and every part of the page is kept in the folder given with --cache, so that an
interrupted run goes on where it stopped and leaves no part empty that was there.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from bayesmix.decision.constraint import TrustRegion
from bayesmix.decision.decide import Decision, decide
from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.optimize import optimize
from bayesmix.decision.regret import regret
from bayesmix.decision.risk import CVaR, Mean
from bayesmix.design import Mixture, Scale
from bayesmix.evaluation.score import score
from bayesmix.laws.additive import Additive
from bayesmix.plots.decisions import plot_regret, plot_shares
from bayesmix.posterior.posterior import Posterior
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import keep_compiled_programs
from tests.benchmarks.pointfit import point_fit
from tests.benchmarks.results import ROOT, alone, fitted, slimpajama
from tests.decision.stub import posterior as stub

WORDS = Path(__file__).with_name("decisions-guide.md")
GUIDE = ROOT / "docs" / "decisions-guide.md"
FIGURES = ROOT / "docs" / "figures"
MISSING = "*Not measured yet.*"
FLAGSHIP = Scale(7e9, 150e9)
NAMES = ("arxiv", "book", "c4", "github", "commoncrawl", "stackexchange", "wikipedia")


def _mixture(*percent: float) -> Mixture:
    total = sum(percent)
    return Mixture.of(NAMES, [p / total for p in percent])


PUBLISHED = _mixture(9.6, 9.5, 25.1, 8.8, 12.1, 17.9, 17.0)  # arXiv 2507.09404, equal weights
PUBLISHED_CHAT = _mixture(9.4, 4.8, 27.8, 6.6, 36.9, 13.5, 1.0)  # the same, OpenHermes as target
NATURAL = _mixture(4.6, 4.2, 26.7, 5.2, 52.2, 3.3, 3.8)
SIZES = {"680": 680e6, "937": 937e6, "all": np.inf}
DRAWS = 500  # of each of four chains


def plain_fit(cache: Path, name: str, law: Additive, size: str, *targets: str) -> Posterior:
    """The posterior of a law without drift, from the cache where it is there."""
    runs = slimpajama()
    rows = runs.take(runs.params <= SIZES[size])
    few = rows.only(list(targets)) if targets else rows
    return replace(fitted(cache, name, alone(law), few, draws=DRAWS), natural=NATURAL)


def shares_table(columns: dict[str, Mixture]) -> str:
    """Markdown: a row a domain, a column a mixture, in percent."""
    rows = ["| domain | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    rows += [
        f"| {d} | " + " | ".join(f"{100 * m[d]:.1f}" for m in columns.values()) + " |"
        for d in NAMES
    ]
    return "\n".join(rows)


def equal_weights(posterior: Posterior) -> str:
    """The optimum for the seven domains as targets, beside the published one."""
    targets = dict.fromkeys(NAMES, 1.0)
    best = optimize(
        posterior, FLAGSHIP, targets=targets, baselines={"published": PUBLISHED, "natural": NATURAL}
    )
    theirs = best.against["published"].excess
    cost = regret(posterior, FLAGSHIP, best.mixture, targets=targets, max_draws=300)
    return "\n\n".join(
        [
            shares_table({"mean risk": best.mixture, "published": PUBLISHED, "natural": NATURAL}),
            (
                "Total-variation distance to the published optimum:"
                f" **{best.mixture.distance(PUBLISHED):.3f}**. Expected regret of our choice:"
                f" **{cost.regret.mean:.1e}** nats [{cost.regret.q05:.0e}, {cost.regret.q95:.0e}]."
                f" The published mixture loses {theirs.mean:.1e} nats [{theirs.q05:.0e},"
                f" {theirs.q95:.0e}] against ours, natural"
                f" {best.against['natural'].excess.mean:.3f}."
            ),
        ]
    )


def chat(posteriors: dict[str, Posterior]) -> tuple[str, Decision]:
    """OpenHermes as target: what is not identified, and what careful choices give up."""
    target = {"openhermes": 1.0}
    by_size = {
        f"N ≤ {'1235' if s == 'all' else s}M": optimize(p, FLAGSHIP, targets=target)
        for s, p in posteriors.items()
    }
    whole = posteriors["all"]
    best = decide(
        whole,
        FLAGSHIP,
        targets=target,
        baselines={"natural": NATURAL, "published": PUBLISHED_CHAT},
        regret_draws=200,
    )
    near = FeasibleSet(trust_region=TrustRegion(NATURAL, 0.1, "kl"))
    choices = {
        "mean": best.optimum,
        "CVaR 0.9": optimize(whole, FLAGSHIP, targets=target, risk=CVaR(0.9)),
        "within 0.1 nats (KL) of natural": optimize(whole, FLAGSHIP, targets=target, feasible=near),
    }
    base = choices["mean"].loss.mean
    rows = [
        "| choice | loss, mean [90 %] | given up | c4 | commoncrawl | stackexchange |",
        "|---|" + "---:|" * 5,
    ]
    rows += [
        f"| {name} | {o.loss} | {o.loss.mean - base:.4f} | {100 * o.mixture['c4']:.0f} % "
        f"| {100 * o.mixture['commoncrawl']:.0f} % | {100 * o.mixture['stackexchange']:.0f} % |"
        for name, o in choices.items()
    ]
    same = best.near_optimal
    span = {
        d: f"{100 * same.ranges[d][0]:.0f} to {100 * same.ranges[d][1]:.0f} %"
        for d in ("c4", "commoncrawl")
    }
    moved = by_size["N ≤ 680M"].mixture.distance(by_size["N ≤ 1235M"].mixture)
    swap = "; ".join(
        f"{100 * t:.0f} points from {a} to {b}" for (a, b), t in list(same.trades.items())[:2]
    )
    return (
        "\n\n".join(
            [
                "The answer by the largest size that was fitted:",
                shares_table(
                    {name: o.mixture for name, o in by_size.items()} | {"published": PUBLISHED_CHAT}
                ),
                (
                    f"From N ≤ 680M to the whole window it moves by {moved:.2f} in total variation."
                    f" Within one posterior, {same.epsilon:.1g} nats of regret leave c4"
                    f" {span['c4']} and commoncrawl {span['commoncrawl']}; {swap}."
                ),
                "\n".join(rows),
            ]
        ),
        best,
    )


class Picks(NamedTuple):
    """Regret (target) of each way to pick one of the measured mixtures."""

    targets: tuple[str, ...]
    regrets: dict[str, np.ndarray]


def held_out(runs: Runs, posterior: Posterior) -> Picks:
    """Pick the best mixture at 1235M from smaller runs: the measured loss of the pick minus the lowest measured one."""
    last = runs.tokens == runs.tokens[runs.params == 1235e6].max()
    measured = runs.take((runs.params == 1235e6) & last)
    losses = measured.loss
    draws = posterior.loss(measured.designs).draws  # (draw, run, target)
    points = point_fit("additive", runs.take(runs.params <= 680e6)).predict(measured.designs)[None]
    together = {
        "mean": (draws, Mean()),
        "CVaR 0.9": (draws, CVaR(0.9)),
        "point fit": (points, Mean()),
    }
    targets = (*posterior.targets, "all, equally")
    regrets = {}
    for name, (of, risk) in together.items():
        with_mean = np.concatenate([of, of.mean(axis=2, keepdims=True)], axis=2)
        truth = np.column_stack([losses, losses.mean(axis=1)])
        picks = [
            int(np.argmin([float(risk(with_mean[:, i, t])) for i in range(len(losses))]))
            for t in range(len(targets))
        ]
        regrets[name] = np.array([truth[i, t] - truth[:, t].min() for t, i in enumerate(picks)])
    return Picks(targets, regrets)


def picks_table(picks: Picks) -> str:
    """Markdown: regret by target and way of picking, and the mean over the single targets."""
    rows = [
        "| target | " + " | ".join(picks.regrets) + " |",
        "|---|" + "---:|" * len(picks.regrets),
    ]
    rows += [
        f"| {t} | " + " | ".join(f"{r[i]:.4f}" for r in picks.regrets.values()) + " |"
        for i, t in enumerate(picks.targets)
    ]
    single = len(picks.targets) - 1
    means = " | ".join(f"**{r[:single].mean():.4f}**" for r in picks.regrets.values())
    table = "\n".join([*rows, f"| **mean of the targets** | {means} |"])
    first, *others = picks.regrets.values()
    alike = all(np.array_equal(first, each) for each in others)
    return table + (
        "\n\nAll ways pick alike: this table does not tell them apart." if alike else ""
    )


def bound_table(runs: Runs, made: dict[str, Posterior]) -> str:
    """Markdown: held-out figures with γ free and bounded, fitted on N ≤ 680M, all targets together."""
    rows = [
        "| scored at | γ | MRE % | cover 90 % | CRPS | divergent | verdict |",
        "|---|---|" + "---:|" * 5,
    ]
    for at in (937e6, 1235e6):
        for name, posterior in made.items():
            test = runs.take(runs.params == at)
            s = score(posterior.predict(test.designs), test.loss)
            divergent = sum(t.divergences for t in posterior.diagnostics.targets)
            rows.append(
                f"| {at / 1e6:.0f}M | {name} | {s.pooled(s.mre):.3f} |"
                f" {s.pooled(s.coverage[2]):.3f} | {s.pooled(s.crps):.5f} | {divergent} |"
                f" {posterior.diagnostics.verdict} |"
            )
    return "\n".join(rows)


class Speed(NamedTuple):
    """Seconds, best of three after compilation."""

    wall: float
    cpu: float
    evaluations: int


def speed(risk: Mean | CVaR, repeats: int = 3) -> Speed:
    """Optimising 4,000 draws × 8 targets × 17 domains; the CPU time counts all threads."""
    problem = stub(draws=4000, targets=8, domains=17)
    found = optimize(problem, FLAGSHIP, risk=risk)
    times = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        optimize(problem, FLAGSHIP, risk=risk)
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return Speed(*map(min, zip(*times, strict=True)), found.evaluations)


def speed_table() -> str:
    """Markdown: seconds by risk."""
    rows = ["| risk | wall s | CPU s, all threads | evaluations |", "|---|" + "---:|" * 3]
    rows += [
        f"| {risk} | {s.wall:.2f} | {s.cpu:.2f} | {s.evaluations} |"
        for risk in (Mean(), CVaR(0.9))
        for s in [speed(risk)]
    ]
    return "\n".join(rows)


def figure(decision: Decision) -> None:
    """The two pictures of a decision side by side."""
    page = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = page.subplots(1, 2)
    plot_shares(decision, ax=left)
    plot_regret(decision, ax=right)
    FIGURES.mkdir(exist_ok=True)
    page.savefig(FIGURES / "decision.png", dpi=130)


def page(parts: dict[str, str]) -> str:
    """The words of the guide with its parts; one that is missing says so."""
    return re.sub(
        r"<!-- ([\w-]+) -->",
        lambda found: parts.get(found[1], MISSING),
        WORDS.read_text(encoding="utf-8"),
    )


def main() -> None:
    """Compute every part and put it into the words of the guide as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "decisions")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    keep_compiled_programs()
    runs = slimpajama()
    kept = options.cache / "parts.json"
    parts: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}

    def ready(name: str, text: str) -> None:
        parts[name] = text
        kept.write_text(json.dumps(parts))
        GUIDE.write_text(page(parts), encoding="utf-8")
        print(f"## {name}\n\n{text}\n", flush=True)

    ready("speed", speed_table())
    whole = plain_fit(options.cache, "additive-all", Additive(), "all")
    ready("equal-weights", equal_weights(whole))
    small = plain_fit(options.cache, "additive-680", Additive(), "680")
    ready("held-out", picks_table(held_out(runs, small)))
    middle = plain_fit(options.cache, "additive-937-openhermes", Additive(), "937", "openhermes")
    conversation, decision = chat({"680": small, "937": middle, "all": whole})
    ready("chat", conversation)
    ready("printed", f"```text\n{decision}\n```")
    figure(decision)
    ready(
        "figure", "![Shares with their ranges, and the regret of acting now](figures/decision.png)"
    )
    bounded = plain_fit(options.cache, "additive-bounded-680", Additive(diminishing=True), "680")
    ready("bound", bound_table(runs, {"free": small, "below 1": bounded}))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
