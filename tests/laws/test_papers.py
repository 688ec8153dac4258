"""Each law is its paper's formula, in the paper's parameters and raw N and D; laws nest."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
import pytest

from bayesmix.design import Scale
from bayesmix.laws.additive import Additive
from bayesmix.laws.base import Law
from bayesmix.laws.bimix import BiMix
from bayesmix.laws.capacity import Capacity
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.laws.dcpt import DCPT
from bayesmix.laws.exponential import Exponential
from bayesmix.laws.full import Full
from bayesmix.laws.joint import Joint
from bayesmix.laws.simple import Simple
from tests.laws.zoo import REFERENCE, SCALE, Points, losses, points

pytestmark = pytest.mark.usefixtures("x64")

Theta = Mapping[str, np.ndarray]
OWN = 2
"""The domain that is the target's own, for laws that are about one."""


def blended(theta: Theta, site: str, amplitude: float) -> tuple[np.ndarray, float]:
    """C_i and gamma of (Σ C_i h_i)^γ for a site by domain."""
    kappa, by_domain = theta[f"kappa_{site}"], np.exp(theta[f"{site}_domain"])
    at_reference = np.sum(REFERENCE * by_domain**kappa) ** (1 / kappa)
    return (amplitude * by_domain / at_reference) ** kappa, 1 / kappa


def falling(theta: Theta, site: str, amplitude: float) -> tuple[np.ndarray, float]:
    """C_i and gamma of (Σ C_i h_i)^γ for an amplitude that falls with the useful share."""
    gamma = -theta[f"gamma_{site}"]
    return amplitude ** (1 / gamma) * theta[f"share_{site}"] / REFERENCE, gamma


PAPER_FULL = {"A": falling, "alpha": blended, "B": falling, "beta": blended}


def chinchilla(theta: Theta, h: np.ndarray, n: float, d: float, at: Scale) -> float:
    a, b = theta["A"] * at.params ** theta["alpha"], theta["B"] * at.tokens ** theta["beta"]
    return theta["E"] + a / n ** theta["alpha"] + b / d ** theta["beta"]


def simple(theta: Theta, h: np.ndarray, n: float, d: float, at: Scale) -> float:
    c, gamma = blended(theta, "M", theta["M"])
    return chinchilla(theta, h, n, d, at) + np.sum(c * h) ** gamma


def exponential(theta: Theta, h: np.ndarray, n: float, d: float, at: Scale) -> float:
    k = theta["M"] * np.exp(-np.sum(theta["t"] * REFERENCE))
    return chinchilla(theta, h, n, d, at) + k * np.exp(np.sum(theta["t"] * h))


def mixture_term(theta: Theta, h: np.ndarray) -> float:
    share = theta["share"][-len(h) :]
    c = share / (theta["M"] * REFERENCE ** theta["gamma"])
    c_0 = theta["share"][0] / theta["M"] if len(theta["share"]) > len(h) else 0.0
    return 1 / (c_0 + np.sum(c * h ** theta["gamma"]))


def additive(theta: Theta, h: np.ndarray, n: float, d: float, at: Scale) -> float:
    return chinchilla(theta, h, n, d, at) + mixture_term(theta, h)


def joint(theta: Theta, h: np.ndarray, n: float, d: float, at: Scale) -> float:
    c_a, gamma_a = falling(theta, "A", theta["A"] * at.params ** theta["alpha"])
    c_b, gamma_b = falling(theta, "B", theta["B"] * at.tokens ** theta["beta"])
    from_n, from_d = (
        np.sum(c_a * h) ** gamma_a / n ** theta["alpha"],
        np.sum(c_b * h) ** gamma_b / d ** theta["beta"],
    )
    return theta["E"] + mixture_term(theta, h) + from_n + from_d


def full(theta: Theta, h: np.ndarray, n: float, d: float, at: Scale) -> float:
    assert at == Scale(1.0, 1.0), "the paper blends amplitudes at N = D = 1"
    values = [of(theta, site, theta[site]) for site, of in PAPER_FULL.items()]
    a, alpha, b, beta = (np.sum(c * h) ** gamma for c, gamma in values)
    return theta["E"] + mixture_term(theta, h) + a / n**alpha + b / d**beta


def bimix(theta: Theta, h: np.ndarray, n: float, d: float, at: Scale) -> float:
    a_own, b = REFERENCE[OWN] ** theta["gamma"], theta["B"] * at.tokens ** theta["beta"]
    return a_own / h[OWN] ** theta["gamma"] * (b / d ** theta["beta"] + theta["C"])


def dcpt(theta: Theta, h: np.ndarray, n: float, d: float, at: Scale) -> float:
    offset, alpha, beta, gamma, eta = (theta[k] for k in ("share", "alpha", "beta", "gamma", "eta"))
    offset = offset[0]
    epsilon = offset / (1 - offset) * REFERENCE[OWN]
    c = theta["M"] * (REFERENCE[OWN] / (1 - offset)) ** gamma
    a, b = theta["A"] * at.params**alpha, theta["B"] * at.tokens**beta / REFERENCE[OWN] ** eta
    r = h[OWN]
    return theta["E"] + a / n**alpha + b * r**eta / d**beta + c / (r + epsilon) ** gamma


def capacity(theta: Theta, h: np.ndarray, n: float, d: float, at: Scale) -> float:
    b = theta["alpha"] * np.exp(theta["alpha_domain"])
    shared = theta["shared"] * at.params
    at_reference = shared + theta["part"] * (at.params - shared)
    c = at_reference ** (b + 1) / (b * REFERENCE)  # equal marginal gains at the reference
    c *= theta["A"] * at_reference[OWN] ** b[OWN] / c[OWN]  # the target's own loss fixes their unit

    def capacities(price: float) -> np.ndarray:
        return np.maximum(shared, (h * c * b / price) ** (1 / (b + 1)))

    low, high = -200.0, 200.0  # log of the multiplier
    for _ in range(200):
        middle = (low + high) / 2
        too_much = np.sum(capacities(np.exp(middle)) - shared) > n - shared
        low, high = (middle, high) if too_much else (low, middle)
    x = capacities(np.exp(low))
    data = theta["B"] * (at.tokens * REFERENCE[OWN]) ** theta["beta"]
    return c[OWN] * x[OWN] ** -b[OWN] + data * (d * h[OWN]) ** -theta["beta"] + theta["E"]


PAPERS: dict[str, tuple[Law, Callable[..., float], Scale]] = {
    "chinchilla": (Chinchilla(), chinchilla, SCALE),
    "simple": (Simple(), simple, SCALE),
    "exponential": (Exponential(), exponential, SCALE),
    "additive": (Additive(constant=False), additive, SCALE),
    "additive-constant": (Additive(), additive, SCALE),
    "joint": (Joint(constant=False), joint, SCALE),
    "joint-constant": (Joint(), joint, SCALE),
    "full": (Full(constant=False), full, Scale(1.0, 1.0)),
    "bimix": (BiMix(constant=False, sizes=False), bimix, SCALE),
    "dcpt": (DCPT(), dcpt, SCALE),
    "capacity": (Capacity(), capacity, SCALE),
}


def at_points(law: Law) -> Points:
    """Random points, with all of the own share on one domain.

    The orders of means are clear of 0, where γ is infinite.
    """
    at = points(law, seed=3)
    for site, value in at.theta.items():
        if site.startswith("kappa"):
            at.theta[site] = jnp.where(jnp.abs(value) < 0.2, 0.5, value)
    if isinstance(law, BiMix | DCPT | Capacity):
        share = at.theta["share"]
        first = share.shape[1] - len(REFERENCE)
        own = jnp.zeros_like(share).at[:, first + OWN].set(1 - first * share[:, 0])
        at.theta["share"] = own.at[:, 0].add(first * share[:, 0])
    if isinstance(law, Capacity):  # a model smaller than the shared part is not in the paper
        at = at._replace(n=jnp.maximum(at.n, at.theta["shared"] * 1.1))
    return at


@pytest.mark.parametrize(("law", "formula", "scale"), PAPERS.values(), ids=PAPERS.keys())
def test_is_the_formula_of_the_paper(law: Law, formula: Callable[..., float], scale: Scale) -> None:
    at = at_points(law)
    printed = [
        formula({k: np.asarray(v[i]) for k, v in at.theta.items()}, np.asarray(h), n, d, scale)
        for i, (h, n, d) in enumerate(
            zip(at.weights, at.n * scale.params, at.d * scale.tokens, strict=True)
        )
    ]
    np.testing.assert_allclose(losses(law, at), printed, rtol=1e-9)


def equal(theta: Mapping[str, jnp.ndarray], *sites: str) -> dict[str, jnp.ndarray]:
    """The same parameters, with domains that make no difference to the given sites."""
    alike = {
        **{f"{site}_domain": jnp.zeros_like(theta["alpha"])[:, None] * REFERENCE for site in sites},
        **{f"share_{site}": jnp.ones_like(theta["alpha"])[:, None] * REFERENCE for site in sites},
    }
    return {**theta, **{site: value for site, value in alike.items() if site in theta}}


@pytest.mark.parametrize(
    ("inner", "outer", "blends"),
    [
        (Additive(), Joint(), ("A", "B")),
        (Joint(), Full(), ("alpha", "beta")),
        (Chinchilla(), Simple(), ("M",)),
    ],
    ids=["additive in joint", "joint in full", "chinchilla in simple"],
)
def test_equal_domains_give_the_smaller_law(
    inner: Law, outer: Law, blends: tuple[str, ...]
) -> None:
    at = points(outer)
    at = at._replace(theta=equal(at.theta, *blends))
    floor = 0.0 if "M" in inner.amplitudes else at.theta["M"]
    np.testing.assert_allclose(losses(outer, at), losses(inner, at) + floor, rtol=1e-12)


def test_exponential_is_the_simple_law_at_order_zero() -> None:
    at = points(Exponential())
    simple = {**at.theta, "M_domain": at.theta["t"], "kappa_M": jnp.zeros_like(at.n)}
    np.testing.assert_allclose(
        losses(Simple(), at._replace(theta=simple)), losses(Exponential(), at), rtol=1e-12
    )


def test_a_constant_own_share_leaves_chinchilla() -> None:
    at = points(BiMix())
    at.theta["share"] = jnp.zeros_like(at.theta["share"]).at[:, 0].set(1.0)
    chinchilla = at._replace(theta={**at.theta, "E": at.theta["C"]})
    np.testing.assert_allclose(losses(BiMix(), at), losses(Chinchilla(), chinchilla), rtol=1e-12)
