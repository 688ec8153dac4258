"""What commands say: results on stdout, progress and advice on stderr, warnings in one line each."""

from __future__ import annotations

import json
import logging
import math
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bayesmix.errors import DataWarning, DiagnosticsWarning

WIDTH = 80


def echo(value: object, as_json: dict[str, Any] | None = None) -> None:
    """Print a result on stdout: as JSON when that is given, else in the words of the noun itself."""
    print(_folded(str(value)) if as_json is None else json_text(as_json), flush=True)


def _folded(text: str) -> str:
    """Sentences that are too long for a terminal are folded; rows of tables, with gaps in them, are left alone."""
    lines = [
        line if len(line) <= WIDTH or "  " in line.strip() else _fill(line, subsequent_indent="  ")
        for line in text.splitlines()
    ]
    return "\n".join(lines)


def _fill(line: str, **indent: str) -> str:
    return textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False, **indent)  # type: ignore[arg-type]


def hint(text: str) -> None:
    """Say something on stderr, folded to the width of a terminal."""
    for line in text.splitlines():
        print(_fill(line), file=sys.stderr, flush=True)


def json_text(value: Any) -> str:
    """Valid JSON: what is not a finite number becomes null, and arrays become lists."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings about data and diagnostics are always shown, each once and in one paragraph, without a line of code."""
    messages: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if str(message) not in messages:
            messages.add(str(message))
            ours = issubclass(category, (UserWarning, DeprecationWarning))
            hint(f"warning: {message}" if ours else f"{category.__name__}: {message}")

    logging.getLogger("arviz_stats").setLevel(
        logging.ERROR
    )  # points at web pages; what it found is in our tables
    with warnings.catch_warnings():
        for category in (DataWarning, DiagnosticsWarning):
            warnings.simplefilter("always", category)
        warnings.filterwarnings(
            "always", ".* is now called ", DeprecationWarning
        )  # old names in files
        warnings.showwarning = show  # type: ignore[assignment]
        yield
