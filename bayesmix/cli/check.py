"""`bayesmix check`."""

from __future__ import annotations

import typer

from bayesmix.cli import options
from bayesmix.cli.output import advise, result


def check(posterior: options.PosteriorFile, json: options.Json = False) -> None:
    """Say whether a posterior can be trusted, and what it rests on.

    First the diagnostics of the sampler; then which parameters the runs inform and which keep their prior, how many
    independent points the rows are worth, whether the bands hold among the fitted runs, and what further runs would
    help. Exits with 3 when the diagnostics fail.
    """
    from bayesmix.inference.identify import check as check_posterior
    from bayesmix.inference.loo_pit import loo_pit
    from bayesmix.inference.storage import load_posterior

    known = load_posterior(posterior)
    advise("looking at what the runs inform and what keeps its prior")
    found = check_posterior(known)
    bands = loo_pit(known)
    tables = {"diagnostics": known.diagnostics.as_dict(), "check": found.as_dict(), "loo_pit": bands.as_dict()}
    result(f"{known.diagnostics}\n\n{found}\n{bands}", tables if json else None)
    if not known.diagnostics.passed:
        raise typer.Exit(3)
