"""What the performance steps have kept, read back, and the goals computed from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bayesmix.acquisition.propose import DRAWS
from bayesmix.runtime.compute import cores
from tests.benchmarks.performance import LAWS
from tests.benchmarks.performance_growth import BELIEVED, exponent, slope_text

TARGETS = 8
FITS = TARGETS * len(LAWS)
PEERS = {"numpyro": 10.0, "nutpie": 3.0}
NAMED = {
    "numpyro": "(a) NumPyro",
    "nutpie": "(b) PyMC with nutpie",
    "settled": "nutpie with long chains, on targets where short ones came near,",
}
STEEPEST = {"rows": 1.05, "targets": 1.05, "fits": 1.05, "domains": 1.3}
KINDS = {"parametric": "law alone", "default": "default model"}
AXES = {
    "rows": ("measured points", "seconds a leapfrog step"),
    "domains": ("domains", "seconds a leapfrog step"),
    "targets": ("targets", "seconds a fit"),
    "fits": ("draws kept a chain", "seconds a fit"),
    "draws": ("draws of the posterior", "seconds"),
    "candidates": ("candidates", "seconds"),
}


class Goal(NamedTuple):
    """A goal beside what was measured; `measured` is None where nothing was, `met` where not all of it was."""

    says: str
    goal: str
    measured: str | None = None
    met: bool | None = None


class Kept:
    """What the steps have kept."""

    def __init__(self, cache: Path, parts: Mapping[str, list[str]]):
        self.parts = parts
        self.steps: dict[str, dict[str, Any]] = {}
        self.missing: list[str] = []
        for name in (name for names in parts.values() for name in names):
            path = cache / f"{name}.json"
            stored = (
                json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"figures": {}}
            )
            self.steps[name] = stored["figures"]
            if not stored.get("complete"):
                self.missing.append(name)

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.steps.get(name, {})

    def pairs(self, peer: str) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
        """Law, target, our fit of the law alone and the peer's."""
        for law in LAWS:
            ours, theirs = self[f"sampling-{law}-parametric"], self[f"peers-{peer}-{law}"]
            yield from (
                (law, target, ours[target], theirs[target]) for target in ours if target in theirs
            )

    def series(self, axis: str, what: str = "seconds") -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Name of a line → x and seconds of one axis of growth, or another figure where it was kept."""
        lines: dict[str, list[tuple[float, float]]] = {}
        for key, value in self.growth(axis):
            if what in value:
                lines.setdefault(key.rsplit("-", 1)[0], []).append((value["x"], value[what]))
        return {name: tuple(np.array(sorted(points), float).T) for name, points in lines.items()}  # type: ignore[misc]

    def growth(self, axis: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every figure of one axis of growth."""
        names = [f"growth-{axis}"] if axis != "candidates" else self.parts["growth"]
        for name in names:
            if axis != "candidates" or name.startswith(("growth-predicted-", "growth-proposed-")):
                yield from self[name].items()


def speed(fit: Mapping[str, Any]) -> float:
    """Smallest bulk ESS per second after compilation."""
    return fit["ess_bulk"] / fit["after"]


def geometric(values: list[float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")


def whole(fits: Mapping[str, Any]) -> float:
    """Seconds of all targets, one after the other, compilation included once."""
    return sum(f["after"] for f in fits.values()) + max(f["compile"] for f in fits.values())


def good(fits: Mapping[str, Any]) -> bool:
    """Whether the draws of all targets can be used."""
    return all(
        f["rhat"] <= 1.01 and min(f["ess_bulk"], f["ess_tail"]) >= 400 for f in fits.values()
    )


def bootstrapped(figures: Mapping[str, Any]) -> float:
    """Seconds of all bootstraps: those timed, on every core without any loss."""
    return float(np.mean(figures["timed"])) * figures["copies"] / cores()


def goals(kept: Kept) -> Iterator[Goal]:
    """Every goal, met or missed as computed."""
    for peer, least in PEERS.items():
        ratios = [speed(ours) / speed(theirs) for _, _, ours, theirs in kept.pairs(peer)]
        says = (
            f"min bulk ESS a second after compilation, against {NAMED[peer]}, geometric mean of"
            f" {FITS} fits"
        )
        found = f"{geometric(ratios):.1f} × ({len(ratios)} fits)" if ratios else None
        yield Goal(
            says,
            f"≥ {least:.0f} ×",
            found,
            geometric(ratios) >= least if len(ratios) == FITS else None,
        )
    for kind, named in KINDS.items():
        for law in LAWS:
            fits, copies = (
                kept[f"sampling-{law}-{kind}"],
                kept[f"peers-least_squares-{law}"].get("all"),
            )
            says = (
                f"all {TARGETS} targets, {law}, {named} (R-hat ≤ 1.01, ESS ≥ 400), against (c) 200"
                " bootstraps"
            )
            share = whole(fits) / bootstrapped(copies) if fits and copies else None
            usable = "" if good(fits) else ", but the diagnostics fail"
            met = (
                share <= 0.2 and good(fits) if share is not None and len(fits) == TARGETS else None
            )
            yield Goal(
                says,
                "≤ 20 % of its time",
                None if share is None else f"{100 * share:.1f} %{usable}",
                met,
            )
    for law in LAWS:
        found = kept[f"refit-{law}"].get("refit")
        says = f"refit with five new rows, {law}, default model, against the first fit"
        yield Goal(
            says,
            "≤ 25 %",
            found and f"{100 * found['share']:.0f} %",
            bool(found) and found["share"] <= 0.25,
        )
    for what, most in (("cold", 90.0), ("warm", 30.0)):
        took = kept["cold-demo"].get(what)
        yield Goal(
            f"demo, {what}", f"< {most:.0f} s", took and f"{took:.0f} s", bool(took) and took < most
        )
    for axis, most in STEEPEST.items():
        lines = kept.series(axis)
        slopes = [exponent(*line) for line in lines.values()]
        slope = max((s for s in slopes if s is not None), default=None)
        met = slope is not None and slope <= most
        yield Goal(
            f"exponent of the cost in {AXES[axis][0]}",
            f"≤ {most}",
            slope_text(slope) if slope is not None else None,
            met,
        )
    fits = {
        (law, t): f["steps"] for law in LAWS for t, f in kept[f"sampling-{law}-parametric"].items()
    }
    worst = max(fits, key=fits.__getitem__, default=None)
    says = f"mean leapfrog steps a draw, law alone, worst of {FITS} fits"
    found = worst and f"{fits[worst]:.0f} ({', '.join(worst)}; {len(fits)} fits)"
    yield Goal(says, "≤ 31", found, fits[worst] <= 31 if worst and len(fits) == FITS else None)
    for verb, draws in (("bands", BELIEVED), ("propose", DRAWS)):
        figures = dict(kept.growth("candidates")).get(f"{verb}-1000000")
        memory = f"{figures['peak_gb']:.2f} GB" if figures else None
        met = bool(figures) and figures["peak_gb"] < 2
        yield Goal(
            f"`{verb}` of a million candidates, {draws:,} draws, peak memory", "< 2 GB", memory, met
        )
