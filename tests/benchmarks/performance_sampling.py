"""Fits of ours for the performance page: tables one target at a time or at once, refits, and where the time goes."""

from __future__ import annotations

import importlib
import inspect
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from bayesmix.cards.read import load_card
from bayesmix.cli.demo import SET, TARGETS, _apart
from bayesmix.inference import chains, modes, sampler
from bayesmix.inference import posterior as posteriors
from bayesmix.inference.fit import fit
from bayesmix.laws.additive import Additive
from bayesmix.laws.joint import Joint
from bayesmix.model.model import Model
from bayesmix.model.noise import StudentT
from bayesmix.posterior.posterior import Posterior
from bayesmix.runs.load import load_runs
from bayesmix.runs.runs import Runs
from tests.benchmarks.performance import Job
from tests.benchmarks.performance_measure import Compiling, counted_steps, peak, quality, union
from tests.benchmarks.results import DATA, slimpajama

LAWS = {"additive": Additive(), "joint": Joint()}
TINY: dict[str, Any] = {"warmup": 50, "draws": 50, "extensions": 0}
NEW_ROWS = 5


def parametric(law: str) -> Model:
    """The law alone, with independent scatter of every row: what the peers sample too."""
    return Model(LAWS[law], noise=StudentT(), discrepancy=None)


def few(job: Job) -> Runs:
    """The paper's fit window, or a little of it."""
    runs = slimpajama()
    return runs.take(np.arange(0, len(runs), 6)).only(runs.targets[:2]) if job.small else runs


def fitted(job: Job, model: Model, runs: Runs, **settings: Any) -> Posterior:
    """A fit with its defaults, or a short one, without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit(model, runs, seed=0, **(settings | (TINY if job.small else {})))


def timed(
    job: Job, model: Model, runs: Runs, compiling: Compiling, **settings: Any
) -> tuple[Posterior, dict]:
    """A fit and its times: from outside `fit`, so with starts, diagnostics and all."""
    with counted_steps() as gradients:
        begun = time.perf_counter()
        posterior = fitted(job, model, runs, **settings)
        seconds = time.perf_counter() - begun
        compiled = compiling.since(begun)
    chains, draws = next(iter(posterior.draws.values())).shape[:2]
    return posterior, {
        "seconds": seconds,
        "compile": compiled,
        "after": seconds - compiled,
        "gradients": gradients(),
        "chains": chains,
        "draws": draws,
        "peak_gb": peak(),
    }


def one_by_one(job: Job, law: str, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """One fit a target; the first compiles for all."""
    runs, compiling = few(job), Compiling()
    for target in runs.targets:
        if target not in job.done:
            model = parametric(law) if kind == "parametric" else Model(LAWS[law])
            posterior, figures = timed(job, model, runs.only([target]), compiling)
            yield target, figures | _quality(posterior, 0)


def at_once(job: Job, table: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All targets of a table in one fit of the default model: figures of the fit, and of every target."""
    if table == "regmix":
        runs = load_runs(DATA / "regmix" / "runs.csv", where="split == 'train'")
        runs = runs.take(np.arange(64)).only(runs.targets[:2]) if job.small else runs
        model, settings = Model(LAWS["additive"]), {}
    else:
        runs, _ = _apart(load_runs(SET, where="seed == 0", targets=TARGETS))
        model, settings = load_card("additive").model, {"warmup": 500, "draws": 500}
    posterior, figures = timed(job, model, runs, Compiling(), **settings)
    yield (
        "all",
        figures | {"rows": len(runs), "domains": len(runs.domains), "targets": len(runs.targets)},
    )
    for t, target in enumerate(runs.targets):
        yield target, _quality(posterior, t)


def _quality(posterior: Posterior, target: int) -> dict[str, Any]:
    found = posterior.diagnostics.targets[target]
    draws = {site: value[:, :, target] for site, value in posterior.draws.items()}
    return quality(draws) | {
        "steps": found.steps,
        "divergences": found.divergences,
        "fails": found.fails,
    }


def refit(job: Job, law: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The default model of one target without five rows, and near it with them, in one process."""
    runs = few(job).only(["c4" if not job.small else few(job).targets[0]])
    rng, compiling = np.random.default_rng(0), Compiling()
    new = np.isin(np.arange(len(runs)), rng.choice(len(runs), NEW_ROWS, replace=False))
    before, first = timed(job, Model(LAWS[law]), runs.take(~new), compiling)
    again, second = timed(job, Model(LAWS[law]), runs, compiling, warm_start=before)
    passed = [p.diagnostics.passed for p in (before, again)]
    yield (
        "refit",
        {
            "first": first,
            "again": second,
            "passed": passed,
            "share": second["seconds"] / first["seconds"],
        },
    )


class Clock:
    """Spans of the stages of one fit, by thread."""

    def __init__(self) -> None:
        self.spans: dict[str, list[tuple[float, float]]] = {}
        self.within = threading.local()

    def note(self, stage: str, begin: float, end: float) -> None:
        """Keep a span."""
        self.spans.setdefault(stage, []).append((begin, end))

    @contextmanager
    def wrapped(self, module: Any, name: str, stage: str) -> Iterator[None]:
        """Count the time in a function as a stage, less what its inner stages count; nothing where it is gone."""
        original = getattr(module, name, None)
        if original is None:
            yield
            return

        def replacement(*arguments: Any, **options: Any) -> Any:
            outer = getattr(self.within, "inner", None)
            self.within.inner, begun = [], time.perf_counter()
            try:
                return original(*arguments, **options)
            finally:
                end, inner = time.perf_counter(), self.within.inner
                for begin, until in _without((begun, end), inner):
                    self._split(original, arguments, options, stage, begin, until)
                self.within.inner = None if outer is None else [*outer, (begun, end)]

        setattr(module, name, replacement)
        try:
            yield
        finally:
            setattr(module, name, original)

    def _split(
        self, original: Callable[..., Any], arguments: Any, options: Any, stage: str, *span: float
    ) -> None:
        """A walk that ends in draws begins with a phase of adaptation: in proportion to their lengths."""
        begin, end = span
        if stage != "warm-up":
            return self.note(stage, begin, end)
        given = inspect.signature(original).bind(*arguments, **options).arguments
        settings, draws = given.get("settings"), given.get("draws", 0)
        phase = settings.phase if settings else 0
        middle = begin + (end - begin) * phase / (phase + draws) if draws else end
        self.note("warm-up", begin, middle)
        if draws:
            self.note("draws", middle, end)
        return None


def _without(
    whole: tuple[float, float], inner: list[tuple[float, float]]
) -> Iterator[tuple[float, float]]:
    """What is left of a span when those inside it are taken out."""
    begin = whole[0]
    for low, high in sorted(inner):
        yield begin, low
        begin = high
    yield begin, whole[1]


# its folder has the function under the same name
fitting = importlib.import_module("bayesmix.inference.fit")
STAGES = (
    (importlib.import_module("bayesmix.inference.problems"), "pooled", "pooling"),
    (sampler, "settle", "starts and optimisation"),
    (modes, "weights", "weighing of training runs"),
    (sampler, "_compile", "compilation of the sampler"),
    (chains, "_walk", "warm-up"),
    (sampler, "_agree", "diagnostics"),
    (posteriors, "diagnose", "diagnostics"),
)


def profile(job: Job) -> Iterator[tuple[str, dict[str, Any]]]:
    """One default fit of the joint law, twice in one process: with compilation, and without."""
    runs, compiling = few(job), Compiling()
    runs = runs.only(["c4"] if "c4" in runs.targets else runs.targets[:1])
    for what in ("first", "again"):
        clock = Clock()
        with ExitStack() as stack:
            for stage in STAGES:
                stack.enter_context(clock.wrapped(*stage))
            begun = time.perf_counter()
            posterior = fitted(job, Model(LAWS["joint"]), runs)
            seconds = time.perf_counter() - begun
        stages = {
            stage: {"wall": union(spans), "all_threads": sum(end - begin for begin, end in spans)}
            for stage, spans in clock.spans.items()
        }
        known = union([span for spans in clock.spans.values() for span in spans])
        yield (
            what,
            {
                "seconds": seconds,
                "compile": compiling.since(begun),
                "rest": seconds - known,
                "stages": stages,
                "rows": len(runs),
                "steps": posterior.diagnostics.targets[0].steps,
            },
        )
