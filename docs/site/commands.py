"""A hook of MkDocs that writes the help of every command where a page has `<!-- commands -->`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

PROGRAM = "import sys; from bayesmix.cli import main; sys.exit(main(sys.argv[1:]))"
GROUPS = {"campaign", "pocket"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page, with the help of the commands as the program prints it."""
    if "<!-- commands -->" not in markdown:
        return markdown
    parts = [_section(words) for words in _commands(())]
    return markdown.replace("<!-- commands -->", "\n".join(parts))


def _section(words: tuple[str, ...]) -> str:
    return (
        f"{'##' if len(words) == 1 else '###'} bayesmix"
        f" {' '.join(words)}\n\n```text\n{_help(words)}\n```\n"
    )


def _commands(group: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Every command below a group, in the order of its help."""
    listed = _help(group).partition("Commands:\n")[2].split("\n\n")[0]
    found = []
    for line in listed.splitlines():
        words = (*group, line.split()[0])
        found += [words, *(_commands(words) if words[0] in GROUPS and not group else [])]
    return found


def _help(words: tuple[str, ...]) -> str:
    command = [sys.executable, "-c", PROGRAM, *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip()
