"""NUTS in segments of draws: one compiled program for every target and refit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import hmc
from numpyro.infer.util import ParamInfo

from bayesmix.inference.coordinates import Geometry, Whitening
from bayesmix.inference.density import TargetDensity, TargetProblem, as_arrays
from bayesmix.inference.scale_mixture import draw_weights, rescaled, weighs
from bayesmix.model.data import Data
from bayesmix.model.likelihood import Form
from bayesmix.model.priors import Prior
from bayesmix.posterior.diagnostics import ESS

SEGMENT = 50


PHASES = 3


class Settings(NamedTuple):
    """Sampler settings; the warm-up is rounded up to whole segments."""

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    target_accept: float = 0.95
    max_tree_depth: int = 10
    extensions: int = 2

    @property
    def phase(self) -> int:
        """Draws of each phase of the warm-up, in whole segments."""
        return SEGMENT * -(-self.warmup // (PHASES * SEGMENT))

    @property
    def total(self) -> int:
        """Draws of one chain, warm-up included, in whole segments."""
        return (PHASES - 1) * self.phase + self.extent(1)

    def extent(self, times: int) -> int:
        """Draws of one chain in a round of `times` · `draws` draws and one phase of adaptation."""
        return self.phase + SEGMENT * -(-times * self.draws // SEGMENT)

    @property
    def can_pass(self) -> bool:
        """Whether there are enough chains and draws to pass the diagnostics."""
        return self.chains >= 4 and self.chains * self.draws >= 2 * ESS


class ChainDraws(NamedTuple):
    """Draws of one chain, the first axis being the draw."""

    theta: dict[str, Any]
    potential: Any
    energy: Any
    steps: Any
    diverging: Any
    accept: Any
    z: Any  # coordinates of the model (draw, coordinate)
    drift: Any  # drift at the runs (draw, ...), None where it does not differ between them


class _Kernel(NamedTuple):
    """NUTS on x, given the weights of the training runs."""

    potential: Callable[[jax.Array], Callable[[jax.Array], jax.Array]]
    init: Callable[..., Any]
    step: Callable[..., Any]

    @classmethod
    def of(
        cls, form: Form, settings: Settings, prior: Any, data: Data, white: Whitening
    ) -> _Kernel:
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


def fold_in_draw(key: jax.Array) -> jax.Array:
    """Random key for the draws after a step of the kernel that ended with the given key.

    It differs from the keys of all further steps. The kernel splits its key in three, and
    `split(key, n)[i]` is `fold_in(key, i)`.
    """
    return jax.random.fold_in(key, 1000)


@partial(jax.jit, static_argnums=(0, 1))
def begin_chain(
    form: Form,
    settings: Settings,
    prior: Any,
    data: Data,
    white: Whitening,
    start: ParamInfo,
    key: jax.Array,
) -> Any:
    """State of the kernel at a point, before its step size is adapted."""
    return _Kernel.of(form, settings, prior, data, white).init(
        start, model_args=(data.weight,), rng_key=key
    )


def start_at(fixed: tuple[Any, ...], x: np.ndarray) -> ParamInfo:
    """A point with its potential and gradient, as the kernel takes them.

    They come from the program of the optimisation, so that none has to be compiled.
    """
    form, _, prior, data, white = fixed
    value, slope = TargetDensity(form, prior, data).value_and_slope(
        np.asarray(white.centre + white.scale @ x)
    )
    # a Python number would be weakly typed, and `run_segment` compiled again for the next segment
    return ParamInfo(jnp.asarray(x), jnp.asarray(value, float), jnp.asarray(slope) @ white.scale)


@partial(jax.jit, static_argnums=(0, 1))
def run_segment(
    form: Form, settings: Settings, prior: Any, data: Data, white: Whitening, state: Any
) -> tuple[tuple[Any, jax.Array], ChainDraws]:
    """Run one segment of a chain, with a draw of the weights after each step.

    Returns:
        The state and the weights that the next segment starts from, and the draws.
    """
    potential, init, step = _Kernel.of(form, settings, prior, data, white)
    # NumPyro's kernel reads its settings when it is initialised
    point = ParamInfo(state.z, state.potential_energy, state.z_grad)
    jax.eval_shape(init, point, model_args=(data.weight,), rng_key=state.rng_key)
    geometry = Geometry(form, prior, data)
    _, unravel = geometry.unravel()

    def value_and_slope(point: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, weight = point
        return jax.value_and_grad(potential(weight))(x)

    def rescale(
        state: Any, weight: jax.Array, size_key: jax.Array, key: jax.Array
    ) -> tuple[Any, jax.Array]:
        """State for the new weights, or for another size of them: a Metropolis step."""
        other, factor = rescaled(form, data._replace(weight=weight), size_key)
        z = geometry.scaled(white.centre + white.scale @ state.z, factor)
        x = jax.scipy.linalg.solve_triangular(white.scale, z - white.centre, lower=True)
        pairs = jnp.stack([state.z, x]), jnp.stack([weight, other])
        # one after the other, so that the density is compiled once
        values, slopes = jax.lax.map(value_and_slope, pairs)
        accept = jnp.log(jax.random.uniform(key)) < values[0] - values[1]
        x, weight, value, slope = (jnp.where(accept, v[1], v[0]) for v in (*pairs, values, slopes))
        return state._replace(z=x, potential_energy=value, z_grad=slope), weight

    def one(carry: tuple[Any, jax.Array], _: Any) -> tuple[tuple[Any, jax.Array], ChainDraws]:
        state, weight = carry
        state = step(state, (weight,), {})
        z = white.centre + white.scale @ state.z
        theta, _ = geometry.transform_and_log_det(unravel(z))
        stats = (
            state.potential_energy,
            state.energy,
            state.num_steps,
            state.diverging,
            state.accept_prob,
        )
        drift = None
        if weighs(form, data):
            draw_key, *keys = jax.random.split(fold_in_draw(state.rng_key), 3)
            drift, weight = draw_weights(form, theta, data._replace(weight=weight), draw_key)
            state, weight = rescale(state, weight, *keys)
        return (state, weight), ChainDraws(theta, *stats, z, drift)

    return jax.lax.scan(one, (state, data.weight), None, length=SEGMENT)


def fixed_arguments(
    problem: TargetProblem, settings: Settings, white: Whitening
) -> tuple[Any, ...]:
    """Arguments of `begin_chain` and `run_segment` besides a state."""
    return (problem.form, settings, as_arrays(Prior(problem.prior)), as_arrays(problem.data), white)
