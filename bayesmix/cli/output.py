"""Output of commands: results on stdout; progress, advice and warnings on stderr."""

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
from bayesmix.text import WIDTH


def echo(value: object, as_json: dict[str, Any] | None = None) -> None:
    """Print a result on stdout, as JSON when `as_json` is given, else as text."""
    print(_folded(str(value)) if as_json is None else json_text(as_json), flush=True)


def _folded(text: str) -> str:
    """Text with sentences folded to the width of a terminal.

    Rows of tables, with gaps in them, stay as they are.
    """
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
    """Valid JSON text: numbers that are not finite become null, and arrays become lists."""
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
    """Show all warnings about data and diagnostics, each once.

    Each is one paragraph, without a line of code.
    """
    messages: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if str(message) not in messages:
            messages.add(str(message))
            ours = issubclass(category, (UserWarning, DeprecationWarning))
            hint(f"warning: {message}" if ours else f"{category.__name__}: {message}")

    # its messages point at web pages; our tables have the findings
    logging.getLogger("arviz_stats").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for category in (DataWarning, DiagnosticsWarning):
            warnings.simplefilter("always", category)
        # old names in files
        warnings.filterwarnings("always", ".* is now called ", DeprecationWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield
