"""Checks of values in cards, constraints and options: each returns the value, or refuses it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from bayesmix.errors import InputError


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` probably means, or None."""
    by_letters = {letters(candidate): candidate for candidate in candidates}
    matches = difflib.get_close_matches(letters(name), list(by_letters), n=1, cutoff=0.65)
    return by_letters[matches[0]] if matches else None


def letters(name: str) -> str:
    """The name in lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def one_of(name: Any, choices: Iterable[str], label: str) -> str:
    """The name, if it is one of the choices.

    Raises:
        InputError: the name is none of the choices.
    """
    choices = list(choices)
    if name in choices:
        return name
    similar = closest(str(name), choices) if name else None
    raise InputError(
        f"{label} is unknown",
        expected=f"one of {', '.join(choices)}",
        got=repr(name) if name else "none",
        advice=f"Did you mean {similar}?" if similar else "",
    )


def known_keys(table: Mapping[str, Any], names: Iterable[str], label: str) -> Mapping[str, Any]:
    """The table, if it has no other keys than the given names.

    Raises:
        InputError: the table has another key.
    """
    names = list(names)
    unknown = [key for key in table if key not in names]
    if unknown:
        similar = closest(unknown[0], names)
        raise InputError(
            f"unknown key {unknown[0]!r} in {label}",
            expected=", ".join(names) or "none",
            got=", ".join(unknown),
            advice=f"Did you mean {similar}?" if similar else "Remove it.",
        )
    return table


def subtable(
    table: Mapping[str, Any], key: str, label: str, required: Iterable[str] = ()
) -> Mapping[str, Any]:
    """The table under a key, empty where there is none.

    Raises:
        InputError: the value is no table, or lacks a required key.
    """
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        raise InputError(f"{key} of {label} is no table", expected=f"[{key}]", got=repr(value))
    missing = [name for name in required if name not in value] if key in table else []
    if missing:
        raise InputError(
            f"{key} of {label} lacks {missing[0]}",
            expected=", ".join(required),
            got=", ".join(value) or "no keys",
        )
    return value


def strings(value: Any, label: str) -> tuple[str, ...]:
    """The value, if it is a list of texts.

    Raises:
        InputError: the value is something else.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise InputError(
            f"{label} is no list", expected='a list of texts, ["a", "b"]', got=repr(value)
        )
    return tuple(value)


def string(table: Mapping[str, Any], key: str, label: str) -> str:
    """The text under a key, empty where there is none.

    Raises:
        InputError: the value is something else.
    """
    value = table.get(key, "")
    if not isinstance(value, str):
        raise InputError(
            f"{key} of {label} is no text", expected="a text", got=repr(value), advice="Quote it."
        )
    return value


def finite(value: Any, label: str, expected: str, condition: Callable[[float], bool]) -> float:
    """The value, if it is a finite number that meets a condition.

    Raises:
        InputError: the value is no number, or does not meet the condition.
    """
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not (number and np.isfinite(value) and condition(float(value))):
        raise InputError(f"{label} is out of range", expected=expected, got=repr(value))
    return float(value)
