"""Command `bayesmix optimize`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmix.cli import options
from bayesmix.cli.output import hint
from bayesmix.text import decimal

if TYPE_CHECKING:
    from bayesmix.design import Mixture, Scale
    from bayesmix.posterior.posterior import Posterior
    from bayesmix.posterior.stack import Stack


def optimize(
    posterior_file: options.PosteriorFile,
    params: options.Params,
    tokens: options.Tokens,
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
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Only the mixture: not how sure it is, what else would do, its worth."
        ),
    ] = False,
    out: options.OutJson = None,
    hand_over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT=FILE",
            help=(
                "Write the weights for a data loader: json, yaml, olmix, megatron or hugging-face;"
                " repeatable."
            ),
        ),
    ] = None,
    units: Annotated[
        int | None,
        typer.Option(
            metavar="INT", min=1, help="Round the weights handed over to multiples of 1/INT."
        ),
    ] = None,
    max_draws: options.MaxDraws = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Find the mixture of least risk at a scale.

    Says how far it can be from the best possible one, which other mixtures would do as well, what
    acting now may cost, and how uniform, natural and any other mixture compare.
    """
    number, budget = options.size(params, "--params"), options.size(tokens, "--tokens")
    files = options.pairs(hand_over or [], "--hand-over", example="olmix=ratios.csv")
    _require_formats(files)

    from bayesmix.cli import decision_options
    from bayesmix.decision.decide import decide
    from bayesmix.decision.optimize import optimize as minimise
    from bayesmix.design import Scale

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
    scale = Scale(number, budget)
    if quick:
        answer = best = minimise(posterior, scale, **arguments)
    else:
        hint("weighing what else would do as well; --quick leaves that out")
        answer = decide(posterior, scale, epsilon=epsilon, **arguments)
        best = answer.optimum
    table, text = answer.as_dict(), str(answer)
    final = best.mixture
    if units:
        final, rounding, sentence = _rounded(
            posterior, scale, final, units, arguments.get("targets")
        )
        table, text = table | {"rounded": rounding}, f"{text}\n{sentence}"
    decision_options.emit(posterior, posterior_file, text, table, out, json)
    _hand_over(final, files)
    decision_options.exit_by_convergence(posterior, best.converged)


def _rounded(
    posterior: Posterior | Stack, scale: Scale, mixture: Mixture, units: int, targets: Any
) -> tuple[Mixture, dict[str, Any], str]:
    """Rounded mixture, the table of its loss of rounding, and a sentence about it."""
    from bayesmix.decision.export import quantise, rounding_loss

    rounded = quantise(mixture, units)
    cost = rounding_loss(posterior, scale, mixture, rounded, targets=targets)
    table = {"units": units, "mixture": rounded.as_dict(), "loss_of_rounding": cost.as_dict()}
    return (
        rounded,
        table,
        f"Rounding to multiples of 1/{units} changes the loss by {decimal(cost.mean)} nats.",
    )


def _require_formats(files: dict[str, str]) -> None:
    from bayesmix.errors import InputError

    formats = ("json", "yaml", "olmix", "megatron", "hugging-face")
    unknown = [form for form in files if form not in formats]
    if unknown:
        raise InputError(
            "--hand-over has an unknown format", expected=", ".join(formats), got=unknown[0]
        )


def _hand_over(mixture: Mixture, files: dict[str, str]) -> None:
    from bayesmix.decision.export import hand_over
    from bayesmix.runtime.files import atomic_write

    for form, path in files.items():
        with atomic_write(path) as draft:
            draft.write_text(hand_over(mixture, form), encoding="utf-8")
        hint(f"wrote {path} ({form})")
