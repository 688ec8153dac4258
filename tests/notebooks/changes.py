"""Whether a notebook, or the code of the package that it imports, changed since it was executed."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.source import code, parsed

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bayesmix"
KEY = "bayesmix"
"""Of the metadata of a notebook, where `execute` keeps the digest."""


def changed(path: Path) -> bool:
    """Whether the notebook must be executed again."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return notebook["metadata"].get(KEY, {}).get("digest") != digest(notebook)


def digest(notebook: dict[str, Any]) -> str:
    """Of the code cells and of the modules they import, without docstrings, comments and layout."""
    sources = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    total = hashlib.sha256(json.dumps(sources).encode())
    for file in sorted(_reached(frozenset(_first_modules(sources)))):
        total.update(code(file).encode())
    return total.hexdigest()[:16]


def _first_modules(sources: list[str]) -> Iterator[Path]:
    """The modules that the cells name; all of the command line where a cell runs a program."""
    homes = _homes()
    for source in sources:
        lines = [line for line in source.split("\n") if not line.lstrip().startswith(("!", "%"))]
        if len(lines) < source.count("\n") + 1 or "subprocess" in source:
            yield from (PACKAGE / "cli").glob("*.py")
            continue
        tree = ast.parse("\n".join(lines))
        yield from _imported(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in homes:
                yield homes[node.attr]


@cache
def _homes() -> dict[str, Path]:
    """Public name → the module that defines it, from the stub of the package."""
    homes = {}
    for node in parsed(PACKAGE / "__init__.pyi").body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = PACKAGE.joinpath(*(node.module or alias.name).split("."))
                homes[alias.name] = _file(inner) or inner / "__init__.py"
    return homes


def _file(stem: Path) -> Path | None:
    file = stem.with_suffix(".py")
    return file if file.is_file() else None


def _imported(tree: ast.AST) -> Iterator[Path]:
    """Files of the package that code imports, lazily or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "bayesmix":
            stem = ROOT.joinpath(*(node.module or "").split("."))
            yield from (file for a in node.names if (file := _file(stem / a.name)))
            yield _file(stem) or stem / "__init__.py"


@cache
def _reached(files: frozenset[Path]) -> frozenset[Path]:
    """The files, and all that they import."""
    todo, reached = list(files), set(files)
    while todo:
        for file in _neighbours(todo.pop()):
            if file not in reached:
                reached.add(file)
                todo.append(file)
    return frozenset(reached)


@cache
def _neighbours(file: Path) -> tuple[Path, ...]:
    return tuple(_imported(parsed(file)))
