"""The commands there are, and whether a line that calls one would be understood."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import typer

from bayesmix.cli.app import app


def commands() -> Iterator[tuple[str, ...]]:
    """The words of every command: ("fit",), ("campaign", "ask"), …, groups too."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if words:
            yield words
        for name, each in getattr(command, "commands", {}).items():
            yield from below(each, (*words, name))

    yield from below(typer.main.get_command(app), ())


def calls_in(text: str) -> list[list[str]]:
    """The arguments of `bayesmix` in every line of a text that calls it.

    Lines that end in a backslash are joined.
    """
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars="|>;&")
        lexer.whitespace_split = True
        words = list(lexer) if "bayesmix" in line and not line.strip().startswith("#") else []
        if words[:2] == ["uv", "run"]:
            words = words[2:]
        if words and words[0] == "bayesmix":
            end = next((i for i, word in enumerate(words) if set(word) <= set("|>;&")), len(words))
            found.append(words[1:end])
    return found


def understood(words: list[str]) -> None:
    """Parse a call against the real program, without running it.

    Raises:
        AssertionError: there is no such command or option, or an argument is missing.
    """
    command: Any = typer.main.get_command(app)
    if [word for word in words[:1] if any(word in each.opts for each in command.params)] == words:
        return  # --version and its like end the program at once
    context, rest = (
        command.make_context("bayesmix", list(words), resilient_parsing=False),
        list(words),
    )
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(
            context, context._protected_args + context.args
        )
        assert command is not None, name
        context = command.make_context(name, rest, parent=context)
