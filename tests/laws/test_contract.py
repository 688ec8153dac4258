"""What every law promises, whatever it says."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmix.design import Designs
from bayesmix.laws.base import Law
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.model.data import Data, Reference
from bayesmix.model.model import Model
from tests.laws.zoo import (
    DOMAINS,
    LAWS,
    REFERENCE,
    Points,
    gradients,
    losses,
    points,
    take_domains,
    told,
)

pytestmark = pytest.mark.usefixtures("x64")
every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


@every_law
def test_is_a_frozen_noun_with_a_name(law: Law) -> None:
    assert law.name == law.name.lower()
    assert hash(law) == hash(law) and law == law
    assert all(
        belief.event_shape == () for site, belief in law.priors(3).items() if site in law.amplitudes
    )


@every_law
@pytest.mark.parametrize("zeros", [False, True], ids=["inside", "exact zeros"])
def test_finite_and_positive_with_finite_gradients(law: Law, zeros: bool) -> None:
    law, at = told(law), points(law, zeros=zeros)
    value = losses(law, at)
    assert value.shape == at.n.shape
    assert jnp.isfinite(value).all() and (value > 0).all()
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients(law, at)))


@every_law
def test_never_nan_in_single_precision(law: Law) -> None:
    with jax.enable_x64(False):
        law, at = told(law), points(law, zeros=True)
        assert at.n.dtype == jnp.float32
        value = losses(law, at)
        assert value.dtype == jnp.float32
        assert not jnp.isnan(value).any()


@every_law
def test_more_parameters_never_hurt(law: Law) -> None:
    law, at = told(law), points(law)
    by_n = jnp.stack(
        [losses(law, at._replace(n=jnp.full_like(at.n, n))) for n in np.geomspace(0.05, 20, 9)]
    )
    assert (jnp.diff(by_n, axis=0) <= 1e-12 * by_n[1:]).all()
    assert (by_n[0] > by_n[-1]).mean() > 0.9 or "A" not in at.theta


@every_law
def test_more_tokens_help_while_nothing_is_repeated(law: Law) -> None:
    law, at = told(law), points(law)
    by_d = jnp.stack(
        [losses(law, at._replace(d=jnp.full_like(at.d, d))) for d in np.geomspace(0.001, 0.04, 9)]
    )
    assert (jnp.diff(by_d, axis=0) < 0).all()


@every_law
def test_order_of_domains_does_not_matter(law: Law) -> None:
    order = np.array([2, 0, 3, 1])
    at = points(law)
    turned = at._replace(theta=take_domains(law, at.theta, order), weights=at.weights[:, order])
    again = losses(told(law, tuple(DOMAINS[i] for i in order)), turned, REFERENCE[order])
    np.testing.assert_allclose(again, losses(told(law), at), rtol=1e-10)


@every_law
def test_zero_weight_and_no_share_is_absent(law: Law) -> None:
    here = np.arange(len(DOMAINS) - 1)
    at = points(law)
    for site in ("share", "part"):
        if site in at.theta:
            without = at.theta[site].at[:, -1].set(0.0)
            at.theta[site] = without / without.sum(1, keepdims=True)
    weights = at.weights[:, here] / at.weights[:, here].sum(1, keepdims=True)
    reference = REFERENCE[here] / REFERENCE[here].sum()
    fewer = Points(take_domains(law, at.theta, here), weights, at.n, at.d)
    padded = at._replace(weights=jnp.pad(weights, ((0, 0), (0, 1))))
    absent = told(law, DOMAINS[:-1]) if "wiki" not in getattr(law, "stock", ()) else None
    if absent is None:
        pytest.skip("its stock names the domain that would be absent")
    np.testing.assert_allclose(
        losses(told(law), padded, np.r_[reference, 1e-18]),
        losses(absent, fewer, reference),
        rtol=1e-9,
    )


@every_law
def test_gradients_and_curvature_agree_with_finite_differences(law: Law) -> None:
    law, at = told(law), points(law)
    rng = np.random.default_rng(1)
    along = {
        site: jnp.asarray(rng.normal(size=value.shape)) * value for site, value in at.theta.items()
    }

    def gradient(step: float) -> dict[str, jax.Array]:
        moved = {site: value + step * along[site] for site, value in at.theta.items()}
        return gradients(law, at._replace(theta=moved))[0]

    def loss(step: float) -> jax.Array:
        return losses(law, at._replace(theta={k: v + step * along[k] for k, v in at.theta.items()}))

    def dot(a: dict[str, jax.Array], b: dict[str, jax.Array]) -> jax.Array:
        return sum((jnp.sum((a[k] * b[k]).reshape(len(at.n), -1), 1) for k in a), jnp.zeros(()))

    step = 1e-5
    slope = (loss(step) - loss(-step)) / (2 * step)
    np.testing.assert_allclose(dot(gradient(0.0), along), slope, rtol=1e-5, atol=1e-6)
    curved = jax.jvp(
        lambda theta: gradients(law, at._replace(theta=theta))[0], (at.theta,), (along,)
    )[1]
    curvature = (dot(gradient(step), along) - dot(gradient(-step), along)) / (2 * step)
    np.testing.assert_allclose(dot(curved, along), curvature, rtol=1e-4, atol=1e-4)


@every_law
def test_convex_laws_are_convex(law: Law) -> None:
    """`convex` may be too modest, never wrong: where it says yes, chords lie above the loss."""
    law, at, other = told(law), points(law), points(law, seed=1)
    convex = [
        bool(law.convex({k: v[i : i + 1] for k, v in at.theta.items()})) for i in range(len(at.n))
    ]
    middle = losses(law, at._replace(weights=(at.weights + other.weights) / 2))
    chord = (losses(law, at) + losses(law, at._replace(weights=other.weights))) / 2
    assert (middle <= chord * (1 + 1e-9))[np.array(convex)].all()


@every_law
def test_does_not_look_at_the_mixture_if_it_says_so(law: Law) -> None:
    at = points(law)
    same = jnp.allclose(
        losses(told(law), at), losses(told(law), at._replace(weights=at.weights[::-1]))
    )
    assert bool(same) == (not law.uses_mixture)


@given(unit_n=st.floats(1e-9, 1e9), unit_d=st.floats(1e-12, 1e3))
@settings(max_examples=20)
def test_units_of_params_and_tokens_do_not_matter(unit_n: float, unit_d: float) -> None:
    rng = np.random.default_rng(0)
    params, tokens = 10 ** rng.uniform(8, 9, 6), 10 ** rng.uniform(9, 11, 6)
    mixture = rng.dirichlet(np.ones(len(DOMAINS)), 6)
    model = Model(Chinchilla())
    seen = []
    for n, d in ((params, tokens), (unit_n * params, unit_d * tokens)):
        designs = Designs(DOMAINS, mixture, n, d)
        scale = type(designs[0].scale)(
            float(np.exp(np.log(n).mean())), float(np.exp(np.log(d).mean()))
        )
        reference = Reference(scale, DOMAINS, mixture.mean(0), {"chat": 1.0})
        seen.append(Data.of(designs, model.at(reference).reference, ("chat",)))
    np.testing.assert_allclose(seen[0].n, seen[1].n, rtol=1e-9)
    np.testing.assert_allclose(seen[0].d, seen[1].d, rtol=1e-9)
