"""Old names of arguments and classes: accepted, with a warning that says the new one."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import lazy_loader

from bayesmix.errors import warn

CLASSES = {
    "Appraisal": "CandidateScores",
    "Chance": "ChanceConstraint",
    "Drift": "Discrepancy",
    "Equivalents": "NearOptimalSet",
    "Feasible": "FeasibleSet",
    "Near": "TrustRegion",
    "Spec": "CampaignConfig",
    "appraise": "score_candidates",
    "equivalents": "near_optimal",
}
"""Old public name → new public name."""


def renamed[T: Callable[..., Any]](**names: str) -> Callable[[T], T]:
    """Accept old keywords of a function or of the constructor of a class.

    Written as a decorator: ``@renamed(near="warm_start")``.

    Args:
        **names: old keyword → new one.

    Raises:
        TypeError: a call gives an argument by both its names.
    """

    def decorate(target: T) -> T:
        function: Any = target.__init__ if isinstance(target, type) else target

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            for old in names.keys() & options.keys():
                new = names[old]
                if new in options:
                    raise TypeError(
                        f"{target.__name__}() got both {old}= and {new}=, which are the same"
                        " argument"
                    )
                warn(f"{target.__name__}({old}=) is now called {new}=", DeprecationWarning)
                options[new] = options.pop(old)
            return function(*args, **options)

        if isinstance(target, type):
            target.__init__ = call
        return target if isinstance(target, type) else call  # type: ignore[return-value]

    return decorate


def renamed_keys(table: Mapping[str, Any], where: str, **names: str) -> dict[str, Any]:
    """Rename the old keys (old=new) of the table of a file, with a warning.

    An old key beside its new one is kept, and thus stays unknown.
    """
    new = dict(table)
    for old in names.keys() & table.keys():
        if names[old] not in table:
            warn(f"the key {old!r} of {where} is now called {names[old]!r}", DeprecationWarning)
            new[names[old]] = new.pop(old)
    return new


def moved(old: str, new: str, **replacements: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module whose names have moved to another, with a warning.

    Args:
        old: name of the module.
        new: name of the other module.
        **replacements: name that is gone → what to use in its place.
    """

    def load(name: str) -> Any:
        if name in replacements:
            raise AttributeError(f"{old}.{name} is gone: use {replacements[name]}")
        value = getattr(importlib.import_module(new), name)
        if not name.startswith("__"):
            warn(f"{old}.{name} is now in {new}", DeprecationWarning)
        return value

    return load


def attach_stub(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Functions that load the names of the stub beside `file` on first use, old names included.

    As `lazy_loader.attach_stub`.
    """
    load, names, public = lazy_loader.attach_stub(package, file)

    def load_any(name: str) -> Any:
        if name in CLASSES:
            warn(f"{package}.{name} is now called {CLASSES[name]}", DeprecationWarning)
        return load(CLASSES.get(name, name))

    return load_any, names, public
