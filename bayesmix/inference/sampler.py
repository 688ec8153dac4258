"""NUTS in compiled segments: one program for every target and refit, one thread a chain, a stop between segments.

NumPyro's `MCMC.run` compiles anew on every call, so its kernel is driven directly, inside functions that are compiled
once for given shapes and take data, prior and whitening as arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree
from numpyro.infer.hmc import hmc
from numpyro.infer.util import ParamInfo

from bayesmix.compute import cores, device, enable_x64, one_blas_thread
from bayesmix.errors import InputError
from bayesmix.inference.diagnostics import DIVERGENT_SHARE, ESS, RHAT, Convergence, convergence
from bayesmix.inference.geometry import Geometry, Theta, Whitening
from bayesmix.inference.start import Mode, maximise, whitening, worth_a_chain
from bayesmix.inference.weigh import draw_weights, rescaled, weighs, weights
from bayesmix.model import Data, Form
from bayesmix.priors import Prior

SEGMENT = 50
STARTS = 6
OVERDISPERSION = 1.5
WEIGHINGS = 12
SETTLED = 0.02
"""How often training runs are weighed anew at most, and the largest change of a log weight that ends it."""
PHASES = 3
STEP = 1e-5
"""Of the coordinates, by which slopes are compared for the curvature."""
SPARE = 1.5
"""How many times the draws that are lacking an extension makes: how many are lacking is known roughly only."""
SHRINKAGE = 2.0
"""How many draws per coordinate the previous whitening counts for, against those of the last phase."""


class Settings(NamedTuple):
    """How to sample; warm-up is rounded up to whole segments."""

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    target_accept: float = 0.95
    max_tree_depth: int = 10
    extensions: int = 2

    @property
    def phase(self) -> int:
        """Length of each of the phases of the warm-up, in whole segments."""
        return SEGMENT * -(-self.warmup // (PHASES * SEGMENT))

    @property
    def total(self) -> int:
        """Draws of one chain, warm-up and all, in whole segments."""
        return (PHASES - 1) * self.phase + self.extent(1)

    def extent(self, times: int) -> int:
        """Draws of one chain in a round that keeps so many times the draws, after one phase of adaptation."""
        return self.phase + SEGMENT * -(-times * self.draws // SEGMENT)

    @property
    def can_pass(self) -> bool:
        """Whether so few draws could pass the diagnostics at all."""
        return self.chains >= 4 and self.chains * self.draws >= 2 * ESS


class TargetProblem(NamedTuple):
    """What to sample: the static parts of a model and its arrays, for one group of targets sampled together."""

    form: Form
    prior: Mapping[str, dist.Distribution]
    data: Data
    warm_start: Mapping[str, np.ndarray] | None = None  # parameters (draw, ...) of another fit, to start from


class Watch(NamedTuple):
    """How the sampler is watched from outside."""

    stop: Event
    advance: Callable[[int], None]  # so many draws are done
    extend: Callable[[int], None]  # so many draws than expected come on top


class Chain(NamedTuple):
    """Draws of one chain, the first axis being the draw."""

    theta: dict[str, Any]
    potential: Any
    energy: Any
    steps: Any
    diverging: Any
    accept: Any
    z: Any  # coordinates of the model (draw, coordinate)
    drift: Any  # drift at the runs (draw, ...), None where it does not differ between them


class Points(NamedTuple):
    """Where the chains of one problem have been, in the coordinates of its model."""

    by_chain: Sequence[np.ndarray]  # (draw, coordinate) each

    @property
    def whitening(self) -> Whitening:
        """Their common mean and covariance."""
        pooled = np.concatenate(self.by_chain)
        return Whitening(
            jnp.asarray(pooled.mean(axis=0)), jnp.asarray(np.linalg.cholesky(np.atleast_2d(np.cov(pooled.T))))
        )

    @classmethod
    def near(cls, problem: TargetProblem, chains: int) -> Points:
        """Those that the problem is to start from, dealt out to chains in order.

        Raises:
            InputError: they are too few to tell a covariance.
        """
        with enable_x64():
            fixed = as_arrays(Prior(problem.prior)), as_arrays(problem.data), as_arrays(dict(problem.warm_start or {}))
            z = np.asarray(_coordinates(problem.form, *fixed))
        if len(z) < 2 * z.shape[1]:
            raise InputError(
                "the posterior to start from has too few draws",
                expected=f"at least {2 * z.shape[1]}, twice the parameters of a target",
                got=len(z),
                advice="Fit without it.",
            )
        return cls(np.array_split(z, chains))


def as_arrays(tree: Any) -> Any:
    """Leaves as JAX arrays, numbers in float64, without compiling a conversion for each shape."""

    def array(leaf: Any) -> jax.Array:
        value = np.asarray(leaf)
        return jnp.asarray(
            value if value.dtype == bool or (value.ndim and value.dtype.kind == "i") else value.astype(float)
        )

    return jax.tree.map(array, tree)


@partial(jax.jit, static_argnums=0)
def _prior_start(form: Form, prior: Any, data: Data, key: jax.Array) -> jax.Array:
    geometry = Geometry(form, prior, data)
    return ravel_pytree(geometry.from_theta(geometry.draw(key)))[0]


@partial(jax.jit, static_argnums=0)
def _coordinates(form: Form, prior: Any, data: Data, theta: Theta) -> jax.Array:
    geometry = Geometry(form, prior, data)
    parameters = {k: v / data.unit[0] if k in form.law.amplitudes else v for k, v in theta.items()}
    return jax.lax.map(
        lambda one: ravel_pytree(geometry.from_theta(jax.tree.map(lambda v: v[None], one)))[0],
        parameters,
        batch_size=64,
    )


@partial(jax.jit, static_argnums=0)
def _values_and_slopes(
    form: Form, prior: Any, data: Data, points: jax.Array, count: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Potential and slope at the first `count` points: one compiled program for a point and for a curvature."""
    value_and_slope = jax.value_and_grad(Geometry(form, prior, data).potential)

    def one(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        value, slope = value_and_slope(points[i])
        return carry[0].at[i].set(value), carry[1].at[i].set(slope)

    return jax.lax.fori_loop(0, count, one, (jnp.zeros(len(points)), jnp.zeros_like(points)))


class _Density(NamedTuple):
    """The potential of one problem and its derivatives."""

    form: Form
    prior: Any
    data: Data

    def value_and_slope(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """At one point."""
        values, slopes = self._of(np.tile(z, (2 * len(z), 1)), 1)
        return float(values[0]), slopes[0]

    def curvature(self, z: np.ndarray) -> np.ndarray:
        """Differences of slopes: a program for it would take long to compile."""
        steps = STEP * np.eye(len(z))
        _, slopes = self._of(z + np.concatenate([steps, -steps]), 2 * len(z))
        forward, backward = np.split(slopes, 2)
        columns = (forward - backward) / (2 * STEP)
        return 0.5 * (columns + columns.T)

    def _of(self, points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = _values_and_slopes(self.form, self.prior, self.data, points, np.int64(count))
        return np.asarray(values), np.asarray(slopes)


class _Kernel(NamedTuple):
    """NUTS on x, given the weights of the training runs."""

    potential: Callable[[jax.Array], Callable[[jax.Array], jax.Array]]
    init: Callable[..., Any]
    step: Callable[..., Any]

    @classmethod
    def of(cls, form: Form, settings: Settings, prior: Any, data: Data, white: Whitening) -> _Kernel:
        def potential(weight: jax.Array) -> Callable[[jax.Array], jax.Array]:
            geometry = Geometry(form, prior, data._replace(weight=weight))
            return lambda x: geometry.potential(white.centre + white.scale @ x)

        init, step = hmc(potential_fn_gen=potential, algo="NUTS")
        settled = partial(
            init,
            num_warmup=settings.phase,
            step_size=0.3,
            adapt_mass_matrix=False,  # the whitening is the mass matrix; see `run_chain`
            target_accept_prob=settings.target_accept,
            max_tree_depth=settings.max_tree_depth,
        )
        return cls(potential, settled, step)


def beside(key: jax.Array) -> jax.Array:
    """A key for the draws after a step of the kernel that ended with the given one, apart from all of the next steps.

    The kernel splits its key in three, and `split(key, n)[i]` is `fold_in(key, i)`.
    """
    return jax.random.fold_in(key, 1000)


@partial(jax.jit, static_argnums=(0, 1))
def _begin(
    form: Form, settings: Settings, prior: Any, data: Data, white: Whitening, start: ParamInfo, key: jax.Array
) -> Any:
    return _Kernel.of(form, settings, prior, data, white).init(start, model_args=(data.weight,), rng_key=key)


def _at_point(fixed: tuple[Any, ...], x: np.ndarray) -> ParamInfo:
    """A point, its potential and the slope there, from the program that optimises: it need not be compiled again."""
    form, _, prior, data, white = fixed
    value, slope = _Density(form, prior, data).value_and_slope(np.asarray(white.centre + white.scale @ x))
    return ParamInfo(jnp.asarray(x), jnp.asarray(value), jnp.asarray(slope) @ white.scale)


@partial(jax.jit, static_argnums=(0, 1))
def _segment(
    form: Form, settings: Settings, prior: Any, data: Data, white: Whitening, state: Any
) -> tuple[tuple[Any, jax.Array], Chain]:
    """Some steps of a chain, each followed by a draw of the weights; the state and the weights to go on with."""
    potential, init, step = _Kernel.of(form, settings, prior, data, white)
    # NumPyro's kernel learns its settings when it begins
    point = ParamInfo(state.z, state.potential_energy, state.z_grad)
    jax.eval_shape(init, point, model_args=(data.weight,), rng_key=state.rng_key)
    geometry = Geometry(form, prior, data)
    _, unravel = geometry.unravel()

    def value_and_slope(point: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, weight = point
        return jax.value_and_grad(potential(weight))(x)

    def rescale(state: Any, weight: jax.Array, size_key: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        """The state for the new weights, or with another size of them."""
        other, factor = rescaled(form, data._replace(weight=weight), size_key)
        z = geometry.scaled(white.centre + white.scale @ state.z, factor)
        x = jax.scipy.linalg.solve_triangular(white.scale, z - white.centre, lower=True)
        pairs = jnp.stack([state.z, x]), jnp.stack([weight, other])
        # one after the other, so that the density is compiled once
        values, slopes = jax.lax.map(value_and_slope, pairs)
        accept = jnp.log(jax.random.uniform(key)) < values[0] - values[1]
        x, weight, value, slope = (jnp.where(accept, v[1], v[0]) for v in (*pairs, values, slopes))
        return state._replace(z=x, potential_energy=value, z_grad=slope), weight

    def one(carry: tuple[Any, jax.Array], _: Any) -> tuple[tuple[Any, jax.Array], Chain]:
        state, weight = carry
        state = step(state, (weight,), {})
        z = white.centre + white.scale @ state.z
        theta, _ = geometry.to_theta(unravel(z))
        stats = (state.potential_energy, state.energy, state.num_steps, state.diverging, state.accept_prob)
        drift = None
        if weighs(form, data):
            draw_key, *keys = jax.random.split(beside(state.rng_key), 3)
            drift, weight = draw_weights(form, theta, data._replace(weight=weight), draw_key)
            state, weight = rescale(state, weight, *keys)
        return (state, weight), Chain(theta, *stats, z, drift)

    return jax.lax.scan(one, (state, data.weight), None, length=SEGMENT)


def settle(problem: TargetProblem, seed: int, starts: int = STARTS) -> tuple[TargetProblem, list[Mode]]:
    """The problem with training runs weighed, and its local maxima from several prior draws, most mass first.

    Raises:
        RuntimeError: no start has a finite density.
    """
    with enable_x64():
        prior = as_arrays(Prior(problem.prior))
        data = as_arrays(problem.data)
        keys = jax.random.split(jax.random.key(seed), starts)
        best = _maximise(problem.form, prior, data, [_prior_start(problem.form, prior, data, key) for key in keys])
        if not best:
            raise RuntimeError("no draw of the prior has a finite density: check units and priors of the model")
        if weighs(problem.form, data):
            for _ in range(WEIGHINGS):
                weight = weights(problem.form, prior, data, jnp.asarray(best[0].z), keys[0])
                moved = float(jnp.abs(jnp.log(weight / data.weight)).max())
                data = data._replace(weight=weight)
                best = _maximise(problem.form, prior, data, [o.z for o in best]) or best
                if moved < SETTLED:
                    break
    return problem._replace(data=data), best


def mode(problem: TargetProblem, seed: int, starts: int, warm_start: np.ndarray | None = None) -> Mode:
    """The local maximum with most mass: from the given coordinates if there are any, else from several prior draws.

    Training runs keep the weights that the problem has.

    Raises:
        RuntimeError: no start has a finite density.
    """
    with enable_x64():
        prior, data = as_arrays(Prior(problem.prior)), as_arrays(problem.data)
        keys = jax.random.split(jax.random.key(seed), starts)
        optima = [] if warm_start is None else _maximise(problem.form, prior, data, [warm_start])
        prior_draws = [_prior_start(problem.form, prior, data, key) for key in keys] if not optima else []
        optima = optima or _maximise(problem.form, prior, data, prior_draws)
    if not optima:
        raise RuntimeError("no draw of the prior has a finite density: check units and priors of the model")
    return optima[0]


def _maximise(form: Form, prior: Any, data: Data, starts: Sequence[Any]) -> list[Mode]:
    """Local maxima of the posterior from the given points that are worth a chain, most mass first."""
    density = _Density(form, prior, data)
    optima = [maximise(density.value_and_slope, density.curvature, np.asarray(start)) for start in starts]
    return worth_a_chain(o for o in optima if o is not None)


def run_chain(problem: TargetProblem, settings: Settings, best: list[Mode], seed: int, watch: Watch) -> Chain | None:
    """One chain from a point spread around an optimum; None when it was told to stop before the end.

    The warm-up has phases, each with a whitening of its own: first the curvature at the optimum, then the covariance of
    the draws of the phase before, shrunk towards the whitening they were drawn with. NumPyro's own windows begin with a
    covariance of a few dozen draws, which in forty coordinates costs more than the whole warm-up.
    """
    with enable_x64():
        white = _at(best[0])
        spread = OVERDISPERSION * np.random.default_rng(seed).normal(size=len(best[0].z))
        optimum = np.linalg.solve(white.scale, best[seed % len(best)].z - best[0].z)
        x = optimum + spread
        fixed = _fixed(problem, settings, white)
        while not np.isfinite(_at_point(fixed, x).potential_energy):
            if np.abs(x - optimum).max() < 1e-3:
                break  # it would never move
            x = optimum + (x - optimum) / 2
        for phase in range(PHASES - 1):
            points = _walk(problem, settings, white, x, jax.random.fold_in(jax.random.key(seed), phase), 0, watch)
            if points is None:
                return None
            white, x = _whiten_again(white, points.z[settings.phase // 4 :])
        key = jax.random.fold_in(jax.random.key(seed), PHASES - 1)
        return _walk(problem, settings, white, x, key, settings.draws, watch)


def run_longer(
    problem: TargetProblem, settings: Settings, points: Points, number: int, times: int, seed: int, watch: Watch
) -> Chain | None:
    """A chain that goes on from the last of its points, whitened by those of all chains, and thinned.

    Args:
        problem: what to sample.
        settings: how; as many draws are kept as they say.
        points: where the chains have been.
        number: which of the chains this is.
        times: how many draws are made for one that is kept.
        seed: of the chain.
        watch: how it is watched.
    """
    with enable_x64():
        white = points.whitening
        x = np.linalg.solve(white.scale, points.by_chain[number][-1] - np.asarray(white.centre))
        key = jax.random.fold_in(jax.random.key(seed), PHASES + times)
        chain = _walk(problem, settings, white, x, key, times * settings.draws, watch)
    return None if chain is None else jax.tree.map(lambda v: v[times - 1 :: times], chain)


def _walk(
    problem: TargetProblem,
    settings: Settings,
    white: Whitening,
    x: np.ndarray,
    key: jax.Array,
    draws: int,
    watch: Watch,
) -> Chain | None:
    """Adapt the step size for one phase, then draw; without any draws, those of the phase are returned."""
    form, _, prior, data, _ = fixed = _fixed(problem, settings, white)
    state, segments = _begin(*fixed, _at_point(fixed, x), key), []
    for offset in range(0, settings.phase + draws, SEGMENT):
        if watch.stop.is_set():
            return None
        (state, weight), part = _segment(form, settings, prior, data, white, state)
        data = data._replace(weight=weight)
        if offset >= settings.phase or not draws:
            segments.append(jax.tree.map(np.asarray, part))
        watch.advance(SEGMENT)
    whole = jax.tree.map(lambda *parts: np.concatenate(parts), *segments)
    return jax.tree.map(lambda v: v[: draws or settings.phase], whole)


def _whiten_again(white: Whitening, z: np.ndarray) -> tuple[Whitening, np.ndarray]:
    """The whitening of the given points (draw, coordinate), and the last of them in it."""
    x = np.linalg.solve(white.scale, (z - np.asarray(white.centre)).T).T
    draws, size = x.shape
    trust = draws / (draws + SHRINKAGE * size)
    centre = x.mean(axis=0)
    scale = np.linalg.cholesky(trust * np.cov(x.T).reshape(size, size) + (1 - trust) * np.eye(size))
    result = Whitening(white.centre + white.scale @ centre, white.scale @ scale)
    return result, np.linalg.solve(scale, x[-1] - centre)


@one_blas_thread
def sample(
    problems: list[TargetProblem],
    settings: Settings,
    seed: int,
    advance: Callable[[int], None],
    extend: Callable[[int], None],
) -> list[list[Chain]]:
    """All chains of all problems, one thread a core; Ctrl-C stops at the next segment and is raised again.

    Where the diagnostics of a problem fail, its chains go on for longer, a few times at most; see `_longer`.

    Args:
        problems: one for each group of targets.
        settings: how to sample.
        seed: of starts and chains.
        advance: is told how many draws are done.
        extend: is told how many draws come on top of `Settings.total`.

    Returns:
        The chains of each problem.

    Raises:
        RuntimeError: no optimisation start of a problem has a finite density.
        InputError: the draws to start from are too few.
    """
    watch = Watch(Event(), advance, extend)
    numbers = range(settings.chains)
    ready = partial(_ready, settings=settings, seed=seed)
    with ThreadPoolExecutor(cores()) as pool:
        try:
            first = ready(problems[0])
            _compile(*first, settings)  # before the threads ask for the same program at once
            # the pool takes jobs in order, so every optimisation has begun before a chain waits for it
            tasks = [pool.submit(lambda: first), *(pool.submit(ready, problem) for problem in problems[1:])]

            def chain(position: int, number: int) -> Chain | None:
                problem, start = tasks[position].result()
                with device(number):
                    if isinstance(start, Points):
                        return run_longer(problem, settings, start, number, 1, 1000 * seed + number, watch)
                    return run_chain(problem, settings, start, 1000 * seed + number, watch)

            def longer(position: int, careful: Settings, points: Points, number: int, times: int) -> Chain | None:
                with device(number):
                    problem = tasks[position].result()[0]
                    return run_longer(problem, careful, points, number, times, 1000 * seed + number, watch)

            jobs = [[pool.submit(chain, i, c) for c in numbers] for i in range(len(problems))]
            results = [[_whole(job.result()) for job in chains] for chains in jobs]
            thinning = [1] * len(problems)  # draws for one that is kept
            for extension in range(settings.extensions):
                pending = []
                for i, chains in enumerate(results):
                    if settings.can_pass and not _agree(chains):
                        careful, thinning[i] = _longer(settings, chains, thinning[i], extension)
                        points = Points([chain.z for chain in chains])
                        pending.append((i, [pool.submit(longer, i, careful, points, c, thinning[i]) for c in numbers]))
                extend(sum(settings.chains * settings.extent(thinning[i]) for i, _ in pending))
                for i, chains in pending:
                    results[i] = [_whole(job.result()) for job in chains]
            return results
        except BaseException:
            watch.stop.set()
            raise


def _ready(problem: TargetProblem, settings: Settings, seed: int) -> tuple[TargetProblem, list[Mode] | Points]:
    """The problem and where its chains begin."""
    return settle(problem, seed) if problem.warm_start is None else (problem, Points.near(problem, settings.chains))


def _longer(settings: Settings, chains: Sequence[Chain], thinning: int, extension: int) -> tuple[Settings, int]:
    """How chains that fail go on: the settings, and how many draws are made for one that is kept.

    As many as the effective draws ask for, at least twice as many as before, at most 4, 8, 16, … times as many as at
    first. After divergences the acceptance is nearer to 1: what it lacks is halved with every extension.
    """
    worst, diverging = _convergence(chains)
    effective = np.nan_to_num(min(worst.ess_bulk, worst.ess_tail), nan=1.0)
    times = min(max(2 * thinning, math.ceil(SPARE * thinning * ESS / effective)), 4 * 2**extension)
    lack = (1 - settings.target_accept) / 2 ** (extension + 1)
    return settings._replace(target_accept=1 - lack) if diverging > DIVERGENT_SHARE else settings, times


def _agree(chains: Sequence[Chain]) -> bool:
    """Whether the chains of one problem pass the diagnostics."""
    worst, diverging = _convergence(chains)
    return worst.rhat <= RHAT and min(worst.ess_bulk, worst.ess_tail) >= ESS and diverging <= DIVERGENT_SHARE


def _convergence(chains: Sequence[Chain]) -> tuple[Convergence, float]:
    """Of all parameters, and the share of draws that diverged."""
    draws = {site: np.stack([chain.theta[site] for chain in chains]) for site in chains[0].theta}
    return convergence(draws), float(np.mean([chain.diverging for chain in chains]))


def _whole(chain: Chain | None) -> Chain:
    if chain is None:
        raise KeyboardInterrupt
    return chain


def _compile(problem: TargetProblem, start: list[Mode] | Points, settings: Settings) -> None:
    with enable_x64(), device(0):  # the device belongs to what JAX knows a traced program by
        fixed = _fixed(problem, settings, start.whitening if isinstance(start, Points) else _at(start[0]))
        state = _begin(*fixed, _at_point(fixed, np.zeros(len(fixed[-1].centre))), jax.random.key(0))
        jax.block_until_ready(_segment(*fixed, state))


def _at(best: Mode) -> Whitening:
    return Whitening(jnp.asarray(best.z), jnp.asarray(whitening(best.hessian)))


def _fixed(problem: TargetProblem, settings: Settings, white: Whitening) -> tuple[Any, ...]:
    return (problem.form, settings, as_arrays(Prior(problem.prior)), as_arrays(problem.data), white)
