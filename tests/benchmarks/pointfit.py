"""The procedure of arXiv 2507.09404, as a baseline: Huber loss of the raw residual, basin-hopping around L-BFGS.

One point, no interval. The mean Huber loss with δ = 1e-3 is minimised over the paper's laws in
unconstrained parameters; SciPy does the minimising, JAX the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import basinhopping

from bayesmix.design import Designs
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64

HUBER = 1e-3
STARTS = 2
HOPS = 2
STEP = 0.5
SCALE = 1e4  # L-BFGS stops at absolute slopes, and the mean Huber loss of a good fit is near 1e-6
LBFGS = {"maxiter": 1500, "maxcor": 30, "ftol": 1e-10, "gtol": 1e-7}
DRAWS = 200  # random starts that are looked at before the best are descended from


class Points(NamedTuple):
    """Designs as the laws read them: each mixture once, N and D relative to their geometric means."""

    log_h: Any  # (mixture, domain)
    mixture_of: Any  # (run)
    log_n: Any  # (run)
    log_d: Any  # (run)


def points(designs: Designs, origin: tuple[float, float]) -> Points:
    """Designs relative to `origin`, a log N and a log D."""
    mixture, index = np.unique(designs.mixture, axis=0, return_inverse=True)
    log_h = np.log(np.maximum(mixture, 1e-300))
    return Points(
        log_h,
        index.reshape(-1),
        np.log(designs.params) - origin[0],
        np.log(designs.tokens) - origin[1],
    )


def _mixture_term(p: Mapping[str, Any], log_h: Any) -> Any:
    """1/Σ Cᵢ hᵢ^γᵢ (mixture)."""
    return jnp.exp(-jax.nn.logsumexp(p["C"] + jnp.exp(p["gamma"]) * log_h, axis=1))


def additive(p: Mapping[str, Any], at: Points) -> Any:
    """E + 1/Σ Cᵢ hᵢ^γᵢ + A n^−α + B d^−β; every parameter but none is sampled in logs."""
    falling = jnp.exp(p["A"] - jnp.exp(p["alpha"]) * at.log_n) + jnp.exp(
        p["B"] - jnp.exp(p["beta"]) * at.log_d
    )
    return jnp.exp(p["E"]) + _mixture_term(p, at.log_h)[at.mixture_of] + falling


def joint(p: Mapping[str, Any], at: Points) -> Any:
    """The additive law with A^h = (Σ C^A_i hᵢ)^γA and B^h likewise; γA and γB are of either sign."""
    log_a, log_b = (
        (p[f"gamma_{s}"] * jax.nn.logsumexp(p[f"C_{s}"] + at.log_h, axis=1))[at.mixture_of]
        for s in ("A", "B")
    )
    falling = jnp.exp(log_a - jnp.exp(p["alpha"]) * at.log_n) + jnp.exp(
        log_b - jnp.exp(p["beta"]) * at.log_d
    )
    return jnp.exp(p["E"]) + _mixture_term(p, at.log_h)[at.mixture_of] + falling


LAWS: dict[str, Callable[[Mapping[str, Any], Points], Any]] = {"additive": additive, "joint": joint}


def start(law: str, domains: int, unit: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random parameters of a law, of losses that are about `unit` at least."""
    log = partial(rng.normal, scale=0.5)
    p: dict[str, Any] = {
        "E": log(np.log(0.5 * unit)),
        "alpha": log(np.log(0.3)),
        "beta": log(np.log(0.4)),
        "C": rng.normal(np.log(3 / unit), 1.0, domains),
        "gamma": rng.normal(np.log(0.6), 0.4, domains),
    }
    if law == "additive":
        return p | {
            "A": np.array(log(np.log(0.15 * unit))),
            "B": np.array(log(np.log(0.15 * unit))),
        }
    for site in ("A", "B"):
        exponent = rng.choice([-1, 1]) * np.exp(log(np.log(0.3)))
        p[f"gamma_{site}"] = np.array(exponent)
        p[f"C_{site}"] = np.log(0.15 * unit) / exponent + rng.normal(0, 1.0, domains)
    return p


@partial(jax.jit, static_argnums=(0, 1))
def _value_and_slope(law: str, unravel: Any, x: Any, at: Points, loss: Any, seen: Any) -> Any:
    def objective(x: Any) -> Any:
        miss = jnp.where(seen, LAWS[law](unravel(x), at) - loss, 0.0)
        size = jnp.abs(miss)
        huber = jnp.where(size < HUBER, 0.5 * miss**2, HUBER * (size - 0.5 * HUBER))
        return SCALE * jnp.sum(huber) / jnp.sum(seen)

    return jax.value_and_grad(objective)(x)


class PointFit(NamedTuple):
    """Fitted parameters of every target."""

    law: str
    domains: tuple[str, ...]
    origin: tuple[float, float]
    x: np.ndarray  # (target, parameter)

    def predict(self, designs: Designs) -> np.ndarray:
        """Loss (run, target) of the designs."""
        with enable_x64():
            where = points(designs.on(self.domains), self.origin)
            unravel = _unravel(self.law, len(self.domains))
            return np.stack(
                [np.asarray(LAWS[self.law](unravel(jnp.asarray(x)), where)) for x in self.x], axis=1
            )


@cache
def _unravel(law: str, domains: int) -> Callable[[jax.Array], dict[str, jax.Array]]:
    shape = start(law, domains, 1.0, np.random.default_rng(0))
    return ravel_pytree(jax.tree.map(lambda v: jnp.asarray(v, float), shape))[1]


def point_fit(
    law: str, runs: Runs, seed: int = 0, starts: int = STARTS, hops: int = HOPS
) -> PointFit:
    """Fit every target by the paper's procedure."""
    origin = float(np.log(runs.params).mean()), float(np.log(runs.tokens).mean())
    with enable_x64():
        at = jax.tree.map(jnp.asarray, points(runs.designs, origin))
        x = [
            _of_target(law, runs, target, at, seed, starts, hops)
            for target in range(len(runs.targets))
        ]
    return PointFit(law, runs.domains, origin, np.stack(x))


def _of_target(
    law: str, runs: Runs, target: int, at: Points, seed: int, starts: int, hops: int
) -> np.ndarray:
    unravel = _unravel(law, len(runs.domains))
    rng = np.random.default_rng([seed, target])
    measured = runs.loss[:, target]
    seen = np.isfinite(measured)
    loss, unit = np.where(seen, measured, 1.0), float(np.nanmin(measured))

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _value_and_slope(law, unravel, x, at, loss, seen)
        value, slope = float(value), np.asarray(slope)
        return (
            (value, slope)
            if np.isfinite(value) and np.isfinite(slope).all()
            else (1e6, np.zeros_like(x))
        )

    tried = [ravel_pytree(start(law, len(runs.domains), unit, rng))[0] for _ in range(DRAWS)]
    tried = sorted((np.asarray(x, float) for x in tried), key=lambda x: objective(x)[0])
    local = {"method": "L-BFGS-B", "jac": True, "options": LBFGS}
    found = [
        basinhopping(objective, x, niter=hops, stepsize=STEP, minimizer_kwargs=local, rng=rng)
        for x in tried[:starts]
    ]
    return min(found, key=lambda result: result.fun).x
