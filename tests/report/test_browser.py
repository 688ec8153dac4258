"""The page in a browser: it loads, nothing overflows, nothing complains, and its additions work."""

from __future__ import annotations

import pytest

from tests.report.browser import visit
from tests.report.conftest import Page

# Elements that stick out of the window, but for what lies in a box that scrolls by itself.
OVERFLOW = """
const wide = document.documentElement.clientWidth;
const out = [...document.body.querySelectorAll("*")].filter((each) => {
  const box = each.getBoundingClientRect();
  const scrolls = each.closest(".scroll, .wide .plot, svg");
  return box.width > 0 && !(scrolls && scrolls !== each) && (box.right > wide + 1 || box.left < -1);
});
return {
  width: wide,
  scrolls: document.documentElement.scrollWidth,
  out: out.map((each) => each.outerHTML.slice(0, 120)),
  figures: [...document.querySelectorAll(".plot svg")]
    .map((svg) => svg.getBoundingClientRect().height),
  height: document.body.scrollHeight,
  headline: document.querySelector("h1").textContent,
};
"""

SORT = """
const shares = document.querySelector("#shares").parentElement;
const table = shares.querySelector("table.sortable.search");
const number = (row) => Number(row.cells[1].querySelector("data").value);
const column = () => [...table.tBodies[0].rows].map(number);
const button = table.tHead.rows[0].cells[1].querySelector("button");
const before = column();
button.click();
const up = column();
const state = button.closest("th").getAttribute("aria-sort");
button.click();
return { before, up, down: column(), state };
"""


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_overflows_and_nothing_complains(page: Page, browser: str, width: int) -> None:
    seen = visit(browser, page.file, width, OVERFLOW)
    assert seen.errors == []
    assert seen.result["width"] == width and seen.result["scrolls"] <= width
    assert seen.result["out"] == []
    assert seen.result["headline"] == page.report.headline
    assert len(seen.result["figures"]) >= 10 and min(seen.result["figures"]) > 100


def test_a_table_sorts_by_its_numbers(page: Page, browser: str) -> None:
    found = visit(browser, page.file, 1280, SORT).result
    assert found["up"] == sorted(found["before"]) and found["down"] == sorted(
        found["before"], reverse=True
    )
    assert found["state"] == "ascending"


def test_the_check_can_fail(browser: str, tmp_path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<h1>x</h1><div style='width:900px'>wide</div><script>nothing.here()</script>",
        encoding="utf-8",
    )
    seen = visit(browser, bad, 390, OVERFLOW)
    assert seen.errors and seen.result["out"]
