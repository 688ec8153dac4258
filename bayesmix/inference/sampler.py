"""NUTS in compiled segments: one program for every target and refit, one thread a chain, a stop between segments.

NumPyro's `MCMC.run` compiles anew on every call, so its kernel is driven directly, inside functions that are compiled
once for given shapes and take data, prior and whitening as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

from bayesmix.compute import cores, double
from bayesmix.inference.geometry import Geometry, Whitening
from bayesmix.inference.start import Optimum, maximise, whitening
from bayesmix.model import Data, Form

SEGMENT = 50
STARTS = 6
OVERDISPERSION = 1.5
PHASES = 3
SHRINKAGE = 2.0
"""How many draws per coordinate the previous whitening counts for, against those of the last phase."""


class Settings(NamedTuple):
    """How to sample; warm-up is rounded up to whole segments."""

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    target_accept: float = 0.95
    max_tree_depth: int = 10

    @property
    def phase(self) -> int:
        """Length of each of the phases of the warm-up, in whole segments."""
        return SEGMENT * -(-self.warmup // (PHASES * SEGMENT))

    @property
    def total(self) -> int:
        """Draws of one chain, warm-up and all, in whole segments."""
        return PHASES * self.phase + SEGMENT * -(-self.draws // SEGMENT)


class Problem(NamedTuple):
    """What to sample: the static parts of a model and its arrays, for one group of targets sampled together."""

    form: Form
    prior: Mapping[str, dist.Distribution]
    data: Data


class Chain(NamedTuple):
    """Draws of one chain, the first axis being the draw."""

    theta: dict[str, Any]
    potential: Any
    energy: Any
    steps: Any
    diverging: Any
    accept: Any


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
def _value_and_grad(form: Form, prior: Any, data: Data, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.value_and_grad(Geometry(form, prior, data).potential)(z)


@partial(jax.jit, static_argnums=0)
def _hessian(form: Form, prior: Any, data: Data, z: jax.Array) -> jax.Array:
    gradient = jax.grad(Geometry(form, prior, data).potential)
    # one column at a time: a batched Hessian of thousands of rows costs more memory than it saves time
    return jax.lax.map(lambda v: jax.jvp(gradient, (z,), (v,))[1], jnp.eye(z.shape[0]), batch_size=8)


def _kernel(form: Form, settings: Settings, prior: Any, data: Data, white: Whitening) -> tuple[Any, Any]:
    geometry = Geometry(form, prior, data)
    init, step = hmc(lambda x: geometry.potential(white.centre + white.scale @ x), algo="NUTS")
    begin = partial(
        init,
        num_warmup=settings.phase,
        step_size=0.3,
        adapt_mass_matrix=False,  # the whitening is the mass matrix; see `run_chain`
        target_accept_prob=settings.target_accept,
        max_tree_depth=settings.max_tree_depth,
    )
    return begin, step


@partial(jax.jit, static_argnums=(0, 1))
def _begin(
    form: Form, settings: Settings, prior: Any, data: Data, white: Whitening, x: jax.Array, key: jax.Array
) -> Any:
    begin, _ = _kernel(form, settings, prior, data, white)
    return begin(x, rng_key=key)


@partial(jax.jit, static_argnums=(0, 1))
def _segment(
    form: Form, settings: Settings, prior: Any, data: Data, white: Whitening, state: Any
) -> tuple[Any, Chain, jax.Array]:
    begin, step = _kernel(form, settings, prior, data, white)
    jax.eval_shape(begin, state.z, rng_key=state.rng_key)  # NumPyro's kernel learns its settings when it begins
    geometry = Geometry(form, prior, data)
    _, unravel = geometry.unravel()

    def one(state: Any, _: Any) -> tuple[Any, tuple[Chain, jax.Array]]:
        state = step(state, (), {})
        theta, _ = geometry.to_theta(unravel(white.centre + white.scale @ state.z))
        stats = (state.potential_energy, state.energy, state.num_steps, state.diverging, state.accept_prob)
        return state, (Chain(theta, *stats), state.z)

    state, (chain, x) = jax.lax.scan(one, state, None, length=SEGMENT)
    return state, chain, x


def optima(problem: Problem, seed: int, starts: int = STARTS) -> list[Optimum]:
    """Local maxima of the posterior from several prior draws, best first."""
    with double():
        prior = as_arrays(dict(problem.prior))
        fixed = (problem.form, prior, as_arrays(problem.data))

        def value_and_grad(z: np.ndarray) -> tuple[float, np.ndarray]:
            f, g = _value_and_grad(*fixed, z)
            return float(f), np.asarray(g)

        keys = jax.random.split(jax.random.key(seed), starts)
        begun = [np.asarray(_prior_start(*fixed, key)) for key in keys]
        found = [maximise(value_and_grad, lambda z: np.asarray(_hessian(*fixed, z)), z) for z in begun]
    best = sorted((o for o in found if o is not None), key=lambda o: o.potential)
    if not best:
        raise RuntimeError("no draw of the prior has a finite posterior density: check units and priors of the model")
    return best


def run_chain(
    problem: Problem,
    settings: Settings,
    best: list[Optimum],
    seed: int,
    stop: Event,
    advance: Callable[[int], None],
) -> Chain | None:
    """One chain from a point spread around an optimum; None when `stop` was set before the end.

    The warm-up has phases, each with a whitening of its own: first the curvature at the optimum, then the covariance of
    the draws of the phase before, shrunk towards the whitening they were drawn with. NumPyro's own windows begin with a
    covariance of a few dozen draws, which in forty coordinates costs more than the whole warm-up.
    """
    with double():
        form, settings, prior, data, white = _fixed(problem, settings, best[0])
        near = [o for o in best if o.potential < best[0].potential + 10.0]
        spread = OVERDISPERSION * np.random.default_rng(seed).normal(size=len(best[0].z))
        at = np.linalg.solve(white.scale, near[seed % len(near)].z - best[0].z)
        x = at + spread
        kept: list[Chain] = []
        for phase in range(PHASES):
            key = jax.random.fold_in(jax.random.key(seed), phase)
            state = _begin(form, settings, prior, data, white, jnp.asarray(x), key)
            while not np.isfinite(state.potential_energy) and np.abs(x - at).max() > 1e-3:  # it would never move
                x = at + (x - at) / 2
                state = _begin(form, settings, prior, data, white, jnp.asarray(x), key)
            last = phase == PHASES - 1
            points: list[np.ndarray] = []
            for done in range(0, settings.phase + (settings.draws if last else 0), SEGMENT):
                if stop.is_set():
                    return None
                state, part, xs = _segment(form, settings, prior, data, white, state)
                if done >= settings.phase:
                    kept.append(jax.tree.map(np.asarray, part))
                points.append(np.asarray(xs))
                advance(SEGMENT)
            if not last:
                white, x = _whiten_again(white, np.concatenate(points)[settings.phase // 4 :])
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: settings.draws], *kept)


def _whiten_again(white: Whitening, x: np.ndarray) -> tuple[Whitening, np.ndarray]:
    """The whitening of the given points (draw, coordinate), and the last of them in it."""
    draws, size = x.shape
    trust = draws / (draws + SHRINKAGE * size)
    centre, scale = (
        x.mean(axis=0),
        np.linalg.cholesky(trust * np.cov(x.T).reshape(size, size) + (1 - trust) * np.eye(size)),
    )
    again = Whitening(white.centre + white.scale @ centre, white.scale @ scale)
    return again, np.linalg.solve(scale, x[-1] - centre)


def sample(
    problems: list[Problem], settings: Settings, seed: int, advance: Callable[[int], None]
) -> list[tuple[list[Chain], list[Optimum]]]:
    """All chains of all problems, one thread a core; Ctrl-C stops at the next segment and is raised again.

    Raises:
        RuntimeError: no optimisation start of a problem has a finite density.
    """
    stop = Event()
    with ThreadPoolExecutor(cores()) as pool:
        try:
            first = optima(problems[0], seed)
            _compile(problems[0], settings, first)  # before the threads ask for the same program at once
            # the pool takes jobs in order, so every optimisation has begun before a chain waits for it
            best = [pool.submit(lambda: first), *(pool.submit(optima, problem, seed) for problem in problems[1:])]

            def chain(position: int, number: int) -> Chain | None:
                found = best[position].result()
                return run_chain(problems[position], settings, found, 1000 * seed + number, stop, advance)

            jobs = [[pool.submit(chain, i, c) for c in range(settings.chains)] for i in range(len(problems))]
            return [
                ([_whole(job.result()) for job in chains], found.result())
                for chains, found in zip(jobs, best, strict=True)
            ]
        except BaseException:
            stop.set()
            raise


def _whole(chain: Chain | None) -> Chain:
    if chain is None:
        raise KeyboardInterrupt
    return chain


def _compile(problem: Problem, settings: Settings, best: list[Optimum]) -> None:
    with double():
        fixed = _fixed(problem, settings, best[0])
        state = _begin(*fixed, jnp.zeros_like(fixed[-1].centre), jax.random.key(0))
        jax.block_until_ready(_segment(*fixed, state))


def _fixed(problem: Problem, settings: Settings, best: Optimum) -> tuple[Any, ...]:
    white = Whitening(jnp.asarray(best.z), jnp.asarray(whitening(best.hessian)))
    return (problem.form, settings, as_arrays(dict(problem.prior)), as_arrays(problem.data), white)
