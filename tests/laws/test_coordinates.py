"""Natural coordinates: one to one, with the log-determinant that keeps priors as stated."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from numpyro.distributions import constraints

from bayesmix.laws.base import Bijection, Law
from bayesmix.laws.bijections import EDGE_LEVEL, soft_floor, soft_floor_inverse, zero_sum_inverse
from tests.laws.zoo import DOMAINS, EXTENT, LAWS, points

pytestmark = pytest.mark.usefixtures("x64")
MAPPED = {name: law for name, law in LAWS.items() if law.coordinates(EXTENT) is not None}
every_journey = pytest.mark.parametrize(
    ("name", "tied"),
    [
        *((name, False) for name in MAPPED),
        *((name, True) for name in ("chinchilla", "additive", "capacity")),
    ],
)
every_law = pytest.mark.parametrize("law", MAPPED.values(), ids=MAPPED.keys())


def coordinates(law: Law, tied: bool = False) -> Bijection:
    found = law.coordinates(EXTENT._replace(tied=jnp.array(tied)))
    assert found is not None
    return found


def free(law: Law, theta: Any) -> jax.Array:
    """Parameters in a vector, in the measure of their densities.

    Simplices are without one entry, and zero sums in a basis.
    """
    parts = []
    for site, belief in law.priors(len(DOMAINS)).items():
        if belief.support == constraints.simplex:
            parts.append(theta[site][:-1])
        elif belief.support == constraints.zero_sum(1):
            parts.append(zero_sum_inverse(theta[site]))
        else:
            parts.append(jnp.ravel(theta[site]))
    return jnp.concatenate(parts)


class Journey(NamedTuple):
    """There and back, for every draw."""

    theta: dict[str, jax.Array]
    again: dict[str, jax.Array]
    sign: jax.Array
    exact: jax.Array
    claimed: jax.Array


@cache
def journey(name: str, tied: bool = False) -> Journey:
    law = MAPPED[name]
    to, back = coordinates(law, tied).transform_and_log_det, coordinates(law, tied).inverse

    def one(theta: Any) -> tuple[Any, ...]:
        z, unravel = ravel_pytree(back(theta))
        again, claimed = to(unravel(z))
        jacobian = jax.jacfwd(lambda z: free(law, to(unravel(z))[0]))(z)
        return again, *jnp.linalg.slogdet(jacobian), claimed

    theta = points(law).theta
    return Journey(theta, *jax.jit(jax.vmap(one))(theta))


@every_journey
def test_round_trip(name: str, tied: bool) -> None:
    theta, again, *_ = journey(name, tied)
    assert set(again) == set(theta)
    for site, value in theta.items():
        np.testing.assert_allclose(again[site], value, rtol=1e-7, err_msg=site)


@every_journey
def test_log_determinant(name: str, tied: bool) -> None:
    there = journey(name, tied)
    assert (there.sign != 0).all()
    np.testing.assert_allclose(there.claimed, there.exact, rtol=1e-6, atol=1e-6)


@every_law
def test_points_across_the_soft_edges_are_legal_parameters(law: Law) -> None:
    """A sampler may step past where a share or the floor would be negative, and must return."""
    z, unravel = ravel_pytree(
        coordinates(law).inverse({k: v[0] for k, v in points(law).theta.items()})
    )
    across = jnp.where(z > 0, 0.0, z) + jnp.asarray(
        np.random.default_rng(0).normal(scale=0.03, size=(50, len(z)))
    )
    theta, log_det = jax.jit(
        jax.vmap(lambda z: coordinates(law).transform_and_log_det(unravel(z)))
    )(across)
    assert jnp.isfinite(log_det).all()
    for site, belief in law.priors(len(DOMAINS)).items():
        assert not jnp.isnan(theta[site]).any(), site
        if site not in law.amplitudes and belief.support != constraints.simplex:
            assert belief.support(theta[site]).all(), site


def test_soft_and_hard_are_inverse_and_smooth() -> None:
    x = jnp.concatenate([jnp.linspace(-2, 2, 401), jnp.array([-30, 30]) * EDGE_LEVEL])
    log_v, log_slope = soft_floor(x, EDGE_LEVEL)
    np.testing.assert_allclose(
        soft_floor_inverse(log_v, EDGE_LEVEL)[x > -0.5], x[x > -0.5], atol=1e-9
    )
    slope = jax.vmap(jax.grad(lambda x: jnp.exp(soft_floor(x, EDGE_LEVEL)[0])))(x)
    np.testing.assert_allclose(jnp.exp(log_slope), slope, rtol=1e-9)
    assert (jnp.exp(log_v) > 0).all() and jnp.allclose(jnp.exp(log_v[x > 1]), x[x > 1])
