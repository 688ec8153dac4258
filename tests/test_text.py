"""Printed text: tables keep their columns, paragraphs their width."""

from __future__ import annotations

import pytest

from bayesmix.text import WIDTH, clipped, decimal, table, wrapped


def test_columns_are_aligned_and_as_wide_as_their_widest_cell() -> None:
    rows = [("a long name", 0.5, "x"), ("b", "–", "")]
    assert table(("name", "share", "remark"), rows, "< >7.1% <") == [
        "name           share  remark",
        "a long name    50.0%  x",
        "b                  –",
    ]


def test_the_last_format_holds_for_further_columns() -> None:
    assert table(("", "one", "two"), [("a", 1.0, 22.25)], "< >.2f") == [
        "    one    two",
        "a  1.00  22.25",
    ]


def test_a_table_without_rows_is_its_header() -> None:
    assert table(("a", "b"), []) == ["a  b"]


def test_paragraphs_keep_to_the_page() -> None:
    lines = wrapped("word " * 40, 1, 3)
    assert max(map(len, lines)) <= WIDTH
    assert [len(line) - len(line.lstrip()) for line in lines] == [1, 3, 3]


def test_clipped_names_show_that_they_are() -> None:
    assert clipped("name", 4) == "name"
    assert clipped("names", 4) == "nam…"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.2e-2, "0.012"),
        (-3.4e-5, "-0.000034"),
        (1e-6, "0.000001"),
        (9e-9, "less than 0.000001"),
        (123.0, "120"),
    ],
)
def test_numbers_have_no_exponent(value: float, text: str) -> None:
    assert decimal(value) == text
