"""Weights for the data loader: rounded to a lattice, and written in the formats loaders read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from bayesmix.decision.problem import Problem
from bayesmix.decision.protocols import PosteriorLike
from bayesmix.design import Mixture, Scale
from bayesmix.errors import InputError
from bayesmix.summary import Band


def quantise(mixture: Mixture, units: int) -> Mixture:
    """The mixture in whole multiples of 1/`units`, by largest remainder.

    No weight moves by more than 1/`units`.

    Raises:
        InputError: `units` is not a whole number above 0.
    """
    if units != int(units) or units < 1:
        raise InputError(
            "the lattice has no points",
            expected="a whole number of units above 0",
            got=units,
            advice="Give e.g. 1024.",
        )
    exact = mixture.weights / mixture.weights.sum() * units
    whole = np.floor(exact + 1e-9)
    missing = round(units - whole.sum())
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[:missing]] += 1
    return Mixture.of(mixture.domains, whole / units)


def rounding_loss(
    posterior: PosteriorLike,
    scale: Scale,
    mixture: Mixture,
    rounded: Mixture,
    *,
    targets: Mapping[str, float] | None = None,
) -> Band:
    """Loss of the rounded mixture minus that of the exact one, draw by draw, in nats."""
    problem = Problem.of(posterior, scale, targets=targets)
    exact, coarse = (
        problem.combined(problem.losses(m.on(posterior.domains))) for m in (mixture, rounded)
    )
    return Band.of(coarse - exact)


def as_json(mixture: Mixture) -> str:
    """JSON object ``{"domain": weight}``."""
    return json.dumps(mixture.as_dict(), indent=2) + "\n"


def as_yaml(mixture: Mixture) -> str:
    """YAML lines ``domain: weight``; names are quoted, which YAML always allows."""
    return "".join(
        f"{json.dumps(domain, ensure_ascii=False)}: {w!r}\n"
        for domain, w in mixture.as_dict().items()
    )


def as_olmix(mixture: Mixture, name: str = "optimum") -> str:
    """A ``ratios.csv`` of one run for Olmix: run, name and index, then one column per domain."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["run", "name", "index", *mixture.domains])
    writer.writerow([name, name, 0, *map(repr, mixture.as_dict().values())])
    return out.getvalue()


def as_megatron(mixture: Mixture, paths: Mapping[str, str] | None = None) -> str:
    """Value ``weight path weight path …`` of ``--data-path``, without domains of weight 0.

    Args:
        mixture: the weights.
        paths: domain → prefix of its indexed dataset; the name of the domain when not given.
    """
    prefix = dict(paths or {})
    pairs = [
        f"{w!r} {prefix.get(domain, domain)}" for domain, w in mixture.as_dict().items() if w > 0
    ]
    return " ".join(pairs) + "\n"


def as_hugging_face(mixture: Mixture) -> str:
    """JSON arguments of ``datasets.interleave_datasets``: the datasets and their probabilities."""
    table = {"datasets": list(mixture.domains), "probabilities": list(mixture.as_dict().values())}
    return json.dumps(table, indent=2) + "\n"


FORMATS: Mapping[str, Callable[[Mixture], str]] = MappingProxyType(
    {
        "json": as_json,
        "yaml": as_yaml,
        "olmix": as_olmix,
        "megatron": as_megatron,
        "hugging-face": as_hugging_face,
    }
)


def hand_over(mixture: Mixture, form: str) -> str:
    """The mixture as text in one of `FORMATS`.

    Raises:
        InputError: the format is unknown.
    """
    if form not in FORMATS:
        raise InputError("the format is unknown", expected=", ".join(FORMATS), got=form)
    return FORMATS[form](mixture)
