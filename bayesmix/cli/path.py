"""Command `bayesmix path`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmix.cli import options
from bayesmix.errors import InputError

if TYPE_CHECKING:
    from bayesmix.decision.optimize import Options
    from bayesmix.design import Scale
    from bayesmix.posterior.posterior import Posterior
    from bayesmix.posterior.stack import Stack


def path(
    posterior_file: options.PosteriorFile,
    params: Annotated[
        str,
        typer.Option(
            metavar="N", help="Parameters at the start, as 1B; with --flops the range, as 100M:10B."
        ),
    ],
    tokens: Annotated[
        str | None, typer.Option(metavar="D", help="Tokens at the start, as 20B; not with --flops.")
    ] = None,
    factor: Annotated[
        float,
        typer.Option("--to", metavar="FACTOR", help="How many times the start the path goes to."),
    ] = 100.0,
    along: Annotated[
        str,
        typer.Option(
            metavar="AXIS",
            help="What grows: flops (at fixed tokens per parameter), params or tokens.",
        ),
    ] = "flops",
    points: Annotated[
        int, typer.Option(metavar="INT", min=2, help="Scales on the path, or weights on the front.")
    ] = 5,
    flops: Annotated[
        float | None,
        typer.Option(
            metavar="C", help="Instead: the best N, D and mixture together for 6·N·D = C."
        ),
    ] = None,
    crossover: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Instead: where on the path the better of two mixtures changes."
        ),
    ] = None,
    pareto: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Instead: what one target costs another, at the start."),
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
    out: options.OutJson = None,
    max_draws: options.MaxDraws = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Follow the optimum across scales.

    Prints the best mixture and its bands at growing scales. With --flops, --crossover or --pareto
    it answers another question about scale instead.
    """
    if sum(question is not None for question in (flops, crossover, pareto)) > 1:
        raise InputError(
            "several questions at once",
            expected="one of --flops, --crossover and --pareto",
            got="more than one",
            advice="Ask one after the other.",
        )
    if flops is None and tokens is None:
        raise InputError(
            "the path has no start",
            expected="--params and --tokens",
            got="no --tokens",
            advice="Add --tokens.",
        )

    from bayesmix.cli import decision_options

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
    start = (params, tokens)
    if flops is not None:
        answer, converged = _for_budget(posterior, params, flops, points, arguments)
    elif crossover is not None:
        answer, converged = (
            _crossover(posterior, crossover, _along(start, factor, along, points), arguments),
            True,
        )
    elif pareto is not None:
        answer, converged = _front(posterior, pareto, _start(*start), points, arguments)
    else:
        answer, converged = _path(posterior, _along(start, factor, along, points), arguments)
    decision_options.emit(posterior, posterior_file, answer, answer.as_dict(), out, json)
    decision_options.exit_by_convergence(posterior, converged)


def _start(params: str, tokens: str | None) -> Scale:
    from bayesmix.design import Scale

    return Scale(options.size(params, "--params"), options.size(tokens or "", "--tokens"))


def _along(
    start: tuple[str, str | None], factor: float, along: str, points: int
) -> tuple[Scale, ...]:
    from bayesmix.decision.scaling import scales_along

    return scales_along(_start(*start), factor, along=along, points=points)  # type: ignore[arg-type]


def _path(
    posterior: Posterior | Stack, scales: tuple[Scale, ...], arguments: Options
) -> tuple[Any, bool]:
    from bayesmix.decision.scaling import path as follow

    answer = follow(posterior, scales, **arguments)
    return answer, all(o.converged for o in answer.optima)


def _for_budget(
    posterior: Posterior | Stack, span: str, flops: float, points: int, arguments: Options
) -> tuple[Any, bool]:
    from bayesmix.decision.scaling import compute_optimal

    low, colon, high = span.partition(":")
    if not colon:
        raise InputError(
            "--flops needs a range of parameters",
            expected="--params LOW:HIGH",
            got=span,
            advice="As in 100M:10B.",
        )
    params_range = options.size(low, "--params"), options.size(high, "--params")
    answer = compute_optimal(posterior, flops, params=params_range, points=points, **arguments)
    return answer, answer.optimum.converged


def _crossover(
    posterior: Posterior | Stack, names: str, scales: tuple[Scale, ...], arguments: Options
) -> Any:
    from bayesmix.cli.decision_options import mixture_named
    from bayesmix.decision.scaling import crossover
    from bayesmix.decision.solve import baselines_by_name

    first, second = _two(names, "--crossover")
    by_name = baselines_by_name(posterior, arguments.get("baselines") or {})
    mine, other = (mixture_named(by_name, name, "--crossover") for name in (first, second))
    max_draws = arguments.get("max_draws")
    return crossover(
        posterior,
        mine,
        other,
        scales,
        targets=arguments.get("targets"),
        max_draws=max_draws,
        names=(first, second),
    )


def _front(
    posterior: Posterior | Stack, names: str, scale: Scale, points: int, arguments: Options
) -> tuple[Any, bool]:
    from bayesmix.decision.pareto import pareto

    if arguments.pop("targets", None):
        raise InputError(
            "--pareto weighs its two targets itself",
            expected="neither --weights nor --targets",
            got="both",
            advice="Leave them out.",
        )
    first, second = _two(names, "--pareto")
    answer = pareto(posterior, scale, first, second, points=points, **arguments)
    return answer, all(o.converged for o in answer.optima)


def _two(text: str, option: str) -> tuple[str, str]:
    names = options.names([text]) or []
    if len(names) != 2 or names[0] == names[1]:
        raise InputError(
            f"{option} needs two names",
            expected="A,B",
            got=repr(text),
            advice="Name two different ones.",
        )
    return names[0], names[1]
