"""The table in the docstring of a law is what the law has."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from numpyro.distributions import constraints

from bayesmix.laws.base import Law
from bayesmix.laws.repeated import Repeated
from tests.laws.zoo import DOMAINS, LAWS

SUPPORTS = {
    "> 0": constraints.positive,
    "real": constraints.real,
    "(0, 1)": constraints.unit_interval,
    "(0, smallest observed loss)": constraints.unit_interval,
    "simplex": constraints.simplex,
    "sums to 0": constraints.zero_sum(1),
}
SHAPES = {"()": (), "(domain)": (len(DOMAINS),), "(1 + domain)": (len(DOMAINS) + 1,)}
NOTATION = Path(__file__).resolve().parents[2] / "docs" / "notation.md"
LAW_OF_CLASS = {type(law): law for law in reversed(LAWS.values())}


def table(law: Law) -> dict[str, tuple[str, ...]]:
    """site → symbol, shape, support, unit, meaning."""
    lines = [
        line for line in (inspect.getdoc(type(law)) or "").splitlines() if line.startswith("|")
    ]
    assert lines[0] == "| symbol | site | shape | support | unit | meaning |"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {site.strip("`"): (symbol, *rest) for symbol, site, *rest in rows}


@pytest.mark.parametrize("law", LAW_OF_CLASS.values(), ids=lambda law: type(law).__name__)
def test_table_of_sites(law: Law) -> None:
    priors = law.priors(len(DOMAINS))
    if isinstance(law, Repeated):
        priors = {
            site: belief
            for site, belief in priors.items()
            if site not in law.law.priors(len(DOMAINS))
        }
    assert set(table(law)) == set(priors)
    for site, (_, shape, support, unit, meaning) in table(law).items():
        belief = priors[site]
        assert belief.event_shape == SHAPES[shape], site
        reals = (
            belief.support.base_constraint
            if isinstance(belief.support, constraints.independent)
            else belief.support
        )
        assert reals == SUPPORTS[support], site
        assert (unit == "nats") == (site in law.amplitudes), site
        assert meaning


@pytest.mark.parametrize("law", LAW_OF_CLASS.values(), ids=lambda law: type(law).__name__)
def test_says_what_it_is_and_where_it_comes_from(law: Law) -> None:
    doc = inspect.getdoc(type(law)) or ""
    assert re.match(r"L = |A law of", doc)
    assert re.search(r"^Source: .+ 20\d\d, arXiv \d{4}\.\d{5}", doc, flags=re.MULTILINE)


def test_names_are_unique() -> None:
    names = [law.name for law in LAW_OF_CLASS.values() if not isinstance(law, Repeated)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("law", LAW_OF_CLASS.values(), ids=lambda law: type(law).__name__)
def test_notation_names_every_site(law: Law) -> None:
    if type(law).__module__ == "guide":
        pytest.skip("the law of the guide is not in the package")
    missing = [
        site
        for site in law.priors(len(DOMAINS))
        if f"`{site}`" not in NOTATION.read_text(encoding="utf-8")
    ]
    assert not missing, f"docs/notation.md has no row for {missing}"
