"""How cost grows with the work, for the performance page, on simulated tables; and the figure of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from bayesmix.acquisition.cost import flops
from bayesmix.acquisition.functions import RegretReduction
from bayesmix.acquisition.pool import Pool
from bayesmix.acquisition.propose import propose
from bayesmix.design import Designs, Scale
from bayesmix.inference.coordinates import Geometry
from bayesmix.inference.density import as_arrays
from bayesmix.inference.fit import fit
from bayesmix.inference.laplace import laplace
from bayesmix.laws.additive import Additive
from bayesmix.laws.base import Law
from bayesmix.laws.joint import Joint
from bayesmix.model.data import Data, Reference
from bayesmix.model.likelihood import Form
from bayesmix.model.model import Model
from bayesmix.model.noise import StudentT
from bayesmix.model.simulate import simulate
from bayesmix.posterior.bands import bands
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.resample import thinned
from bayesmix.posterior.storage import load_posterior, save_posterior
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64
from tests.benchmarks.performance import Job
from tests.benchmarks.performance_measure import Compiling, counted_steps, peak

ROWS = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
DOMAINS = (3, 4, 6, 9, 13, 20, 30, 42, 60)
TARGETS = (1, 2, 4, 8, 16, 32, 64)
KEPT = (250, 500, 1_000, 2_000, 4_000)
DRAWS = (250, 500, 1_000, 2_000, 4_000, 8_000, 16_000)
CHECKPOINTS = 10
BELIEVED = 4_000
"""Draws of the posterior that predicts candidates."""
FLAGSHIP = Scale(7e9, 1.5e11)
SIZES = {"rows": 1_000, "domains": 7}


def table(
    law: Law,
    rows: int,
    domains: int,
    targets: int = 1,
    sizes: int = 5,
    checkpoints: int = CHECKPOINTS,
) -> Runs:
    """Training runs of random mixtures, each measured at some checkpoints, with losses of the law."""
    rng = np.random.default_rng([rows, domains])
    run = np.arange(rows) // checkpoints
    mixture = rng.dirichlet(np.ones(domains), run.max() + 1)[run]
    params = np.geomspace(1e8, 1.2e9, sizes)[run % sizes]
    tokens = np.geomspace(2e9, 3e10, checkpoints)[np.arange(rows) % checkpoints]
    designs = Designs(tuple(f"d{i}" for i in range(domains)), mixture, params, tokens)
    names = tuple(f"t{i}" for i in range(targets))
    loss = simulate(Model(law, noise=StudentT(), discrepancy=None), designs, targets=names).loss
    return Runs(designs, names, loss, tuple(f"r{i}" for i in run))


def rows(job: Job) -> Iterator[tuple[str, Any]]:
    """One leapfrog step of the default model against measured points."""
    for n in (50, 200) if job.small else ROWS:
        yield f"one step-{n}", {"x": n} | step_cost(table(Joint(), n, SIZES["domains"]))


def domains(job: Job) -> Iterator[tuple[str, Any]]:
    """One leapfrog step of the default model against domains."""
    for n in (3, 9) if job.small else DOMAINS:
        yield (
            f"one step-{n}",
            {"x": n} | step_cost(table(Joint(), 200 if job.small else SIZES["rows"], n)),
        )


def step_cost(runs: Runs) -> dict[str, Any]:
    """Seconds of one leapfrog step of the default model of the joint law, whitened as the sampler's are."""
    model = Model(Joint()).at(Reference.of(runs))
    with enable_x64():
        prior = as_arrays(dict(model.priors(len(runs.domains))))
        data = as_arrays(model.data(runs, pad=True))
        geometry = Geometry(model.form, prior, data)
        z = jnp.asarray(ravel_pytree(geometry.inverse(geometry.draw(jax.random.key(0))))[0])
        walk = partial(_walk, model.form, prior, data, z, jnp.eye(len(z)))
        jax.block_until_ready(walk(1))
        one = max(_seconds(walk, 3) / 3, 1e-6)
        count = max(3, int(0.5 / one))
        return {
            "seconds": min(_seconds(walk, count) for _ in range(3)) / count,
            "steps": count,
            "peak_gb": peak(),
        }


@partial(jax.jit, static_argnums=0)
def _walk(
    form: Form, prior: Any, data: Data, centre: jax.Array, scale: jax.Array, count: int
) -> jax.Array:
    slope = jax.grad(lambda x: Geometry(form, prior, data).potential(centre + scale @ x))

    def one(_: Any, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, momentum = state
        momentum = momentum - 1e-9 * slope(x)
        return x + 1e-9 * momentum, momentum

    return jax.lax.fori_loop(0, count, one, (jnp.zeros_like(centre), jnp.zeros_like(centre)))[0]


def targets(job: Job) -> Iterator[tuple[str, Any]]:
    """Whole fits with few draws, after compilation, against targets."""
    most = (1, 2) if job.small else TARGETS
    runs = table(Additive(), 126, 3, max(most), sizes=3, checkpoints=3)
    for n in most:
        yield (
            f"fit-{n}",
            {"x": n} | _fit_cost(runs.only(runs.targets[:n]), chains=2, warmup=50, draws=50),
        )


def fits(job: Job) -> Iterator[tuple[str, Any]]:
    """Whole fits of one target, after compilation, against draws kept a chain."""
    runs = table(Additive(), 126, 3, sizes=3, checkpoints=3)
    for n in (50, 100) if job.small else KEPT:
        yield f"fit-{n}", {"x": n} | _fit_cost(runs, warmup=300, draws=n)


def _fit_cost(runs: Runs, **settings: Any) -> dict[str, Any]:
    compiling, begun = Compiling(), time.perf_counter()
    with warnings.catch_warnings(), counted_steps() as gradients:
        warnings.simplefilter("ignore")
        fit(Model(Additive()), runs, seed=0, extensions=0, **settings)
    seconds = time.perf_counter() - begun
    return {
        "seconds": seconds - compiling.since(begun),
        "gradients": gradients(),
        "peak_gb": peak(),
    }


def draws(job: Job) -> Iterator[tuple[str, Any]]:
    """`predict` and `propose` against draws of the posterior."""
    posterior = believed(job)
    for n in (100, 200) if job.small else DRAWS:
        some, pool = thinned(posterior, n), Pool.of(_designs(posterior, 300))
        yield (
            f"predict-{n}",
            {"x": n} | _cost(lambda some=some: some.predict(_designs(some, 1_000))),
        )
        yield f"propose-{n}", {"x": n} | _cost(partial(_propose, some, pool, n))


def predicted(job: Job, count: int) -> Iterator[tuple[str, Any]]:
    """`bands` of so many designs."""
    posterior = thinned(believed(job), BELIEVED)
    designs = _designs(posterior, count)
    yield f"bands-{count}", {"x": count} | _cost(lambda: bands(posterior, designs))


def proposed(job: Job, count: int) -> Iterator[tuple[str, Any]]:
    """`propose` among so many candidates, with its own number of draws."""
    posterior = thinned(believed(job), BELIEVED)
    pool = Pool.of(_designs(posterior, count))
    yield f"propose-{count}", {"x": count} | _cost(partial(_propose, posterior, pool, None))


def _propose(posterior: Posterior, pool: Pool, most: int | None) -> None:
    settings: dict[str, Any] = {"max_draws": most} if most else {}
    propose(
        posterior, pool, acquisition=RegretReduction(FLAGSHIP), cost=flops, checks=False, **settings
    )


def _cost(work: Callable[[], Any]) -> dict[str, Any]:
    before, compiling = peak(), Compiling()
    seconds = _seconds(lambda: work())
    return {
        "seconds": seconds - compiling.since(time.perf_counter() - seconds),
        "before_gb": before,
        "peak_gb": peak(),
    }


def _seconds(work: Callable[..., Any], *arguments: Any) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(work(*arguments)) if arguments else work()
    return time.perf_counter() - begun


def _designs(posterior: Posterior, count: int) -> Designs:
    rng = np.random.default_rng(count)
    mixture = rng.dirichlet(np.ones(len(posterior.domains)), count)
    # a few sizes: what drifts at a thousand of them together is a matrix of a thousand rows
    params, tokens = (
        np.resize(np.geomspace(*ends), count) for ends in ((1e8, 1e9, 4), (2e9, 3e10, 2))
    )
    return Designs(posterior.domains, mixture, params, tokens)


def believed(job: Job) -> Posterior:
    """The default model of the additive law on a simulated table, approximated; kept for all steps."""
    path = job.folder / "growth-posterior.nc"
    if not path.exists():
        runs = table(Additive(), 200 if job.small else SIZES["rows"], SIZES["domains"])
        found, _ = laplace(
            Model(Additive()), runs, seed=0, draws=1_000 if job.small else max(DRAWS)
        )
        save_posterior(found, path)
    return load_posterior(path)


def exponent(x: np.ndarray, y: np.ndarray) -> float | None:
    """Slope of log y in log x over the upper half of the range of log x; over all of it where there are few points."""
    upper = x >= np.sqrt(x.min() * x.max()) * (1 - 1e-9) if len(x) > 3 else np.full(len(x), True)
    return float(np.polyfit(np.log(x[upper]), np.log(y[upper]), 1)[0]) if upper.sum() > 1 else None


def slope_text(slope: float | None) -> str:
    """Two digits, or a dash where one point tells nothing."""
    return "–" if slope is None else f"{slope:.2f}"


def figure(series: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], path: Path) -> None:
    """Small multiples, log-log: title → name of a line → x and cost."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    from bayesmix.plots.style import COLOURS, MARKERS

    columns = 3
    drawn = Figure(figsize=(3.1 * columns, 2.9 * -(-len(series) // columns)), layout="constrained")
    axes = drawn.subplots(-(-len(series) // columns), columns, squeeze=False).reshape(-1)
    for ax in axes[len(series) :]:
        ax.set_axis_off()
    for ax, (title, lines) in zip(axes, series.items(), strict=False):
        what, unit = title.split("|")
        slopes = []
        for (name, (x, y)), colour, marker in zip(lines.items(), COLOURS, MARKERS, strict=False):
            ax.loglog(x, y, marker=marker, color=colour, markersize=4, linewidth=1.2, label=name)
            slopes.append(slope_text(exponent(x, y)))
        ax.set_title(f"{what}: exponent {', '.join(slopes)}", fontsize=9)
        ax.set_xlabel(what, fontsize=8)
        ax.set_ylabel(unit, fontsize=8)
        ax.tick_params(which="both", labelsize=7)
        for axis in (ax.xaxis, ax.yaxis):
            low, high = axis.get_view_interval()
            # a decade at least, so that what is flat looks flat
            widen = max(1.0, np.sqrt(10 * low / high))
            axis.set_view_interval(low / widen, high * widen, ignore=True)
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(NullFormatter())
        ax.legend(fontsize=7, frameon=False)
    path.parent.mkdir(exist_ok=True)
    drawn.savefig(path, dpi=130)
