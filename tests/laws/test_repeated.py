"""Repetition: what tokens seen again are worth."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesmix.errors import InputError
from bayesmix.laws.additive import Additive
from bayesmix.laws.base import Law
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.laws.repeated import Repeated, effective_tokens
from tests.laws.zoo import DOMAINS, LAWS, SCALE, losses, points, told

pytestmark = pytest.mark.usefixtures("x64")
STOCK, REPEATS = 2.0, 15.0


def worth(tokens: float) -> float:
    return float(effective_tokens(jnp.asarray(tokens), jnp.asarray(STOCK), jnp.asarray(REPEATS)))


def test_the_first_epoch_counts_in_full() -> None:
    assert [worth(tokens) for tokens in (0.0, 0.5, 2.0)] == [0.0, 0.5, 2.0]


@pytest.mark.parametrize(
    ("epochs", "share"),
    [(2, 1 + 15 * (1 - np.exp(-1 / 15))), (4, 1 + 15 * (1 - np.exp(-3 / 15))), (1e6, 16.0)],
)
def test_repeats_are_discounted_exponentially(epochs: float, share: float) -> None:
    assert worth(epochs * STOCK) == pytest.approx(STOCK * share, rel=1e-12)


def test_four_epochs_are_almost_as_good_as_new() -> None:
    assert 0.92 < worth(4 * STOCK) / (4 * STOCK) < 1


def test_smooth_where_the_second_epoch_begins() -> None:
    slope = jax.grad(lambda t: effective_tokens(t, jnp.asarray(STOCK), jnp.asarray(REPEATS)))
    assert slope(STOCK - 1e-9) == pytest.approx(1.0)
    assert slope(STOCK + 1e-9) == pytest.approx(1.0)


def test_gradients_are_finite_where_nothing_runs_out_or_is_used() -> None:
    for tokens, stock in ((0.0, 2.0), (0.0, np.inf), (5.0, np.inf), (1e9, 1e-3)):
        gradient = jax.grad(effective_tokens, argnums=(0, 2))(
            jnp.asarray(tokens), jnp.asarray(stock), 15.0
        )
        assert all(jnp.isfinite(part) for part in gradient)


@pytest.mark.parametrize("name", ["additive", "full", "bimix", "dcpt", "capacity", "chinchilla"])
def test_unlimited_stock_changes_nothing(name: str) -> None:
    law: Law = LAWS[name]
    at = points(law)
    repeated = at._replace(theta={**at.theta, "repeats": jnp.full_like(at.n, 15.0)})
    np.testing.assert_allclose(
        losses(told(Repeated(law, {})), repeated), losses(law, at), rtol=1e-12
    )
    plenty = Repeated(law, dict.fromkeys(DOMAINS, 1e15))
    np.testing.assert_allclose(losses(told(plenty), repeated), losses(law, at), rtol=1e-12)


def test_a_run_with_repeats_is_worth_the_run_of_its_effective_tokens() -> None:
    law = Repeated(Additive(), {"code": 1e9, "wiki": 2e8})
    at = points(law)
    stock = jnp.array([jnp.inf, 1e9, jnp.inf, 2e8]) / SCALE.tokens
    tokens = effective_tokens(at.d[:, None] * at.weights, stock, at.theta["repeats"][:, None])
    fresh = at._replace(weights=tokens / tokens.sum(1, keepdims=True), d=tokens.sum(1))
    np.testing.assert_allclose(losses(told(law), at), losses(Additive(), fresh), rtol=1e-12)


def test_repeats_never_beat_new_tokens_where_the_mixture_plays_no_part() -> None:
    law = Repeated(Chinchilla(), dict.fromkeys(DOMAINS, 1e8))
    at = points(law)
    assert (losses(told(law), at) > losses(Chinchilla(), at)).all()


def test_stock_is_matched_by_name() -> None:
    law = Repeated(Additive(), {"wiki": 2e9})
    assert law.at(DOMAINS, SCALE).in_reference == (np.inf, np.inf, np.inf, 0.2)
    assert law.at(DOMAINS[::-1], SCALE).in_reference == (0.2, np.inf, np.inf, np.inf)
    assert hash(law.at(DOMAINS, SCALE)) != hash(law)


def test_is_named_and_measured_as_the_law_underneath() -> None:
    law = Repeated(Additive(), {"wiki": 2e9})
    assert (law.name, law.amplitudes) == (Additive.name, Additive.amplitudes)
    assert not law.convex(points(law).theta)


@pytest.mark.parametrize("tokens", [0.0, -1.0, float("nan")])
def test_refuses_what_is_no_stock(tokens: float) -> None:
    with pytest.raises(InputError, match="stock of wiki"):
        Repeated(Additive(), {"wiki": tokens})


def test_refuses_unknown_domains_and_use_without_them() -> None:
    law = Repeated(Additive(), {"wikipedia": 1e9})
    with pytest.raises(InputError, match="unknown domains"):
        law.at(DOMAINS, SCALE)
    with pytest.raises(InputError, match="does not know its domains"):
        losses(law, points(law))
