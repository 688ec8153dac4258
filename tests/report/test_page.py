"""The page says what the JSON says, escapes what the user wrote, and needs nothing but itself."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest

from bayesmix.cli.app import main
from bayesmix.cli.output import json_text
from bayesmix.posterior.storage import save_posterior
from bayesmix.report.content import usual_pilots
from bayesmix.report.page import NONE
from tests.large import invented
from tests.report.conftest import DOMAINS, TARGETS, Page

SUFFIXES = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
SUPERSCRIPT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


class Read(HTMLParser):
    """Tags, attributes, words and `<data>` elements of a page."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.numbers: list[tuple[str, str, str]] = []  # place, value, what is shown
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        within = self._open[-1] if self._open else ""
        if within == "data":
            found = self.tags[-1][1]
            self.numbers.append((str(found["data-at"]), str(found["value"]), data))
        if within != "style":
            (self.scripts if within == "script" else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def at(table: Any, pointer: str) -> Any:
    """The value at a JSON pointer (RFC 6901)."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        table = table[int(step)] if isinstance(table, list) else table[step]
    return table


def shown_as(text: str) -> float:
    """The number that a reader reads."""
    text = text.replace("−", "-").replace("\u202f", "").replace("\u00a0", "").strip()
    if match := re.fullmatch(r"(-?[\d.]+) × 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text):
        return float(match[1]) * 10.0 ** int(match[2].translate(SUPERSCRIPT))
    factor = 0.01 if text.endswith("%") else SUFFIXES.get(text[-1], 1.0)
    inverse = text.startswith("÷")
    value = float(text.strip("×÷%kMBT"))
    return 1 / value if inverse else factor * value


@pytest.fixture(scope="module")
def read(page: Page) -> Read:
    return Read(page.text)


def test_numbers_of_the_page_are_those_of_the_json(page: Page, read: Read) -> None:
    table = json.loads(json_text(page.report.as_dict()))
    assert len(read.numbers) > 100
    for pointer, value, shown in read.numbers:
        expected = at(table, pointer)
        if expected is None:
            assert (value, shown) == ("null", NONE), pointer
            continue
        assert float(value) == expected, pointer
        digits = len(re.sub(r"\D", "", shown.split(" × ")[0]).lstrip("0")) or 1
        step = 10.0 ** (1 - digits)  # the last digit shown, as a share of the number
        percent = 6e-4 if shown.endswith("%") else 0.0
        assert math.isclose(
            shown_as(shown), expected, rel_tol=step, abs_tol=max(percent, 5.1e-3 * (digits < 3))
        ), pointer


def test_the_verdict_is_the_decision(page: Page, read: Read) -> None:
    report = page.report
    (headline,) = [a for tag, a in read.tags if a.get("id") == "headline"]
    assert report.status == "REVIEW", "it lies beyond the runs"
    largest = max(report.decision.mixture.domains, key=lambda d: report.decision.mixture[d])
    share = f"{largest} {100 * report.decision.mixture[largest]:.0f}\u00a0%"
    assert headline and share in report.headline and " ".join(share.split()) in read.text
    assert all(" ".join(remark.split()) in read.text for remark in report.remarks)
    assert report.proposal is not None and report.proposal.reason[1:] in read.text
    places = {pointer for pointer, *_ in read.numbers}
    assert {"/decision/loss/mean", "/decision/regret/expected_regret", "/next/cost"} <= places


def test_what_the_user_wrote_is_text(page: Page, read: Read) -> None:
    assert [script.strip() for script in read.scripts] == [
        (files("bayesmix.report") / "page.js").read_text().strip()
    ]
    assert not [tag for tag, _ in read.tags if tag in ("img", "b")]
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    for name in (*DOMAINS, *TARGETS, "<b>runs</b>.nc"):
        assert name in read.text
    assert "49" not in [word.strip() for word in read.words]
    rows = {attributes["data-row"] for _, attributes in read.tags if "data-row" in attributes}
    assert rows == {*DOMAINS, *TARGETS}


def test_the_page_needs_nothing_but_itself(page: Page, read: Read) -> None:
    links = [value for _, a in read.tags for name in ("src", "href") if (value := a.get(name))]
    assert links and all(link.startswith(("#", "data:")) for link in links)
    assert all(
        link.startswith(("#", "'data:", "data:"))
        for link in re.findall(r"url\(([^)]*)\)", page.text)
    )
    assert "@import" not in page.text and "http-equiv" not in page.text
    identifiers = [a["id"] for _, a in read.tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    assert {link[1:] for link in links if link.startswith("#") and len(link) > 1} <= set(
        identifiers
    )
    assert len(page.text) < 1_500_000


def test_figures_have_words_and_tables_have_heads(read: Read) -> None:
    plots = [a for tag, a in read.tags if a.get("class") == "plot"]
    assert len(plots) >= 10 and all(
        a["role"] == "img" and len(str(a["aria-label"])) > 20 for a in plots
    )
    tags = [tag for tag, _ in read.tags]
    assert tags.count("h1") == 1 and tags.count("svg") == len(plots) == tags.count("figcaption")
    assert all(a.get("scope") for tag, a in read.tags if tag == "th")


def test_the_command_names_no_mixture_where_the_diagnostics_fail(
    page: Page, tmp_path, capsys
) -> None:
    posterior = page.report.posterior
    stuck = {site: value.copy() for site, value in posterior.draws.items()}
    stuck["alpha"][0] *= 1.5  # one chain is elsewhere
    file, out = tmp_path / "posterior.nc", tmp_path / "deep" / "report.html"
    save_posterior(replace(posterior, draws=stuck), file)
    asked = [
        "report",
        str(file),
        "--params",
        "4B",
        "--tokens",
        "80B",
        "--out",
        str(out),
        "--scale",
        "100M:2B",
    ]
    asked += ["--max-draws", "150"]
    code = main([*asked, "--json"])
    said = capsys.readouterr()
    table = json.loads(said.out)
    assert code == 3, "the diagnostics fail: written, marked, 3"
    assert table["verdict"]["status"] == "NO ANSWER" and str(out) in said.err
    assert table["pilots"] == [{"params": 1e8, "tokens": 2e9}]
    read = Read(out.read_text(encoding="utf-8"))
    verdict = read.text[: read.text.index("The runs")]
    assert "No answer can be given" in verdict and "the chains disagree about alpha" in verdict
    assert not any(domain in verdict for domain in DOMAINS)
    assert read.text.count("Not to be acted on") == 3
    assert len(read.numbers) > 100
    for pointer, value, _ in read.numbers:
        expected = at(table, pointer)
        assert value == "null" if expected is None else float(value) == expected, pointer


def test_usual_pilots_are_sizes_that_were_run() -> None:
    runs = invented(("web", "code"), ("prose",), rows=200).runs
    pilots = usual_pilots(runs)
    ends = {(n, d) for n, d in zip(runs.params, runs.tokens, strict=True)}
    assert len(pilots) == 3 and all((s.params, s.tokens) in ends for s in pilots)
    assert [s.flops for s in pilots] == sorted(s.flops for s in pilots)
    assert pilots[-1].flops == runs.designs.flops.max()
