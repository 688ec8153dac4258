"""`bayesmix path`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmix.cli import options
from bayesmix.errors import InputError

if TYPE_CHECKING:
    from bayesmix.decision.optimize import Options
    from bayesmix.design import Scale
    from bayesmix.inference.posterior import Posterior
    from bayesmix.inference.stack import Stack


def path(
    posterior: options.PosteriorFile,
    params: Annotated[
        str, typer.Option(metavar="N", help="Parameters at the start, as 1B; with --flops the range, as 100M:10B.")
    ],
    tokens: Annotated[
        str | None, typer.Option(metavar="D", help="Tokens at the start, as 20B; not with --flops.")
    ] = None,
    to: Annotated[float, typer.Option(metavar="FACTOR", help="How many times the start the path goes to.")] = 100.0,
    along: Annotated[
        str, typer.Option(metavar="AXIS", help="What grows: flops (at fixed tokens per parameter), params or tokens.")
    ] = "flops",
    points: Annotated[int, typer.Option(metavar="INT", min=2, help="Scales on the path, or weights on the front.")] = 5,
    flops: Annotated[
        float | None, typer.Option(metavar="C", help="Instead: the best N, D and mixture together for 6·N·D = C.")
    ] = None,
    crossover: Annotated[
        str | None, typer.Option(metavar="A,B", help="Instead: where on the path the better of two mixtures changes.")
    ] = None,
    pareto: Annotated[
        str | None, typer.Option(metavar="A,B", help="Instead: what one target costs another, at the start.")
    ] = None,
    risk: options.Criterion = "mean",
    weights: options.TargetWeights = None,
    targets: options.OnlyTargets = None,
    bounds: options.Bounds = None,
    stock: options.Stock = None,
    epochs: options.Epochs = None,
    near: options.TrustRegion = None,
    support: options.Support = False,
    constraints: options.Constraints = None,
    promise: options.Promise = None,
    against: options.Against = None,
    natural: options.Natural = None,
    run_noise: options.RunNoise = False,
    out: options.OutJson = None,
    max_draws: options.MaxDraws = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Follow the optimum across scales.

    Prints the best mixture and its bands at growing scales. With --flops, --crossover or --pareto it answers another
    question about scale instead.
    """
    if sum(each is not None for each in (flops, crossover, pareto)) > 1:
        raise InputError(
            "several questions at once",
            expected="one of --flops, --crossover and --pareto",
            got="more than one",
            advice="Ask one after the other.",
        )
    if flops is None and tokens is None:
        raise InputError(
            "the path has no start", expected="--params and --tokens", got="no --tokens", advice="Add --tokens."
        )

    from bayesmix.cli import choice

    known = choice.open_posterior(posterior, natural)
    given = choice.asked(
        known, risk=risk, weights=weights, targets=targets, bounds=bounds, stock=stock, epochs=epochs, near=near,
        support=support, constraints=constraints, promise=promise, against=against, run_noise=run_noise,
        max_draws=max_draws, seed=seed,
    )  # fmt: skip
    start = (params, tokens)
    if flops is not None:
        answer, converged = _for_budget(known, params, flops, points, given)
    elif crossover is not None:
        answer, converged = _crossover(known, crossover, _along(start, to, along, points), given), True
    elif pareto is not None:
        answer, converged = _front(known, pareto, _start(*start), points, given)
    else:
        answer, converged = _path(known, _along(start, to, along, points), given)
    choice.finish(known, posterior, answer, answer.as_dict(), out, json)
    choice.leave(known, converged)


def _start(params: str, tokens: str | None) -> Scale:
    from bayesmix.design import Scale

    return Scale(options.size(params, "--params"), options.size(tokens or "", "--tokens"))


def _along(start: tuple[str, str | None], to: float, along: str, points: int) -> tuple[Scale, ...]:
    from bayesmix.decision.across import scales_along

    return scales_along(_start(*start), to, along=along, points=points)  # type: ignore[arg-type]


def _path(known: Posterior | Stack, scales: tuple[Scale, ...], given: Options) -> tuple[Any, bool]:
    from bayesmix.decision.across import path as follow

    found = follow(known, scales, **given)
    return found, all(o.converged for o in found.optima)


def _for_budget(known: Posterior | Stack, span: str, flops: float, points: int, given: Options) -> tuple[Any, bool]:
    from bayesmix.decision.across import compute_optimal

    low, colon, high = span.partition(":")
    if not colon:
        raise InputError(
            "--flops needs a range of parameters", expected="--params LOW:HIGH", got=span, advice="As in 100M:10B."
        )
    between = options.size(low, "--params"), options.size(high, "--params")
    found = compute_optimal(known, flops, params=between, points=points, **given)
    return found, found.optimum.converged


def _crossover(known: Posterior | Stack, names: str, scales: tuple[Scale, ...], given: Options) -> Any:
    from bayesmix.cli.choice import named, one_of
    from bayesmix.decision.across import crossover

    first, second = _two(names, "--crossover")
    by_name = named(known, given.get("baselines") or {})
    mine, other = (one_of(by_name, name, "--crossover") for name in (first, second))
    few = given.get("max_draws")
    return crossover(known, mine, other, scales, targets=given.get("targets"), max_draws=few, names=(first, second))


def _front(known: Posterior | Stack, names: str, scale: Scale, points: int, given: Options) -> tuple[Any, bool]:
    from bayesmix.decision.pareto import pareto

    if given.pop("targets", None):
        raise InputError(
            "--pareto weighs its two targets itself",
            expected="neither --weights nor --targets",
            got="both",
            advice="Leave them out.",
        )
    first, second = _two(names, "--pareto")
    found = pareto(known, scale, first, second, points=points, **given)
    return found, all(o.converged for o in found.optima)


def _two(text: str, option: str) -> tuple[str, str]:
    listed = options.names([text]) or []
    if len(listed) != 2 or listed[0] == listed[1]:
        raise InputError(f"{option} needs two names", expected="A,B", got=repr(text), advice="Name two different ones.")
    return listed[0], listed[1]
