"""The code blocks of a page, run one after the other in one namespace.

`python -m tests.docs.pages docs/tutorial.md` runs them with the real settings, and puts what each
prints in the `text` block behind it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```([\w-]*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"\n\n```text\n.*?\n```(?=\n)", re.DOTALL)


def pages() -> list[Path]:
    """Every page of the site, and the README."""
    return [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every block of a page."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def run(page: Path) -> Iterator[tuple[int, str]]:
    """Run the Python blocks of a page; yields where each ends in the text, and what it printed.

    Raises:
        Exception: what a block raises, with the line of the page in the traceback.
    """
    document = Document.parse(str(page), PythonCodeBlockParser())
    for example in document.examples():
        said = io.StringIO()
        with contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            example.evaluate()
        yield example.region.end, said.getvalue().rstrip()


def with_output(page: Path) -> str:
    """The page, with what every block prints behind it."""
    text, made, begin = page.read_text(encoding="utf-8"), [], 0
    for end, said in run(page):
        old = SHOWN.match(text, end)
        made += [text[begin:end], f"\n\n```text\n{said}\n```" if said else ""]
        begin = old.end() if old else end
    return "".join([*made, text[begin:]])


def _main(names: list[str]) -> None:
    files: dict[Path, Any] = {(Path.cwd() / name).resolve(): None for name in names}
    os.chdir(tempfile.mkdtemp())
    for page in files:
        page.write_text(with_output(page), encoding="utf-8")


if __name__ == "__main__":
    _main(sys.argv[1:])
