"""`bayesmix optimize`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmix.cli import options
from bayesmix.cli.output import advise, json_text, result

if TYPE_CHECKING:
    from bayesmix.decision.feasible import Feasible
    from bayesmix.design import Mixture
    from bayesmix.inference.posterior import Posterior


def optimize(
    posterior: options.PosteriorFile,
    params: options.Params,
    tokens: options.Tokens,
    risk: Annotated[
        str, typer.Option(help="mean, quantile:LEVEL, cvar:LEVEL, entropic:AVERSION or worst-target.")
    ] = "mean",
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET=W,…", help="Weights of the targets; equal over all when not given."),
    ] = None,
    targets: Annotated[
        list[str] | None, typer.Option(metavar="A,B", help="Only these targets count, equally; repeatable.")
    ] = None,
    bounds: Annotated[
        list[str] | None, typer.Option(metavar="DOMAIN=LO:HI", help="Lowest and highest share; repeatable.")
    ] = None,
    constraints: Annotated[
        str | None, typer.Option(metavar="FILE", help="TOML table: bounds, groups, linear, stock, epochs, fixed, near.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Compare with a mixture in a JSON or CSV file; repeatable."),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Write the answer as JSON.")] = None,
    max_draws: Annotated[int | None, typer.Option(min=1, help="Use at most so many draws.")] = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Find the mixture of least risk at a scale.

    Says how far it can be from the best possible one, and how the uniform mixture and any other would do.
    """
    number, budget = options.size(params, "--params"), options.size(tokens, "--tokens")
    of_targets = options.weights(weights or [], options.names(targets))

    from bayesmix.compute import keep_compiled_programs
    from bayesmix.decision.objective import criterion
    from bayesmix.decision.optimize import optimize as minimise
    from bayesmix.design import Scale
    from bayesmix.files import atomic_write
    from bayesmix.inference.storage import load_posterior

    objective, judged = criterion(risk)
    others = {n: _mixture(f) for n, f in options.pairs(against or [], "--against", example="ours=mixture.json").items()}
    known = load_posterior(posterior)
    within = _allowed(bounds or [], constraints, known)
    keep_compiled_programs()
    best = minimise(
        known,
        Scale(number, budget),
        targets=of_targets,
        objective=objective,
        risk=judged,
        within=within,
        against=others,
        max_draws=max_draws,
        seed=seed,
    )
    table = best.as_dict() | {
        "diagnostics": known.diagnostics.verdict,
        "posterior": {"file": posterior, "model": known.model.name, "fingerprint": known.runs.fingerprint},
    }
    if out:
        with atomic_write(out) as draft:
            draft.write_text(json_text(table) + "\n", encoding="utf-8")
    result(best, table if json else None)
    if out:
        advise(f"wrote {out}")
    if not known.diagnostics.passed:
        advise(f"warning: the diagnostics of {posterior} fail, so this is not to be taken as an answer")
    if not (known.diagnostics.passed and best.converged):
        raise typer.Exit(3)


def _allowed(bounds: list[str], constraints: str | None, posterior: Posterior) -> Feasible:
    """The mixtures that --bounds and --constraints allow; bounds on the command line come first."""
    from dataclasses import replace

    from bayesmix.decision.constraint import parse_bounds
    from bayesmix.decision.feasible import Feasible

    table = _toml(constraints) if constraints else {}
    spelt = Feasible.from_dict(table, natural=posterior.natural, runs=posterior.designs)
    return replace(spelt, bounds={**spelt.bounds, **parse_bounds(bounds)})


def _toml(path: str) -> dict[str, Any]:
    import tomllib
    from pathlib import Path

    from bayesmix.errors import InputError

    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"cannot read {path}", expected="a TOML file", got=_reason(error), advice="Check the path and the file."
        ) from error


def _mixture(path: str) -> Mixture:
    """The mixture in a file: JSON ``{domain: weight}``, an optimum.json, or a table of one row of weight.* columns."""
    import json
    from pathlib import Path

    from bayesmix.design import Mixture
    from bayesmix.errors import InputError

    if Path(path).suffix.lower() != ".json":
        return _mixture_of_table(path)
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"cannot read {path}", expected="a JSON file", got=_reason(error), advice="Check the path and the file."
        ) from error
    weights = found.get("mixture", found) if isinstance(found, dict) else None
    if not isinstance(weights, dict) or not all(type(w) in (int, float) for w in weights.values()) or not weights:
        raise InputError(
            f"{path} holds no mixture",
            expected='{"domain": weight, …}, or a file that `bayesmix optimize --out` wrote',
            got=str(found)[:60],
            advice="Write one number a domain.",
        )
    return Mixture(weights)


def _mixture_of_table(path: str) -> Mixture:
    from bayesmix.design import Mixture
    from bayesmix.errors import InputError
    from bayesmix.runs.contract import family
    from bayesmix.runs.tables import read_frame

    frame = read_frame(path)
    columns = family(frame.columns, "weight")
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
