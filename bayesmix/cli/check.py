"""Command `bayesmix check`."""

from __future__ import annotations

from typing import Annotated

import typer

from bayesmix.cli import options
from bayesmix.cli.output import echo, hint


def check(
    posterior_file: options.PosteriorFile,
    params: Annotated[
        str | None,
        typer.Option(
            "--params", metavar="N", help="Parameters of the run whose band is looked at."
        ),
    ] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", metavar="D", help="Its tokens.")] = None,
    json: options.Json = False,
) -> None:
    """Say whether a posterior can be trusted, and what it rests on.

    First the diagnostics of the sampler; then which parameters the runs inform and which keep their
    prior, how many independent points the rows are worth, what the bands at --params and --tokens
    rest on (twice the largest fitted, where one is not given) and how a further run would narrow
    them, how far the same law without the larger runs would have missed those, and whether the
    bands hold among the fitted runs. Exits with 3 when the diagnostics fail.
    """
    from bayesmix.design import Scale
    from bayesmix.evaluation.identifiability import check as check_posterior
    from bayesmix.evaluation.loo_pit import loo_pit
    from bayesmix.posterior.storage import load_posterior

    posterior = load_posterior(posterior_file)
    hint("looking at what the runs inform and what keeps its prior")
    scale = Scale(
        2 * float(posterior.runs.params.max())
        if params is None
        else options.size(params, "--params"),
        2 * float(posterior.runs.tokens.max())
        if tokens is None
        else options.size(tokens, "--tokens"),
    )
    findings = check_posterior(posterior, scale=scale)
    bands = loo_pit(posterior)
    tables = {
        "diagnostics": posterior.diagnostics.as_dict(),
        "check": findings.as_dict(),
        "loo_pit": bands.as_dict(),
    }
    echo(f"{posterior.diagnostics}\n\n{findings}\n{bands}", tables if json else None)
    if not posterior.diagnostics.passed:
        raise typer.Exit(3)
