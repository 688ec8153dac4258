"""Names are nouns: no preposition, participle or pronoun alone names a parameter or variable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "bayesmix"
WORDS = frozenset(
    """
    at by per among near within against than of on off to onto into over under above below
    between before after since until beyond beside around about towards found told said few
    begin known given seen made kept held taken done drawn shown listed named asked judged
    wanted needed tried allowed heard unheard left here there this that it they both each
    every which what why how who whose some most more least less own same alike alone again
    enough others never once still
    """.split()  # noqa: SIM905
)


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Parameters, assigned variables and fields, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE))
)
def test_names_are_nouns(file: Path) -> None:
    found = sorted(
        {(line, name) for name, line in names(ast.parse(file.read_text("utf-8"))) if name in WORDS}
    )
    assert not found, "\n".join(f"{file}:{line}: {name}" for line, name in found)


def test_a_function_or_class_is_defined_once() -> None:
    """One name, one meaning; commands of the program are called as the verbs they run."""
    homes: dict[str, list[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.parent.name != "cli":
            for node in ast.parse(file.read_text("utf-8")).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith(
                    "_"
                ):
                    homes.setdefault(node.name, []).append(str(file.relative_to(PACKAGE)))
    assert not {name: files for name, files in homes.items() if len(files) > 1}


def test_the_words_are_looked_for() -> None:
    tree = ast.parse(
        "class A:\n    near: int\ndef f(by, other):\n    found = [each for each in other]"
    )
    assert {name for name, _ in names(tree)} & WORDS == {"near", "by", "found", "each"}
