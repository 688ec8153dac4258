"""Reports of invented posteriors, one with names that try to break out of the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from bayesmix.design import Scale
from bayesmix.report.content import Report, make_report
from bayesmix.report.page import html
from tests.large import invented
from tests.report.browser import find_browser

DOMAINS = (
    "<script>alert(1)</script>",
    "co\"de' onload=x",
    "books & </style>",
    "$wiki$ ~a/b",
    "_hidden",
)
TARGETS = ("<img src=x onerror=alert(2)>", "prose", "{{ 7 * 7 }}")
SCALE = Scale(4e9, 80e9)


@dataclass(frozen=True)
class Page:
    """A report, its page, and the file it stands in."""

    report: Report
    text: str
    file: Path


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    posterior = invented(DOMAINS, TARGETS, rows=160, draws=250)
    assert posterior.diagnostics.passed
    report = make_report(posterior, SCALE, source="<b>runs</b>.nc", max_draws=150)
    file = tmp_path_factory.mktemp("report") / "report.html"
    text = html(report)
    file.write_text(text, encoding="utf-8")
    return Page(report, text, file)


@pytest.fixture(scope="session")
def browser() -> str:
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium is installed")
    return found
