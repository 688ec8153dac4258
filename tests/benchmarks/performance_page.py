"""Write the performance page, its JSON and its figure from what the steps have kept; what is missing is named."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bayesmix.acquisition.propose import DRAWS
from bayesmix.runtime.compute import cores
from bayesmix.runtime.files import atomic_write
from tests.benchmarks.performance import LAWS
from tests.benchmarks.performance_goals import (
    AXES,
    KINDS,
    NAMED,
    PEERS,
    Goal,
    Kept,
    bootstrapped,
    goals,
    speed,
    whole,
)
from tests.benchmarks.performance_growth import BELIEVED, exponent, figure, slope_text

PACKAGES = ("bayesmix", "jax", "numpyro", "pymc", "nutpie", "numba", "scipy", "numpy")
RICHER = (
    "It has scatter of training runs and drift beside the law, which the bootstrap leaves out: a"
    " leapfrog step costs several times as much, and weights of training runs are drawn in turn"
    " with the parameters, so that more draws are needed. The law alone is what the bootstrap"
    " estimates"
)
WHY = {
    "all 8 targets, joint, law alone (R-hat ≤ 1.01, ESS ≥ 400), against (c) 200 bootstraps": (
        "On one target the shares of domains in A lie on a ridge with a sharp end, where chains"
        " move slowly or diverge, and longer ones do not help. The default model, with room for"
        " what the law misses, passes on every target"
    ),
    "all 8 targets, additive, default model (R-hat ≤ 1.01, ESS ≥ 400), against (c) 200 bootstraps": (
        RICHER
    ),
    "all 8 targets, joint, default model (R-hat ≤ 1.01, ESS ≥ 400), against (c) 200 bootstraps": (
        RICHER
    ),
    "refit with five new rows, joint, default model, against the first fit": (
        "A refit is spared optimisation and most of the warm-up, and it needs as many effective"
        " draws as any fit. Shares in A mix slowly, so chains may have to go on for longer, in the"
        " first fit or in the refit, by chance"
    ),
    "demo, cold": (
        "Half of it is compiling: the sampler is one program for all laws, and starts, drift and"
        " decisions have their own"
    ),
    "demo, warm": (
        "Only compiled programs are kept: every process imports JAX, NumPyro, SciPy, pandas and"
        " ArviZ and traces its programs anew, and sampling alone takes half of what the goal allows"
    ),
    "exponent of the cost in measured points": (
        "A row costs more once the arrays of a step outgrow the caches of the processor"
    ),
    "exponent of the cost in targets": (
        "Targets are sampled one by one with one program, so nothing grows faster than their"
        " number; but some need more steps than others, and the speed of the machine changes from"
        " minute to minute"
    ),
    "mean leapfrog steps a draw, law alone, worst of 16 fits": (
        "The joint law has shares in A and B besides, which "
        "these runs hardly tell; their posterior has bends that no linear whitening straightens"
    ),
}
"""Goal → why it is missed, in a sentence; read only where it is."""


def goals_table(every: list[Goal]) -> Iterator[str]:
    """The goals, and why those are missed that are."""
    rows = ["| goal | | measured | |", "|---|---|---|---|"]
    for g in every:
        verdict = {True: "met", False: "**missed**", None: "not all measured"}[g.met]
        verdict = "not measured" if g.measured is None else verdict
        rows.append(f"| {g.says} | {g.goal} | {g.measured or '–'} | {verdict} |")
    yield "\n".join(rows)
    missed = [g.says for g in every if g.measured is not None and g.met is False and g.says in WHY]
    if missed:
        yield "Why goals are missed:"
        yield "\n".join(f"* *{says}*: {WHY[says]}." for says in missed)


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Markdown, the first column to the left."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def cold(kept: Kept) -> Iterator[str]:
    """Cold starts."""
    rows = [
        [f"`{name}`", f"{times[len(times) // 2]:.2f}", "–"]
        for name, times in kept["cold-program"].items()
    ]
    for name, says in (
        ("first", "first fit of a process, one target of `pocket-multimodal`"),
        ("demo", "demo"),
    ):
        if set(found := kept[f"cold-{name}"]) >= {"cold", "warm"}:
            each = [found[f"{what}, each"] for what in ("cold", "warm")]
            rows.append(
                [says, *(f"{np.median(t):.1f} ({min(t):.0f} to {max(t):.0f})" for t in each)]
            )
    yield (
        "Medians, and the range of three; Python and JAX keep what they compile from the first"
        " time on."
    )
    yield table(["fresh process", "s, nothing compiled", "s, second time"], rows)


def sampling(kept: Kept) -> Iterator[str]:
    """Fits of ours, one row a fit."""
    yield (
        "`after` is the wall time of `fit` less compilation: starts, weighing of runs, warm-up,"
        " draws, diagnostics. ESS is the smallest bulk ESS over all parameters. Gradients are"
        " leapfrog steps of all chains, in warm-up and extensions too. Peak memory is that of the"
        " process up to there."
    )
    head = [
        "target",
        "compile s",
        "after s",
        "steps a draw",
        "R-hat",
        "min ESS",
        "ESS a second",
        "ESS a 1000 gradients",
        "divergences",
        "peak GB",
    ]
    for kind, named in KINDS.items():
        for law in LAWS:
            if fits := kept[f"sampling-{law}-{kind}"]:
                yield f"### slimpajama, {law}, {named}, one target at a time"
                yield table(head, [_row(target, fit) for target, fit in fits.items()])
    for name, says in (
        ("regmix", "regmix, additive, default model"),
        ("pocket", "runs of the demo, additive"),
    ):
        figures = dict(kept[f"sampling-{name}"])
        if both := figures.pop("all", None):
            yield f"### {says}: all {both['targets']} targets at once"
            yield (
                f"{both['rows']} points, {both['domains']} domains. Compilation"
                f" {both['compile']:.1f} s, then {both['after']:.1f} s; {both['gradients']:,}"
                f" gradients; peak memory {both['peak_gb']:.2f} GB."
            )
            rows = [
                [
                    t,
                    f"{f['steps']:.0f}",
                    f"{f['rhat']:.3f}",
                    f"{f['ess_bulk']:.0f}",
                    f["divergences"],
                ]
                for t, f in figures.items()
            ]
            yield table(["target", "steps a draw", "R-hat", "min ESS", "divergences"], rows)


def _row(target: str, f: Mapping[str, Any]) -> list[Any]:
    return [
        target,
        f"{f['compile']:.1f}",
        f"{f['after']:.1f}",
        f"{f['steps']:.0f}",
        f"{f['rhat']:.3f}",
        f"{f['ess_bulk']:.0f}",
        f"{speed(f):.2f}",
        f"{1000 * f['ess_bulk'] / f['gradients']:.3f}",
        f["divergences"],
        f"{f['peak_gb']:.2f}",
    ]


def peers(kept: Kept) -> Iterator[str]:
    """Ours against others, on the same posterior."""
    some = [fit for peer in PEERS for *_, fit in kept.pairs(peer)]
    if some:
        lengths = {
            peer: next(iter(kept.pairs(peer)), (0, 0, 0, {}))[3].get("draws", "?") for peer in PEERS
        }
        yield (
            "The law alone with Student-t scatter: same priors, likelihood, data and double"
            " precision, four chains, one fit at a time on all cores. (a) and (b) sample the law's"
            " own parameters, with the defaults of their samplers but for the number of draws:"
            f" {lengths['numpyro']} and {lengths['nutpie']} a chain after as many of warm-up, which"
            " counts for everybody. Log densities agree with ours up to a constant within"
            f" {max(f['density_apart'] for f in some):.0e} of their size, at the best fit, around"
            " it and at prior draws. A fit with R-hat far above 1.01 has not found the posterior:"
            " its ESS is then about the number of chains, whatever the draws are worth, and the"
            " ratio flatters it."
        )
    rows = []
    found = {peer: {(law, t): (o, p) for law, t, o, p in kept.pairs(peer)} for peer in PEERS}
    for key in dict.fromkeys(key for pairs in found.values() for key in pairs):
        ours = next(pairs[key][0] for pairs in found.values() if key in pairs)
        row = [", ".join(key), f"{speed(ours):.2f}", f"{ours['steps']:.0f}"]
        for pairs in found.values():
            theirs = pairs[key][1] if key in pairs else None
            row += (
                [
                    f"{speed(theirs):.3f}",
                    f"{theirs['steps']:.0f}",
                    f"{theirs['rhat']:.2f}",
                    f"{speed(ours) / speed(theirs):.1f}",
                ]
                if theirs
                else ["–"] * 4
            )
        rows.append(row)
    head = [
        f"{peer} {what}"
        for peer in ("(a)", "(b)")
        for what in ("ESS a second", "steps", "R-hat", "ratio")
    ]
    yield table(["law, target", "ESS a second", "steps", *head], rows)
    for peer in NAMED:
        yield from agreement(kept, peer)
    for law in LAWS:
        if copies := kept[f"peers-least_squares-{law}"].get("all"):
            fits = {named: kept[f"sampling-{law}-{kind}"] for kind, named in KINDS.items()}
            times = ", ".join(
                f"{named} {whole(found):.0f} s" for named, found in fits.items() if found
            )
            yield (
                f"(c) {law}: basin-hopping ({copies['starts']} starts, {copies['hops']} hops) on"
                f" all {copies['targets']} targets takes {np.mean(copies['timed']):.1f} s a"
                f" resampled table once compiled, from {len(copies['timed'])} tables;"
                f" {copies['copies']} of them are extrapolated to {bootstrapped(copies):.0f} s on"
                f" {cores()} cores without any loss. Ours, all targets, compilation included:"
                f" {times or 'not measured'}."
            )


def agreement(kept: Kept, peer: str) -> Iterator[str]:
    """Posterior means against each other, in units of their Monte Carlo errors."""
    for law in LAWS:
        scores, settled, fits = [], [], 0
        for mine, _, ours, theirs in kept.pairs(peer):
            if mine == law:
                pairs = [(ours["means"][site], theirs["means"][site]) for site in theirs["means"]]
                z = [(b - a) / np.hypot(a_error, b_error) for (a, a_error), (b, b_error) in pairs]
                scores += z
                if theirs["rhat"] <= 1.01:
                    settled, fits = settled + z, fits + 1
        if scores:
            yield (
                f"Posterior means of the {law} law, {NAMED[peer]} against ours: {_spread(scores)}."
                + (
                    f" With R-hat of the peer at most 1.01 ({fits} of its fits):"
                    f" {_spread(settled)}."
                    if settled
                    else (
                        " In no fit is R-hat of the peer at most 1.01, so its Monte Carlo errors"
                        " are only indicative."
                    )
                )
            )


def _spread(scores: list[float]) -> str:
    size = np.abs(np.array(scores))
    rms = float(np.sqrt(np.mean(size**2)))
    return (
        f"{len(size)} of them, z-scores with root mean square {rms:.2f}, largest {size.max():.1f}, "
        f"{np.mean(size <= 2):.0%} within 2"
    )


def refit(kept: Kept) -> Iterator[str]:
    """Refits."""
    rows = []
    for law in LAWS:
        if found := kept[f"refit-{law}"].get("refit"):
            first, again = found["first"], found["again"]
            cells = [f"{f[key]:.1f}" for f in (first, again) for key in ("seconds", "compile")]
            rows.append([law, *cells, f"{100 * found['share']:.0f} %"])
    yield (
        "Default model, one target of slimpajama; the five rows are drawn at random, and the"
        " process goes on."
    )
    yield table(["law", "first s", "of it compiling", "again s", "of it compiling", "share"], rows)


def growth(kept: Kept, where: Path) -> Iterator[str]:
    """Exponents, the figure, and memory."""
    series = {"|".join(AXES[axis]): lines for axis in AXES if (lines := kept.series(axis))}
    if series:
        figure(series, where / "figures" / "growth.png")
        yield "![Cost against rows, domains, targets, draws and candidates](figures/growth.png)"
    rows = []
    for axis in AXES:
        steps = kept.series(axis, "gradients")
        for name, (x, y) in kept.series(axis).items():
            spans = (f"{v[0]:.{digits}g} … {v[-1]:.{digits}g}" for v, digits in ((x, 6), (y, 2)))
            taken = slope_text(exponent(*steps[name])) if name in steps else "–"
            rows.append([AXES[axis][0], name, *spans, slope_text(exponent(x, y)), taken])
    yield (
        "Seconds without compilation, simulated tables; exponents are fitted to the upper half of"
        " the range, in logs. One step is a leapfrog step of the joint law, default model."
        f" Candidates have one target and {BELIEVED:,} draws, of which `propose` takes {DRAWS:,}."
        " Where a cost is that of a fit, the last column says how its leapfrog steps grow: the"
        " rest is the cost of a step."
    )
    yield table(
        ["axis", "cost of", "from … to", "s", "exponent", "exponent of leapfrog steps"], rows
    )
    rows = [
        [key.rsplit("-", 1)[0], f"{v['x']:,}", *_memory(v)]
        for key, v in sorted(kept.growth("candidates"), key=_order)
    ]
    if rows:
        yield table(["verb", "candidates", "s", "peak GB", "of it before the call"], rows)


def _order(item: tuple[str, dict[str, Any]]) -> tuple[str, int]:
    return item[0].rsplit("-", 1)[0], item[1]["x"]


def _memory(figures: dict[str, Any]) -> list[str]:
    return [f"{figures['seconds']:.2f}", f"{figures['peak_gb']:.2f}", f"{figures['before_gb']:.2f}"]


def profile(kept: Kept) -> Iterator[str]:
    """Where the time of one default fit goes."""
    for what, says in (("first", "First fit of a process"), ("again", "The same fit again")):
        if found := kept["profile"].get(what):
            every = found["seconds"]
            yield (
                f"{says}: the joint law, default model, one target, {found['rows']} rows:"
                f" {every:.1f} s, of them {found['compile']:.1f} s tracing and compiling, in"
                " whichever stage."
            )
            stages = sorted(found["stages"].items(), key=lambda item: -item[1]["wall"])
            spent = [(stage, t["wall"], f"{t['all_threads']:.1f}") for stage, t in stages]
            spent.append(("the rest", found["rest"], "–"))
            rows = [
                [stage, f"{wall:.1f}", f"{100 * wall / every:.0f} %", threads]
                for stage, wall, threads in spent
            ]
            yield table(["stage", "s", "of the whole", "s, all threads"], rows)


SECTIONS: dict[str, tuple[str, Callable[..., Iterator[str]]]] = {
    "cold": ("Cold starts", cold),
    "sampling": ("Sampling", sampling),
    "peers": ("Against others", peers),
    "refit": ("Refits", refit),
    "growth": ("Growth", growth),
    "profile": ("Where the time goes", profile),
}


def write(cache: Path, parts: Mapping[str, list[str]], where: Path) -> None:
    """The page, the JSON and the figure."""
    kept = Kept(cache, parts)
    every = list(goals(kept))
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    said = ", ".join(f"{package} {version}" for package, version in versions.items())
    blocks = [
        "# Performance",
        (
            "Made by `uv run --group benchmark python -m tests.benchmarks.performance`, every step"
            f" in a fresh process on a machine with {cores()} cores; Python"
            f" {platform.python_version()}, {said}. Ratios are of figures measured side by side;"
            " absolute times are for orientation."
        ),
        *goals_table(every),
    ]
    for part, (title, section) in SECTIONS.items():
        blocks.append(f"## {title}")
        there = [name for name in parts[part] if kept[name]]
        blocks += (section(kept, where) if part == "growth" else section(kept)) if there else []
        if missing := [name for name in parts[part] if name in kept.missing]:
            blocks.append(
                "Not measured, or not to the end: "
                + ", ".join(f"`{name}`" for name in missing)
                + "."
            )
    figures = {
        step: {
            k: {n: x for n, x in v.items() if n != "means"} if isinstance(v, dict) else v
            for k, v in found.items()
        }
        for step, found in kept.steps.items()
    }
    found = {
        "versions": versions,
        "cores": cores(),
        "goals": [g._asdict() for g in every],
        "steps": figures,
    }
    for name, text in (("md", "\n\n".join(blocks)), ("json", json.dumps(_strict(found), indent=1))):
        with atomic_write(where / f"performance.{name}") as draft:
            draft.write_text(text + "\n", encoding="utf-8")


def _strict(value: Any) -> Any:
    """What JSON can say: no NaN, no infinity."""
    if isinstance(value, dict):
        return {key: _strict(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_strict(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
