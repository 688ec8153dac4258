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
from bayesmix.laws.base import Law
from bayesmix.model import Data
from bayesmix.noise import Noise

SEGMENT = 50
STARTS = 6
OVERDISPERSION = 1.5


class Settings(NamedTuple):
    """How to sample; warm-up is rounded up to whole segments."""

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    target_accept: float = 0.95
    max_tree_depth: int = 10


class Problem(NamedTuple):
    """What to sample: the static parts of a model and its arrays, for one group of targets sampled together."""

    law: Law
    noise: Noise
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


def _arrays(tree: Any) -> Any:
    """Leaves as JAX arrays, numbers in float64, without compiling a conversion for each shape."""

    def array(leaf: Any) -> jax.Array:
        value = np.asarray(leaf)
        return jnp.asarray(
            value if value.dtype == bool or (value.ndim and value.dtype.kind == "i") else value.astype(float)
        )

    return jax.tree.map(array, tree)


@partial(jax.jit, static_argnums=(0, 1))
def _prior_start(law: Law, noise: Noise, prior: Any, data: Data, key: jax.Array) -> jax.Array:
    geometry = Geometry(law, noise, prior, data)
    return ravel_pytree(geometry.from_theta(geometry.draw(key)))[0]


@partial(jax.jit, static_argnums=(0, 1))
def _value_and_grad(law: Law, noise: Noise, prior: Any, data: Data, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.value_and_grad(Geometry(law, noise, prior, data).potential)(z)


@partial(jax.jit, static_argnums=(0, 1))
def _hessian(law: Law, noise: Noise, prior: Any, data: Data, z: jax.Array) -> jax.Array:
    gradient = jax.grad(Geometry(law, noise, prior, data).potential)
    # one column at a time: a batched Hessian of thousands of rows costs more memory than it saves time
    return jax.lax.map(lambda v: jax.jvp(gradient, (z,), (v,))[1], jnp.eye(z.shape[0]), batch_size=8)


def _kernel(law: Law, noise: Noise, settings: Settings, prior: Any, data: Data, white: Whitening) -> tuple[Any, Any]:
    geometry = Geometry(law, noise, prior, data)
    init, step = hmc(lambda x: geometry.potential(white.centre + white.scale @ x), algo="NUTS")
    begin = partial(
        init,
        num_warmup=settings.warmup,
        step_size=0.3,
        dense_mass=True,
        target_accept_prob=settings.target_accept,
        max_tree_depth=settings.max_tree_depth,
    )
    return begin, step


@partial(jax.jit, static_argnums=(0, 1, 2))
def _begin(
    law: Law, noise: Noise, settings: Settings, prior: Any, data: Data, white: Whitening, x: jax.Array, key: jax.Array
) -> Any:
    begin, _ = _kernel(law, noise, settings, prior, data, white)
    return begin(x, rng_key=key)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _segment(
    law: Law, noise: Noise, settings: Settings, prior: Any, data: Data, white: Whitening, state: Any
) -> tuple[Any, Chain]:
    begin, step = _kernel(law, noise, settings, prior, data, white)
    jax.eval_shape(begin, state.z, rng_key=state.rng_key)  # NumPyro's kernel learns its settings when it begins
    geometry = Geometry(law, noise, prior, data)
    _, unravel = geometry.unravel()

    def one(state: Any, _: Any) -> tuple[Any, Chain]:
        state = step(state, (), {})
        theta, _ = geometry.to_theta(unravel(white.centre + white.scale @ state.z))
        stats = (state.potential_energy, state.energy, state.num_steps, state.diverging, state.accept_prob)
        return state, Chain(theta, *stats)

    return jax.lax.scan(one, state, None, length=SEGMENT)


def optima(problem: Problem, seed: int, starts: int = STARTS) -> list[Optimum]:
    """Local maxima of the posterior from several prior draws, best first."""
    with double():
        prior = _arrays(dict(problem.prior))
        fixed = (problem.law, problem.noise, prior, _arrays(problem.data))

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
    """One chain from a point spread around an optimum; None when `stop` was set before the end."""
    with double():
        fixed = _fixed(problem, settings, best[0])
        white = fixed[-1]
        near = [o for o in best if o.potential < best[0].potential + 10.0]
        spread = OVERDISPERSION * np.random.default_rng(seed).normal(size=len(best[0].z))
        x = np.linalg.solve(white.scale, near[seed % len(near)].z - best[0].z) + spread
        state = _begin(*fixed, jnp.asarray(x), jax.random.key(seed))
        kept: list[Chain] = []
        for done in range(0, settings.warmup + settings.draws, SEGMENT):
            if stop.is_set():
                return None
            state, part = _segment(*fixed, state)
            if done >= settings.warmup:
                kept.append(jax.tree.map(np.asarray, part))
            else:
                jax.block_until_ready(state)
            advance(SEGMENT)
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: settings.draws], *kept)


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
    return (problem.law, problem.noise, settings, _arrays(dict(problem.prior)), _arrays(problem.data), white)
