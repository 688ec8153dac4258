"""Constraints: what they let through, and what they say when nothing is left."""

import tomllib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesmix.decision.constraint import TrustRegion, parse_bounds, parse_linear
from bayesmix.decision.feasible import FeasibleSet
from bayesmix.decision.solvers.polytope import divergence
from bayesmix.design import Designs, Mixture, Scale
from bayesmix.errors import InfeasibleError, InputError

DOMAINS = ("web", "code", "wiki", "books")
SCALE = Scale(1e9, 1e11)
NATURAL = Mixture.of(DOMAINS, [0.7, 0.15, 0.05, 0.1])


def centre(**constraints) -> dict[str, float]:
    region = FeasibleSet(**constraints).at(SCALE, DOMAINS)
    assert region.contains(region.centre)
    return dict(zip(DOMAINS, region.centre, strict=True))


def test_without_constraints_every_mixture_is_allowed():
    np.testing.assert_allclose(list(centre().values()), 0.25, atol=1e-9)
    assert FeasibleSet().at(SCALE, DOMAINS).contains(np.eye(4)[2])


def test_bounds_fixed_shares_and_groups_hold():
    shares = centre(
        bounds={"web": (0.5, 1.0)},
        fixed={"wiki": 0.1},
        groups={"rare": (("wiki", "books"), (0.0, 0.15))},
    )
    assert shares["web"] >= 0.5 - 1e-9
    assert shares["wiki"] == pytest.approx(0.1)
    assert shares["books"] <= 0.05 + 1e-9


def test_linear_constraints_in_words():
    shares = centre(linear=["code - 2 * wiki >= 0.3", "web + books == 0.4"])
    assert shares["code"] - 2 * shares["wiki"] >= 0.3 - 1e-9
    assert shares["web"] + shares["books"] == pytest.approx(0.4, abs=1e-9)


def test_stock_caps_the_share_at_the_planned_tokens():
    limited = FeasibleSet(stock={"wiki": 4e9}, epochs=4)
    assert limited.at(SCALE, DOMAINS).polytope.upper[2] == pytest.approx(0.16)
    assert limited.at(Scale(1e9, 1e10), DOMAINS).polytope.upper[2] == 1.0


@pytest.mark.parametrize("measure", ["kl", "tv"])
def test_a_trust_region_holds_and_touches(measure):
    region = FeasibleSet(trust_region=TrustRegion(NATURAL, 0.05, measure)).at(SCALE, DOMAINS)
    point = region.centre
    distance = (
        divergence(point, NATURAL.weights)
        if measure == "kl"
        else 0.5 * np.abs(point - NATURAL.weights).sum()
    )
    assert distance == pytest.approx(0.05, abs=1e-6)
    assert region.contains(NATURAL.weights)
    assert not region.contains(np.eye(4)[1])


def test_a_kl_region_forbids_what_its_centre_lacks():
    region = FeasibleSet(trust_region=(Mixture({"web": 0.5, "code": 0.5}), 0.1, "kl")).at(
        SCALE, DOMAINS
    )
    np.testing.assert_array_equal(region.free, [True, True, False, False])


def test_the_support_is_the_hull_of_the_runs():
    corners = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]])
    region = FeasibleSet(support=Designs(DOMAINS, corners, np.full(3, 1e8), np.full(3, 1e9))).at(
        SCALE, DOMAINS
    )
    assert region.contains(corners.mean(axis=0))
    assert region.contains(corners[1])
    assert not region.contains(np.full(4, 0.25))  # books stays at 0.1
    np.testing.assert_allclose(region.centre, [0.3, 0.3, 0.3, 0.1], atol=1e-8)


def test_shares_without_freedom_are_pinned():
    region = FeasibleSet(bounds={d: (0.0, 0.25) for d in DOMAINS}).at(SCALE, DOMAINS)
    assert not region.free.any()
    np.testing.assert_allclose(region.centre, 0.25)
    np.testing.assert_array_equal(
        FeasibleSet(groups={"none": (("web", "wiki"), (0.0, 0.0))}).at(SCALE, DOMAINS).free,
        [False, True, False, True],
    )


def test_one_can_only_go_as_far_as_the_constraints():
    region = FeasibleSet(bounds={"code": (0.0, 0.4)}, trust_region=(NATURAL, 0.3, "tv")).at(
        SCALE, DOMAINS
    )
    assert region.reach(NATURAL.weights, np.array([-1.0, 1, 0, 0])) == pytest.approx(0.25, abs=1e-6)
    assert region.reach(NATURAL.weights, np.array([-1.0, 0, 0, 1])) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(
    ("constraints", "tightest", "others"),
    [
        (
            {"bounds": {d: (0.0, 0.2 + 0.01 * i) for i, d in enumerate(DOMAINS)}},
            "share of web <= 0.2",
            "code",
        ),
        (
            {"bounds": {"web": (0.6, 1.0), "code": (0.5, 1.0)}},
            "0.6 <= share of web",
            "0.5 <= share of code",
        ),
        ({"groups": {"all": (DOMAINS, (0.0, 0.9))}}, "group all <= 0.9", ""),
        (
            {"stock": dict.fromkeys(DOMAINS, 1e9)},
            "stock of web (1B tokens, 1 epochs) <= 0.01",
            "stock of books",
        ),
        (
            {"linear": ["web + code >= 0.8"], "fixed": {"wiki": 0.3}},
            "web + code >= 0.8",
            "share of wiki = 0.3",
        ),
        (
            {"trust_region": (NATURAL, 0.1, "tv"), "fixed": {"code": 0.9}},
            "share of code = 0.9",
            "total variation of 0.1",
        ),
        (
            {"trust_region": (NATURAL, 0.1, "kl"), "fixed": {"code": 0.9}},
            "within 0.1 nats (kl)",
            "Widen",
        ),
    ],
)
def test_constraints_without_a_mixture_are_refused_by_name(constraints, tightest, others):
    with pytest.raises(InfeasibleError) as refusal:
        FeasibleSet(**constraints).at(SCALE, DOMAINS)
    assert tightest in str(refusal.value)
    assert others in str(refusal.value)
    assert refusal.value.exit_code == 4


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.0, 0.6), min_size=4, max_size=4))
def test_caps_are_feasible_exactly_when_they_reach_one(caps):
    constraints = FeasibleSet(bounds={d: (0.0, c) for d, c in zip(DOMAINS, caps, strict=True)})
    if sum(caps) < 1 - 1e-6:
        with pytest.raises(InfeasibleError):
            constraints.at(SCALE, DOMAINS)
    elif sum(caps) > 1 + 1e-6:
        point = constraints.at(SCALE, DOMAINS).centre
        assert point.sum() == pytest.approx(1, abs=1e-8)
        assert (point <= np.array(caps) + 1e-8).all()


def test_bounds_as_text():
    assert parse_bounds(["web=0.1:0.6", "wiki=:0.2", "code=0.3:", "a=b=0.1"]) == {
        "web": (0.1, 0.6),
        "wiki": (0.0, 0.2),
        "code": (0.3, 1.0),
        "a=b": (0.1, 0.1),
    }


@pytest.mark.parametrize(
    "texts", [["web"], ["web=a:b"], ["web=0.5:0.1"], ["=0.1"], ["web=0:1", "web=0:1"], ["web=-1:"]]
)
def test_bounds_that_are_none_are_refused(texts):
    with pytest.raises(InputError):
        parse_bounds(texts)


@pytest.mark.parametrize(
    "text", ["web", "web <= x", "<= 0.1", "web <= 0.1 <= 0.2", "a*b*c <= 1", "web + <= 0.2"]
)
def test_linear_constraints_that_are_none_are_refused(text):
    with pytest.raises(InputError):
        parse_linear(text)


def test_unknown_domains_are_named():
    with pytest.raises(InputError, match="gitlab"):
        FeasibleSet(bounds={"gitlab": (0.0, 0.1)}).at(SCALE, DOMAINS)


def test_a_toml_table_says_the_same():
    table = tomllib.loads(
        """
        linear = ["code <= 0.4"]
        epochs = 2
        support = true
        [bounds]
        web = [0.1, 0.9]
        [groups.rare]
        domains = ["wiki", "books"]
        bounds = [0.0, 0.5]
        [stock]
        wiki = 1e9
        [trust_region]
        mixture = "natural"
        radius = 0.2
        measure = "tv"
        """
    )
    runs = Designs(DOMAINS, np.eye(4), np.full(4, 1e8), np.full(4, 1e9))
    allowed = FeasibleSet.from_dict(table, natural=NATURAL, runs=runs)
    assert allowed.trust_region == TrustRegion(NATURAL, 0.2, "tv")
    assert allowed.groups["rare"] == (("wiki", "books"), (0.0, 0.5))
    assert allowed.support is runs
    assert allowed.at(SCALE, DOMAINS).polytope.upper[2] == pytest.approx(0.02)
    assert "stock of wiki" in str(allowed)
    with pytest.raises(InputError, match="bound"):
        FeasibleSet.from_dict({"bound": {}})
    with pytest.raises(InputError, match="natural"):
        FeasibleSet.from_dict(table, runs=runs)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"groups": {"g": {}}}, "groups.g of the constraints lacks domains.*got no keys"),
        ({"groups": {"g": 3}}, r"groups.g of the constraints is no table: expected \[groups.g\]"),
        ({"trust_region": {}}, "trust_region of the constraints lacks radius"),
        ({"trust_region": {"radius": 0.1, "mixture": "uniform"}}, '"natural", or a table'),
    ],
)
def test_mistakes_in_a_table_name_their_place(table: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        FeasibleSet.from_dict(table, natural=Mixture({"web": 0.5, "code": 0.5}))
