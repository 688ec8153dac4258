"""Command `bayesmix report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bayesmix.cli import options
from bayesmix.cli.output import echo, hint


def report(
    posterior_file: options.PosteriorFile,
    params: options.Params,
    tokens: options.Tokens,
    out: Annotated[str, typer.Option(metavar="FILE", help="Where the page goes.")] = "report.html",
    scale: Annotated[
        list[str] | None,
        typer.Option(
            "--scale",
            metavar="N:D",
            help="A size that further runs may have, as 190M:4B; repeatable.",
            show_default="the smallest, the middle and the largest run",
        ),
    ] = None,
    risk: options.Criterion = "mean",
    weights: options.TargetWeights = None,
    targets: options.OnlyTargets = None,
    bounds: options.Bounds = None,
    stock: options.Stock = None,
    epochs: options.Epochs = None,
    trust_region: options.TrustRegion = None,
    support: options.Support = False,
    constraints: options.Constraints = None,
    promise: options.Promise = None,
    baseline_files: options.Against = None,
    natural: options.Natural = None,
    run_noise: options.RunNoise = False,
    epsilon: options.Epsilon = None,
    max_draws: options.MaxDraws = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Write a page: which mixture, how sure that is, what next.

    Below the verdict stands the evidence: the runs, the diagnostics, loss bands, the decision, the
    next run, the card. The file needs no network and no script. Exit code 3 when the diagnostics
    fail: the page then says that no answer can be given.
    """
    number, budget = options.size(params, "--params"), options.size(tokens, "--tokens")
    pilots = [options.scale(text) for text in scale or []]

    from bayesmix.cli import decision_options
    from bayesmix.design import Scale
    from bayesmix.report.content import make_report
    from bayesmix.report.page import html
    from bayesmix.runtime.files import atomic_write

    posterior = decision_options.open_posterior(posterior_file, natural)
    arguments = decision_options.optimize_arguments(
        posterior,
        risk=risk,
        weights=weights,
        targets=targets,
        bounds=bounds,
        stock=stock,
        epochs=epochs,
        trust_region=trust_region,
        support=support,
        constraints=constraints,
        promise=promise,
        baseline_files=baseline_files,
        run_noise=run_noise,
        max_draws=max_draws,
        seed=seed,
    )
    with atomic_write(out) as draft:  # fails before the work where the file cannot be written
        hint("weighing mixtures and further runs; a table of many domains takes minutes")
        content = make_report(
            posterior,
            Scale(number, budget),
            pilots=pilots,
            epsilon=epsilon,
            source=Path(posterior_file).name,
            **arguments,
        )
        draft.write_text(html(content), encoding="utf-8")
    echo(content, content.as_dict() if json else None)
    hint(f"wrote {out}")
    decision_options.exit_by_convergence(posterior, content.decision.optimum.converged)
