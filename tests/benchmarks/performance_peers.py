"""The peers of the performance page: the same posterior sampled by others, and what people do without one.

The parametric model (Student-t scatter, no discrepancy) is written anew from its formula, in the
law's own parameters; that its density agrees with ours up to a constant is checked before anything
is timed. Both samplers compute the terms of a mixture once, as ours does, so that coordinates and
samplers are compared and not who wrote the formula with care.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from bayesmix.inference.coordinates import Geometry
from bayesmix.inference.density import TargetProblem, as_arrays
from bayesmix.inference.modes import settle, whitening
from bayesmix.model.data import Reference
from bayesmix.model.model import BoundModel
from bayesmix.model.noise import MOST_NU
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64
from tests.benchmarks.performance import Job
from tests.benchmarks.performance_measure import Compiling, peak, quality
from tests.benchmarks.performance_sampling import LAWS, few, parametric
from tests.benchmarks.pointfit import HOPS, STARTS, point_fit

CHAINS = 4
NUMPYRO = (150, 150)
NUTPIE = (300, 300)
"""Warm-up and draws of a chain: what long trees leave time for."""
SETTLED = (1000, 2000)
"""Chains that are long enough to compare posterior means, on targets where short ones came near."""
NEAR = 1.1
COPIES = 200
TIMED = 3
"""How many of the copies are timed."""
SPARE = 1.35
"""Rows of a resampled table, relative to the table: copies are padded to one size, to compile once."""


class Table(NamedTuple):
    """The measured rows of one target, as a plain model reads them."""

    h: Any  # (mixture, domain) weights relative to the reference
    log_h: Any  # (mixture, domain)
    mixture_of: Any  # (run)
    log_n: Any  # (run)
    log_d: Any  # (run)
    loss: Any  # (run)
    unit: Any

    @classmethod
    def of(cls, runs: Runs, reference: Reference) -> Table:
        """Rows of the only target that were measured."""
        seen = runs.take(np.isfinite(runs.loss[:, 0]))
        mixture, index = np.unique(runs.mixture, axis=0, return_inverse=True)
        index = index.reshape(-1)[np.isfinite(runs.loss[:, 0])]
        h = mixture / reference.mixture
        size = (
            np.log(seen.params / reference.scale.params),
            np.log(seen.tokens / reference.scale.tokens),
        )
        return cls(h, np.log(h), index, *size, seen.loss[:, 0], reference.loss[runs.targets[0]])


def expected(xp: Any, theta: Mapping[str, Any], at: Table) -> Any:
    """Loss (run) of the additive law, or of the joint law where its sites are there, with JAX or PyTensor."""
    useful = theta["share"][0] + xp.sum(
        theta["share"][1:] * xp.exp(theta["gamma"] * at.log_h), axis=1
    )
    falling = {}
    for site, exponent, log_size in (("A", "alpha", at.log_n), ("B", "beta", at.log_d)):
        log_term = -theta[exponent] * log_size
        if f"gamma_{site}" in theta:
            own = -theta[f"gamma_{site}"] * xp.log(xp.sum(theta[f"share_{site}"] * at.h, axis=1))
            log_term = log_term + own[at.mixture_of]
        falling[site] = theta[site] * xp.exp(log_term)
    return theta["E"] + (theta["M"] / useful)[at.mixture_of] + falling["A"] + falling["B"]


def raw(prior: Mapping[str, Any], amplitudes: frozenset[str], at: Table) -> None:
    """The model in NumPyro: natural sites straight from their priors."""
    import numpyro
    from numpyro import distributions as dist

    theta = {site: numpyro.sample(site, belief) for site, belief in prior.items()}
    theta |= {site: theta[site] * at.unit for site in amplitudes}
    loss = expected(jnp, theta, at)
    nu = jnp.minimum(theta["nu"], MOST_NU)
    numpyro.sample("y", dist.StudentT(nu, loss, loss * theta["sigma"]), obs=at.loss)


def rewritten(joint: bool, at: Table) -> Any:
    """The model in PyMC, with data that can be exchanged for those of another target."""
    import pymc as pm
    import pytensor.tensor as pt

    domains = at.h.shape[1]
    logs = {
        "A": (0.15, 1.0),
        "B": (0.15, 1.0),
        "M": (0.3, 1.0),
        "sigma": (0.005, 1.0),
        "tail": (5.0, 1.0),
    }
    logs |= {"alpha": (0.3, 0.5), "beta": (0.4, 0.5)}
    with pm.Model() as model:
        data = Table(*(pm.Data(f"data_{name}", value) for name, value in at._asdict().items()))
        theta: dict[str, Any] = {
            site: pm.LogNormal(site, math.log(m), s) for site, (m, s) in logs.items()
        }
        theta["E"] = pm.Beta("E", 2.0, 2.0)
        theta["gamma"] = pm.LogNormal("gamma", math.log(0.6), 0.4, shape=domains)
        theta["share"] = pm.Dirichlet("share", np.ones(domains + 1))
        for site in "AB" if joint else "":
            theta[f"share_{site}"] = pm.Dirichlet(f"share_{site}", np.ones(domains))
            theta[f"gamma_{site}"] = pm.LogNormal(f"gamma_{site}", math.log(0.15), 1.0)
        theta |= {site: theta[site] * data.unit for site in "EABM"}
        loss = expected(pt, theta, data)
        nu = pt.minimum(2.0 + theta["tail"], MOST_NU)
        pm.StudentT("y", nu=nu, mu=loss, sigma=loss * theta["sigma"], observed=data.loss)
    return model


class Ours(NamedTuple):
    """Our density of one target, to compare with."""

    problem: TargetProblem
    # parameters as the priors have them: amplitudes in their own units
    points: list[dict[str, np.ndarray]]
    density: np.ndarray  # (point) of the parameters

    @classmethod
    def of(cls, model: BoundModel, runs: Runs) -> Ours:
        """At the best fit, at points around it as far as posterior draws are, and at draws of the prior."""
        with enable_x64():
            data = model.data(runs, pad=True)
            problem = TargetProblem(model.form, model.priors(len(runs.domains)), data)
            best = settle(problem, 0, 3)[1][0]
            geometry = Geometry(model.form, as_arrays(dict(problem.prior)), as_arrays(data))
            rng, root = np.random.default_rng(0), np.asarray(whitening(best.hessian))
            flat = [best.z, *(best.z + root @ rng.normal(size=len(best.z)) for _ in range(4))]
            drawn = [geometry.draw(key) for key in jax.random.split(jax.random.key(1), 3)]
            flat += [np.asarray(ravel_pytree(geometry.inverse(theta))[0]) for theta in drawn]
            points, density = [], []
            for z in flat:
                theta, log_det = geometry.transform_and_log_det(
                    geometry.unravel()[1](jnp.asarray(z))
                )
                density.append(float(-geometry.potential(jnp.asarray(z)) - log_det))
                own = {
                    s: v / data.unit if s in model.law.amplitudes else v for s, v in theta.items()
                }
                points.append({site: np.asarray(value)[0] for site, value in own.items()})
        return cls(problem, points, np.array(density))

    def apart(self, theirs: Callable[[dict[str, np.ndarray]], float]) -> float:
        """The largest difference of log densities from a constant, relative to their size (at least 1)."""
        there = np.array([theirs(point) for point in self.points])
        off = there - self.density
        return float(np.max(np.abs(off - off[0]) / np.maximum(1.0, np.abs(self.density))))


def numpyro(job: Job, law: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """NumPyro's NUTS with its defaults but for the number of draws: one device a chain, however few cores there are."""
    import numpyro
    from numpyro.infer import MCMC, NUTS
    from numpyro.infer.util import log_density

    numpyro.set_host_device_count(CHAINS)
    numpyro.enable_x64()
    compiling, settings = Compiling(), (20, 20) if job.small else NUMPYRO
    prior, scaled = (
        dict(parametric(law).priors(len(few(job).domains))),
        frozenset(LAWS[law].amplitudes),
    )
    # one object for all targets: tables with as many rows share what is compiled
    mcmc = MCMC(
        NUTS(partial(raw, prior, scaled)),
        num_warmup=settings[0],
        num_samples=settings[1],
        num_chains=CHAINS,
        progress_bar=False,
        jit_model_args=True,
    )
    for target, runs, model in _targets(job, law):
        at, ours = Table.of(runs, model.reference), Ours.of(model, runs)
        apart = ours.apart(lambda p, at=at: float(log_density(raw, (prior, scaled, at), {}, p)[0]))
        begun = time.perf_counter()
        mcmc.warmup(jax.random.key(0), at, extra_fields=("num_steps",), collect_warmup=True)
        before = int(np.sum(mcmc.get_extra_fields()["num_steps"]))
        mcmc.run(mcmc.post_warmup_state.rng_key, at, extra_fields=("num_steps", "diverging"))
        draws = jax.tree.map(np.asarray, mcmc.get_samples(group_by_chain=True))
        seconds, stats = time.perf_counter() - begun, mcmc.get_extra_fields(group_by_chain=True)
        steps, diverging = np.asarray(stats["num_steps"]), int(np.sum(stats["diverging"]))
        yield (
            target,
            _figures(
                draws, at.unit, compiling.since(begun), seconds, steps, before, diverging, apart
            ),
        )


def nutpie(job: Job, law: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """PyMC's model compiled once by nutpie, and sampled with its defaults but for the number of draws."""
    yield from _by_nutpie(job, law, NUTPIE, few(job).targets)


def settled(job: Job, law: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """nutpie with long chains, where R-hat of the short ones says that these will do."""
    short = json.loads((job.folder / f"peers-nutpie-{law}.json").read_text(encoding="utf-8"))[
        "figures"
    ]
    near = [target for target, fit in short.items() if fit["rhat"] <= NEAR or job.small]
    yield from _by_nutpie(job, law, SETTLED, near)


def _by_nutpie(
    job: Job, law: str, lengths: tuple[int, int], targets: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    import nutpie

    compiled = None
    length = dict(zip(("tune", "draws"), (50, 50) if job.small else lengths, strict=True))
    for target, runs, model in _targets(job, law):
        if target not in targets:
            continue
        at, ours = Table.of(runs, model.reference), Ours.of(model, runs)
        begun = time.perf_counter()
        written = rewritten(law == "joint", at)
        if compiled is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compiled = nutpie.compile_pymc_model(written)
        # the additive law reads h in logs only
        names = [name for name in at._fields if name != "h" or law == "joint"]
        here = compiled.with_data(**{f"data_{name}": getattr(at, name) for name in names})
        compile_seconds = time.perf_counter() - begun
        density = written.compile_logp(jacobian=False)
        apart = ours.apart(lambda p, m=written, d=density: float(d(_unconstrained(m, p))))
        begun = time.perf_counter()
        trace = nutpie.sample(here, chains=CHAINS, seed=0, progress_bar=False, **length)
        seconds = time.perf_counter() - begun
        sites = [site for site in ours.points[0] if site != "nu"]
        draws = {site: np.asarray(trace["posterior"][site]) for site in sites}
        draws["nu"] = 2.0 + np.asarray(trace["posterior"]["tail"])
        stats = trace["sample_stats"]
        before = int(np.sum(np.asarray(trace["warmup_sample_stats"]["n_steps"])))
        steps, diverging = np.asarray(stats["n_steps"]), int(np.sum(np.asarray(stats["diverging"])))
        total = compile_seconds + seconds
        yield (
            target,
            _figures(draws, at.unit, compile_seconds, total, steps, before, diverging, apart),
        )


def least_squares(job: Job, law: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The paper's procedure on all targets, again for tables with training runs drawn with replacement."""
    runs = few(job)
    extent = {"starts": 1, "hops": 1} if job.small else {"starts": STARTS, "hops": HOPS}
    rng = np.random.default_rng(0)
    seconds = []
    for copy in range(1 + (1 if job.small else TIMED)):
        table = resampled(runs, rng)
        begun = time.perf_counter()
        point_fit(law, table, seed=copy, **extent)
        seconds.append(time.perf_counter() - begun)
    own = {
        "targets": len(runs.targets),
        "copies": COPIES,
        "timed": seconds[1:],
        "with_compiling": seconds[0],
    }
    yield "all", own | extent | {"peak_gb": peak()}


def resampled(runs: Runs, rng: np.random.Generator) -> Runs:
    """Training runs drawn with replacement; rows without a loss fill it up to a fixed size and name every mixture."""
    labels, index = np.unique(runs.train_run, return_inverse=True)
    drawn = rng.integers(len(labels), size=len(labels))
    rows = np.concatenate([np.flatnonzero(index == one) for one in drawn])
    _, first = np.unique(runs.mixture, axis=0, return_index=True)
    size = max(int(SPARE * len(runs)), len(first) + 1)
    rows = rows[: size - len(first)]
    filled = np.concatenate([rows, np.resize(first, size - len(rows))])
    loss = np.where((np.arange(size) < len(rows))[:, None], runs.loss[filled], np.nan)
    designs = runs.designs.take(filled)
    fresh = type(designs)(runs.domains, designs.mixture, designs.params, designs.tokens)
    return Runs(fresh, runs.targets, loss)


def _targets(job: Job, law: str) -> Iterator[tuple[str, Runs, BoundModel]]:
    """Every target that is not done, with the model at the reference that `fit` would take."""
    for target in (runs := few(job)).targets:
        if target not in job.done:
            one = runs.only([target])
            yield target, one, parametric(law).at(Reference.of(one))


def _unconstrained(model: Any, point: dict[str, np.ndarray]) -> dict[str, Any]:
    """Where PyMC's free variables stand at a point of the parameters."""
    natural = {site: value for site, value in point.items() if site != "nu"} | {
        "tail": point["nu"] - 2.0
    }
    found = {}
    for rv in model.free_RVs:
        value, transform = natural[rv.name], model.rvs_to_transforms[rv]
        forward = transform.forward(np.asarray(value), *rv.owner.inputs)
        found[model.rvs_to_values[rv].name] = forward.eval()
    return found


def _figures(
    draws: dict[str, np.ndarray],
    unit: float,
    compiling: float,
    seconds: float,
    steps: np.ndarray,
    before: int,
    diverging: int,
    apart: float,
) -> dict[str, Any]:
    """What is kept of one fit; amplitudes in nats."""
    draws = {
        site: value * unit if site in {"E", "A", "B", "M"} else value
        for site, value in draws.items()
    }
    return quality(draws) | {
        "seconds": seconds,
        "compile": compiling,
        "after": seconds - compiling,
        "steps": float(np.mean(steps)),
        "gradients": int(np.sum(steps)) + before,
        "divergences": diverging,
        "chains": int(steps.shape[0]),
        "draws": int(steps.shape[1]),
        "density_to_scales": apart,
        "peak_gb": peak(),
    }
