"""Old names of arguments and classes: accepted, with a warning that says the new one."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

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
"""Old public names, and what they are called now."""


def renamed[T: Callable[..., Any]](**names: str) -> Callable[[T], T]:
    """Accept old keywords of a function or of the constructor of a class: ``@renamed(near="warm_start")``.

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
                    raise TypeError(f"{target.__name__}() got both {old}= and {new}=, which are the same argument")
                warnings.warn(f"{target.__name__}({old}=) is now called {new}=", DeprecationWarning, stacklevel=2)
                options[new] = options.pop(old)
            return function(*args, **options)

        if isinstance(target, type):
            target.__init__ = call
        return target if isinstance(target, type) else call  # type: ignore[return-value]

    return decorate


def renamed_keys(table: Mapping[str, Any], where: str, **names: str) -> dict[str, Any]:
    """The table of a file with its old keys (old=new) renamed, with a warning."""
    new = dict(table)
    for old in names.keys() & table.keys():
        warnings.warn(f"the key {old!r} of {where} is now called {names[old]!r}", DeprecationWarning, stacklevel=3)
        new.setdefault(names[old], new.pop(old))
    return new


def new_name(old: str) -> str | None:
    """What an old public name is called now, with a warning; None where it is not an old name."""
    if old in CLASSES:
        warnings.warn(f"bayesmix.{old} is now called {CLASSES[old]}", DeprecationWarning, stacklevel=3)
    return CLASSES.get(old)
