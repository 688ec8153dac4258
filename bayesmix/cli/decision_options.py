"""Options shared by `optimize` and `path`: named mixtures, constraints, promises and criterion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bayesmix.cli import options
from bayesmix.cli.output import echo, hint, json_text
from bayesmix.errors import InputError

if TYPE_CHECKING:
    from bayesmix.decision.constraint import ChanceConstraint
    from bayesmix.decision.feasible import FeasibleSet
    from bayesmix.decision.optimize import Options
    from bayesmix.design import Mixture
    from bayesmix.posterior.posterior import Posterior
    from bayesmix.posterior.stack import Stack


def open_posterior(path: str, natural: str | None) -> Posterior | Stack:
    """Load a posterior, with the natural mixture where one is given."""
    from dataclasses import replace

    from bayesmix.posterior.stack import Stack
    from bayesmix.posterior.storage import load_any
    from bayesmix.runtime.compute import keep_compiled_programs

    keep_compiled_programs()
    posterior = load_any(path)
    if natural is None:
        return posterior
    natural_mixture = mixture(natural)
    natural_mixture.on(posterior.domains)  # raises for unknown domains
    if isinstance(posterior, Stack):
        return replace(
            posterior,
            members={
                name: replace(member, natural=natural_mixture)
                for name, member in posterior.members.items()
            },
        )
    return replace(posterior, natural=natural_mixture)


def optimize_arguments(
    posterior: Posterior | Stack,
    *,
    risk: str,
    weights: list[str] | None,
    targets: list[str] | None,
    bounds: list[str] | None,
    stock: list[str] | None,
    epochs: float | None,
    trust_region: str | None,
    support: bool,
    constraints: str | None,
    promise: list[str] | None,
    baseline_files: list[str] | None,
    run_noise: bool,
    max_draws: int | None,
    seed: int,
) -> Options:
    """Arguments of `optimize` from the texts of the command line."""
    from bayesmix.decision.objective import criterion
    from bayesmix.decision.solve import baselines_by_name

    objective, risk_measure = criterion(risk)
    table = read_toml(constraints) if constraints else {}
    spelt = table.pop("promises", [])
    baselines = {
        n: mixture(f)
        for n, f in options.pairs(
            baseline_files or [], "--against", example="ours=mixture.json"
        ).items()
    }
    by_name = baselines_by_name(posterior, baselines)
    return {
        "targets": options.weights(weights or [], options.names(targets)),
        "objective": objective,
        "risk": risk_measure,
        "feasible": _allowed(
            posterior, table, by_name, bounds or [], stock or [], epochs, trust_region, support
        ),
        "chance_constraints": [
            *_promises(promise or [], by_name),
            *_promises_of_table(spelt, by_name),
        ],
        "baselines": baselines,
        "noise": run_noise,
        "max_draws": max_draws,
        "seed": seed,
    }


def mixture_named(by_name: Mapping[str, Mixture], name: str, option: str) -> Mixture:
    """The mixture of that name.

    Raises:
        InputError: there is none.
    """
    if name not in by_name:
        raise InputError(
            f"{option} names an unknown mixture",
            expected=f"one of {', '.join(by_name)}",
            got=name,
            advice="Name it with --natural FILE."
            if name == "natural"
            else f"Name it with --against {name}=FILE.",
        )
    return by_name[name]


def emit(
    posterior: Posterior | Stack,
    path: str,
    answer: Any,
    table: dict[str, Any],
    out: str | None,
    as_json: bool,
) -> None:
    """Print and write an answer, with a warning when the diagnostics of the posterior fail."""
    from bayesmix.runtime.files import atomic_write

    table = table | {
        "diagnostics": posterior.diagnostics.verdict,
        "posterior": {
            "file": path,
            "model": posterior.name,
            "fingerprint": posterior.runs.fingerprint,
        },
    }
    if out:
        with atomic_write(out) as draft:
            draft.write_text(json_text(table) + "\n", encoding="utf-8")
    echo(answer, table if as_json else None)
    if out:
        hint(f"wrote {out}")
    if not posterior.diagnostics.passed:
        hint(f"warning: the diagnostics of {path} fail, so this is not to be taken as an answer")


def exit_by_convergence(posterior: Posterior | Stack, converged: bool) -> None:
    """Exit with code 3 where the posterior or the optimiser failed."""
    if not (posterior.diagnostics.passed and converged):
        raise typer.Exit(3)


def percent(text: str, option: str) -> float:
    """Number from a text such as ``1%`` or ``0.01``."""
    share = text.strip().endswith("%")
    value = options.number(text.strip().removesuffix("%"), option)
    return value / 100 if share else value


def _allowed(
    posterior: Posterior | Stack,
    table: dict[str, Any],
    by_name: Mapping[str, Mixture],
    bounds: list[str],
    stock: list[str],
    epochs: float | None,
    trust_region: str | None,
    support: bool,
) -> FeasibleSet:
    """Feasible set of the options and the table; the options take precedence."""
    from dataclasses import replace

    from bayesmix.decision.constraint import parse_bounds
    from bayesmix.decision.feasible import FeasibleSet

    spelt = FeasibleSet.from_dict(table, natural=posterior.natural, runs=posterior.designs)
    have = options.pairs(stock, "--stock", example="wiki=4B")
    return replace(
        spelt,
        bounds={**spelt.bounds, **parse_bounds(bounds)},
        stock={**spelt.stock, **{d: options.size(t, f"--stock {d}") for d, t in have.items()}},
        epochs=spelt.epochs if epochs is None else epochs,
        trust_region=spelt.trust_region if trust_region is None else _near(trust_region, by_name),
        support=posterior.designs if support else spelt.support,
    )


def _near(text: str, by_name: Mapping[str, Mixture]) -> Any:
    from bayesmix.decision.constraint import TrustRegion

    ((name, region),) = options.pairs([text], "--near", example="natural=0.1").items()
    measure, colon, radius = region.rpartition(":")
    kind: Any = measure if colon else "kl"  # `TrustRegion` raises for other measures
    return TrustRegion(
        mixture_named(by_name, name, "--near"), options.number(radius, "--near"), kind
    )


def _promises(texts: list[str], by_name: Mapping[str, Mixture]) -> list[ChanceConstraint]:
    from bayesmix.decision.constraint import ChanceConstraint

    promises = []
    for text in texts:
        ((name, terms),) = options.pairs([text], "--promise", example="natural=1%:0.95").items()
        margin, colon, probability = terms.partition(":")
        confidence = options.number(probability, "--promise") if colon else 0.95
        promises.append(
            ChanceConstraint(
                mixture_named(by_name, name, "--promise"),
                percent(margin, "--promise"),
                confidence,
                name=name,
            )
        )
    return promises


def _promises_of_table(tables: Any, by_name: Mapping[str, Mixture]) -> list[ChanceConstraint]:
    """Promises of a constraints file.

    Their keys are ``baseline`` (a name), ``margin``, ``probability`` and ``targets``.
    """
    from bayesmix.decision.constraint import ChanceConstraint
    from bayesmix.deprecation import renamed_keys

    keys = {"baseline", "margin", "probability", "targets"}
    promises = []
    for table in tables if isinstance(tables, list) else [tables]:
        table = (
            renamed_keys(table, "a promise", than="baseline") if isinstance(table, dict) else table
        )
        if (
            not isinstance(table, dict)
            or not set(table) <= keys
            or not isinstance(table.get("targets", []), list)
        ):
            raise InputError(
                "a promise of the constraints is not understood",
                expected="[[promises]] with baseline, margin, probability, targets",
                got=repr(table),
                advice='Write for example baseline = "natural", margin = 0.01, probability = 0.95.',
            )
        name = str(table.get("baseline", "natural"))
        covered = tuple(table["targets"]) if "targets" in table else None
        rest = {
            key: options.number(str(table[key]), key)
            for key in ("margin", "probability")
            if key in table
        }
        promises.append(
            ChanceConstraint(
                mixture_named(by_name, name, "baseline"), targets=covered, name=name, **rest
            )
        )
    return promises


def read_toml(path: str) -> dict[str, Any]:
    """Table in a TOML file.

    Raises:
        InputError: the file cannot be read.
    """
    import tomllib

    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"cannot read {path}",
            expected="a TOML file",
            got=_reason(error),
            advice="Check the path and the file.",
        ) from error


def mixture(path: str) -> Mixture:
    """Mixture in a file.

    The file is JSON ``{domain: weight}``, an optimum.json, or a table of one row with weight.*
    columns.
    """
    import json

    from bayesmix.design import Mixture

    if Path(path).suffix.lower() != ".json":
        return _mixture_of_table(path)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"cannot read {path}",
            expected="a JSON file",
            got=_reason(error),
            advice="Check the path and the file.",
        ) from error
    weights = content.get("mixture", content) if isinstance(content, dict) else None
    if (
        not isinstance(weights, dict)
        or not all(type(w) in (int, float) for w in weights.values())
        or not weights
    ):
        raise InputError(
            f"{path} holds no mixture",
            expected='{"domain": weight, …}, or a file that `bayesmix optimize --out` wrote',
            got=str(content)[:60],
            advice="Write one number a domain.",
        )
    return Mixture(weights)


def _mixture_of_table(path: str) -> Mixture:
    from bayesmix.design import Mixture
    from bayesmix.runs.io import read_frame
    from bayesmix.runs.schema import columns_of

    frame = read_frame(path)
    columns = columns_of(frame.columns, "weight")
    if len(frame) != 1 or not columns:
        raise InputError(
            f"{path} holds no single mixture",
            expected="one row with columns weight.<domain>",
            got=f"{len(frame)} rows, {len(columns)} such columns",
            advice="Keep one row, or write the mixture as JSON.",
        )
    return Mixture({domain: float(frame[column].iloc[0]) for domain, column in columns.items()})


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
