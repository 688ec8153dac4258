"""The page: one self-contained HTML file, from the table of a report and its figures."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from bayesmix.design import count
from bayesmix.report.content import Report
from bayesmix.report.figures import pictures
from bayesmix.runtime.files import atomic_write

SHOWN = 8
NONE = "–"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def write_report(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the page of a report to one file, which appears whole or not at all.

    Raises:
        InputError: the path cannot be written to.
    """
    with atomic_write(path) as draft:
        draft.write_text(html(report), encoding="utf-8")


def html(report: Report) -> str:
    """HTML of the page of a report.

    The template engine escapes every text that comes from the user's table.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bayesmix.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    source, *_ = environment.loader.get_source(environment, "page.css")  # type: ignore[union-attr]
    script, *_ = environment.loader.get_source(environment, "page.js")  # type: ignore[union-attr]
    table, mixture = report.table, report.decision.mixture
    order = sorted(mixture.domains, key=lambda d: -mixture[d])
    top_domains = order[:SHOWN]
    ends = [mixture[d] for d in top_domains] + [
        report.decision.near_optimal.ranges.get(d, (0.0, 0.0))[1] for d in top_domains
    ]
    return environment.get_template("page.html.j2").render(
        report=report,
        t=table,
        num=_Numbers(table),
        order=order,
        top_domains=top_domains,
        span=max(ends),  # range of the bars in the verdict
        pictures=pictures(report),
        css=Markup(source),  # files of the package, without text of the user
        js=Markup(script),
    )


class _Numbers:
    """Numbers of the table as elements that carry their place in it and their full precision."""

    def __init__(self, table: dict[str, Any]):
        self.table = table

    def __call__(self, kind: str, *place: str | int | Sequence[str | int]) -> Markup:
        """Element of the number at a place of the table, in a format of `KINDS`.

        A list is a part of the place.
        """
        value: Any = self.table
        steps = [*_flat(place)]
        for step in steps:
            value = value[step]
        finite = isinstance(value, int | float) and math.isfinite(value)
        text = KINDS[kind](float(value)) if finite else NONE
        pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
        return Markup('<data value="{}" data-at="{}" title="{}">{}</data>').format(
            repr(value) if finite else "null",
            pointer,
            repr(value) if finite else "not a finite number",
            text,
        )


def _flat(place: Sequence[Any]) -> Iterator[str | int]:
    for part in place:
        if isinstance(part, str | int):
            yield part
        else:
            yield from _flat(part)


def nats_text(value: float) -> str:
    """Text of a small number of nats: 0.0123, or 5.6 × 10⁻⁴."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return signed(f"{value:#.3g}") if value else "0"
    digits, exponent = f"{value:.1e}".split("e")
    return signed(f"{digits} × 10{str(int(exponent)).translate(SUPERSCRIPT)}")


def signed(text: str) -> str:
    """Text with a minus sign in place of a leading hyphen."""
    return text.replace("-", "−", 1) if text.startswith("-") else text


KINDS: dict[str, Callable[[float], str]] = {
    "loss": lambda v: f"{v:#.4g}",
    "nats": nats_text,
    "percent": lambda v: f"{100 * v:.1f}\u00a0%",
    "whole": lambda v: f"{v:,.0f}".replace(",", "\u202f"),
    "change": lambda v: signed(f"{v:+.2f}\u00a0%"),
    "probability": lambda v: f"{v:.2f}",
    "size": count,
    "flops": nats_text,
    "times": lambda v: f"{v:.2f}×",
    "factor": lambda v: f"×{v:.3g}" if v >= 1 else f"÷{1 / v:.3g}",
    "rhat": lambda v: f"{v:.3f}",
    "two": lambda v: f"{v:.2f}",
}
