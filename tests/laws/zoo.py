"""Every law under test, with draws of its prior, random designs and compiled losses."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.design import Scale
from bayesmix.laws.additive import Additive
from bayesmix.laws.base import Extent, Law
from bayesmix.laws.bimix import BiMix
from bayesmix.laws.capacity import Capacity
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.laws.dcpt import DCPT
from bayesmix.laws.exponential import Exponential
from bayesmix.laws.full import Full
from bayesmix.laws.joint import Joint
from bayesmix.laws.repeated import Repeated
from bayesmix.laws.simple import Simple

DOMAINS = ("web", "code", "books", "wiki")
SCALE = Scale(params=4e8, tokens=1e10)
REFERENCE = np.array([0.4, 0.3, 0.2, 0.1])
DRAWS = 24
MIXTURES = np.random.default_rng(1).dirichlet(np.ones(len(DOMAINS)), 6)
EXTENT = Extent(
    np.array(0.7),
    np.array(0.9),
    MIXTURES / REFERENCE,
    np.full(6, 1 / 6),
    np.full(4, 0.2),
    np.array([1.5, 2.0, 2.5, 3.0]),
)
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "your-own-law.md"


def from_the_guide() -> Law:
    """The law that `docs/your-own-law.md` writes: the first Python block of the page."""
    code = GUIDE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    module: dict[str, Any] = {"__name__": "guide"}
    exec(compile(code, str(GUIDE), "exec", dont_inherit=True), module)
    return module["Kaplan"]()


LAWS: dict[str, Law] = {
    "chinchilla": Chinchilla(),
    "simple": Simple(),
    "exponential": Exponential(),
    "additive": Additive(),
    "additive-paper": Additive(constant=False),
    "additive-diminishing": Additive(diminishing=True),
    "joint": Joint(),
    "full": Full(),
    "bimix": BiMix(),
    "bimix-paper": BiMix(constant=False, sizes=False),
    "dcpt": DCPT(),
    "capacity": Capacity(),
    "repeated-additive": Repeated(Additive(), {"wiki": 3e9, "books": 5e8}),
    "repeated-chinchilla": Repeated(Chinchilla(), {"code": 1e9}),
    "guide": from_the_guide(),
}


class Points(NamedTuple):
    """Parameters and designs, one of each a draw (draw, ...)."""

    theta: dict[str, jax.Array]
    weights: jax.Array
    n: jax.Array
    d: jax.Array


def told(law: Law, domains: tuple[str, ...] = DOMAINS) -> Law:
    """The law as a model uses it."""
    return law.at(domains, SCALE)


def points(law: Law, seed: int = 0, zeros: bool = False, draws: int = DRAWS) -> Points:
    """Prior draws at random mixtures and sizes within ten times the reference.

    The mixtures have exact zeros on request.
    """
    rng = np.random.default_rng(seed)
    keys = jax.random.split(jax.random.key(seed), 64)
    theta = {
        site: jnp.asarray(belief.sample(key, (draws,)))
        for key, (site, belief) in zip(keys, law.priors(len(DOMAINS)).items(), strict=False)
    }
    weights = rng.dirichlet(np.ones(len(DOMAINS)), draws)
    if zeros:
        weights = weights * (rng.random(weights.shape) < 0.5)
        weights[np.arange(draws), rng.integers(len(DOMAINS), size=draws)] += 0.1
        weights[: len(DOMAINS)] = np.eye(len(DOMAINS))
        weights = weights / weights.sum(1, keepdims=True)
    return Points(
        theta,
        jnp.asarray(weights),
        *(jnp.asarray(10 ** rng.uniform(-1, 1, draws)) for _ in range(2)),
    )


def loss_of_one(law: Law, theta: Any, weights: Any, n: Any, d: Any, reference: Any) -> jax.Array:
    """Loss of one run."""
    return law.loss(theta, law.terms(theta, weights, reference), n, d)


@partial(jax.jit, static_argnums=0)
def losses(law: Law, at: Points, reference: Any = REFERENCE) -> jax.Array:
    """Loss (draw) of every draw at its own design."""
    return jax.vmap(partial(loss_of_one, law), (0, 0, 0, 0, None))(
        *at, jnp.asarray(reference, at.weights.dtype)
    )


@partial(jax.jit, static_argnums=0)
def gradients(law: Law, at: Points) -> tuple[Any, ...]:
    """Gradients of the loss in parameters, weights, n and d, each for every draw."""
    gradient = jax.grad(partial(loss_of_one, law), argnums=(0, 1, 2, 3))
    return jax.vmap(gradient, (0, 0, 0, 0, None))(*at, jnp.asarray(REFERENCE, at.weights.dtype))


def take_domains(law: Law, theta: dict[str, jax.Array], keep: np.ndarray) -> dict[str, jax.Array]:
    """Parameters (draw, ...) of the given domains, in order; a share's constant stays first."""
    k = len(DOMAINS)
    taken = {}
    for site, belief in law.priors(k).items():
        order = {(): None, (k,): keep, (k + 1,): np.r_[0, keep + 1]}[belief.event_shape]
        taken[site] = theta[site] if order is None else theta[site][:, order]
    return taken
