"""A table of 5,000 rows, 60 domains and 40 targets still gives a page that a person can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bayesmix.design import Scale
from bayesmix.posterior.stack import stack
from bayesmix.report.content import make_report
from bayesmix.report.page import html
from tests.large import invented
from tests.report.browser import find_browser, visit
from tests.report.test_browser import OVERFLOW
from tests.report.test_page import Read

SEARCH = """
const table = document.querySelector("#shares").parentElement.querySelector("table.search");
const box = document.querySelectorAll(".search-box input");
const input = table.closest(".scroll").previousElementSibling.querySelector("input");
input.value = "domain_07";
input.dispatchEvent(new Event("input"));
const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
const left = rows.map((row) => row.cells[0].textContent);
return { boxes: box.length, left, tall: table.closest(".scroll").getBoundingClientRect().height };
"""


@pytest.mark.slow
def test_a_large_table_gives_a_readable_page(tmp_path: Path) -> None:
    domains = tuple(f"domain_{i:02d}" for i in range(60))
    targets = tuple(f"target_{i:02d}" for i in range(40))
    posterior = invented(domains, targets, rows=5000, draws=30)
    report = make_report(posterior, Scale(7e9, 150e9), max_draws=60)
    text = html(report)
    assert len(text) < 2_000_000
    read = Read(text)
    rows = [a["data-row"] for tag, a in read.tags if tag == "tr" and "data-row" in a]
    assert set(rows) == {*domains, *targets}, "every domain and target can be looked up"
    assert sum(a.get("class") == "plot" for _, a in read.tags) < 20, (
        "the targets that weigh most, not all"
    )
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium is installed")
    page = tmp_path / "large.html"
    page.write_text(text, encoding="utf-8")
    for width in (1280, 390):
        seen = visit(browser, page, width, OVERFLOW)
        assert (seen.errors, seen.result["out"]) == ([], []) and seen.result["scrolls"] <= width
    found = visit(browser, page, 1280, SEARCH).result
    assert found["boxes"] >= 3 and found["left"] == ["domain_07"] and found["tall"] < 700


@pytest.mark.slow
def test_a_stack_of_laws_has_a_page_without_parameters_and_proposals() -> None:
    posterior = invented(("web", "code"), ("prose",), rows=80, draws=30)
    report = make_report(
        stack({"a": posterior, "b": posterior}, {"a": 0.3, "b": 0.7}),
        Scale(4e9, 80e9),
        max_draws=60,
    )
    read = Read(html(report))
    assert report.check is None and report.proposal is None
    assert "a: prose" in read.text and "proposed from the posterior of one law" in read.text
    assert set(report.as_dict()["appendix"]["cards"]) == {"a", "b"}
