"""`fit`: sample the posterior of a model given training runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import jax
import numpy as np

from bayesmix.deprecation import renamed
from bayesmix.errors import DataWarning, DiagnosticsError, DiagnosticsWarning, InputError, warn
from bayesmix.inference.density import TargetProblem
from bayesmix.inference.kernel import ChainDraws, Settings
from bayesmix.inference.problems import problems_of
from bayesmix.inference.sampler import sample
from bayesmix.model.model import BoundModel, Model
from bayesmix.posterior.discrepancy import drift_sites
from bayesmix.posterior.posterior import Posterior
from bayesmix.runs.runs import Runs
from bayesmix.runs.unidentified import findings_on_scales
from bayesmix.runtime.compute import keep_compiled_programs, package_versions
from bayesmix.runtime.parallel import parallel_map
from bayesmix.runtime.progress import bar


@renamed(near="warm_start")
def fit(
    model: Model,
    runs: Runs,
    *,
    seed: int = 0,
    chains: int = 4,
    warmup: int = 600,
    draws: int = 600,
    target_accept: float = 0.9,
    extensions: int = 2,
    progress: bool = False,
    strict: bool = False,
    warm_start: Posterior | None = None,
    executor: Executor | None = None,
) -> Posterior:
    """Sample the posterior of the model given the runs, with NUTS in float64.

    Targets are independent of each other, but for a prior they share where the model asks for
    pooling: each has its own parameters and its own chains. Chains start at points spread around
    the best of several optimisations. The same seed gives the same draws. Compiled programs are
    kept for the next process, see `keep_compiled_programs`.

    Args:
        model: law, prior and noise.
        runs: the measured points; a missing loss is simply not observed.
        seed: random seed of starts and chains.
        chains: number of chains for each target; fewer than four cannot show that they agree.
        warmup: draws of each chain that are used for adaptation and discarded.
        draws: draws of each chain that are kept.
        target_accept: acceptance probability that the step size is adapted to; nearer 1 means
            smaller steps and fewer divergences.
        extensions: maximum number of extensions of the chains of a target whose diagnostics fail.
            Each whitens anew and lasts as long as the missing effective draws require, up to 4 and
            then 8 times as long as at first; after divergences it halves 1 − `target_accept`. The
            number of draws kept stays the same.
        progress: show a bar with the time left on standard error.
        strict: raise when the diagnostics fail, instead of warning.
        warm_start: a posterior of the same model given almost the same runs, such as those before
            the last few. Chains start at its draws and are whitened by them: nothing is optimised,
            and a third of the warm-up does. Its reference is kept.
        executor: executor that samples the targets, each as one task; threads of this process when
            not given.

    Returns:
        The posterior; `posterior.diagnostics` says whether it can be used.

    Raises:
        InputError: the runs cannot identify anything of the model, or a setting makes no sense, or
            `warm_start` is of another model, other domains or other targets.
        DiagnosticsError: the diagnostics fail and `strict` is set.
        WorkerError: workers of the executor died.
    """
    for name, value, minimum in (
        ("chains", chains, 1),
        ("draws", draws, 4),
        ("warmup", warmup, 50),
    ):
        if value < minimum:
            raise InputError(
                f"{name} is too small",
                expected=f"at least {minimum}",
                got=value,
                advice="Raise it.",
            )
    if not 0 < target_accept < 1:
        raise InputError(
            "target_accept is not a probability",
            expected="between 0 and 1",
            got=target_accept,
            advice="Try 0.95.",
        )
    _require_enough(model, runs)
    for finding in findings_on_scales(runs):
        warn(finding.remark, DataWarning)
    keep_compiled_programs()
    if warm_start:
        runs, model = _require_same(warm_start, model, runs), model.at(warm_start.reference)
    bound = model.bind(runs)
    problems = problems_of(bound, runs, seed=seed)
    if warm_start:
        starts = [_draws_of(warm_start, target) for target in runs.targets]
        problems = [
            problem._replace(warm_start=start)
            for problem, start in zip(problems, starts, strict=True)
        ]
    settings = Settings(chains, warmup, draws, target_accept, extensions=extensions)
    target_draws = chains * (settings.extent(1) if warm_start else settings.total)
    with _bar(progress, len(problems) * target_draws) as report:
        if executor is None:
            results = sample(problems, settings, seed, *report)
        else:
            task = partial(_sample_one, settings=settings, seed=seed)
            arrays = list(map(_as_numbers, problems))
            results = parallel_map(
                task, arrays, executor, lambda _: report[0](target_draws), runs.targets
            )
    posterior = _collect(bound, runs, results, seed)
    if not posterior.diagnostics.passed:
        if strict:
            raise DiagnosticsError(str(posterior.diagnostics))
        failed = [t.target for t in posterior.diagnostics.targets if t.fails]
        warn(f"diagnostics fail for {failed}; print(posterior) says why", DiagnosticsWarning)
    return posterior


def _require_same(warm_start: Posterior, model: Model, runs: Runs) -> Runs:
    """The runs, with their domains in the order of the posterior's."""
    sites = model.priors(len(runs.domains)).keys()
    for label, theirs, ours in (
        ("model", warm_start.draws.keys(), sites),
        ("domains", set(warm_start.domains), set(runs.domains)),
        ("targets", set(warm_start.targets) & set(runs.targets), set(runs.targets)),
    ):
        if theirs != ours:
            raise InputError(
                f"the posterior to start from has another {label.rstrip('s')}",
                expected=f"{label}: {sorted(ours)}",
                got=sorted(theirs),
                advice="Fit without it.",
            )
    return replace(runs, designs=runs.designs.on(warm_start.domains))


def _draws_of(warm_start: Posterior, target: str) -> dict[str, np.ndarray]:
    return {
        site: value[:, warm_start.targets.index(target)] for site, value in warm_start.flat.items()
    }


def _sample_one(problem: TargetProblem, settings: Settings, seed: int) -> list[ChainDraws]:
    """Sample one target in a worker."""
    (chains,) = sample([problem], settings, seed, lambda draws: None, lambda draws: None)
    return chains


def _as_numbers(problem: TargetProblem) -> TargetProblem:
    """Convert the arrays of a problem to NumPy's.

    JAX's would come out of a pickle in single precision.
    """
    prior, data = jax.tree.map(np.asarray, (dict(problem.prior), problem.data))
    return problem._replace(prior=prior, data=data)


def _collect(
    model: BoundModel, runs: Runs, by_target: list[list[ChainDraws]], seed: int
) -> Posterior:
    draws = {
        site: np.stack(
            [np.stack([chain.theta[site][:, 0] for chain in chains]) for chains in by_target],
            axis=2,
        )
        for site in by_target[0][0].theta
    }
    stats = {
        name: np.stack(
            [np.stack([getattr(chain, name) for chain in chains]) for chains in by_target], axis=2
        )
        for name in ("diverging", "energy", "steps", "accept", "potential")
    }
    drift = [
        jax.tree.map(lambda *parts: np.stack(parts), *(chain.drift for chain in chains))
        for chains in by_target
    ]
    sites = (
        drift_sites(model, runs, drift, draws["extrapolation"], seed) if model.discrepancy else {}
    )
    return Posterior(model, runs, draws, stats, seed, package_versions(), drift=sites)


def _require_enough(model: Model, runs: Runs) -> None:
    """Refuse runs without the mixtures or losses that the parameters of the law take."""
    domains = len(runs.domains)
    if model.law.uses_mixture and domains < 2:
        raise InputError(
            f"the {model.law.name} law needs mixtures",
            expected="at least two weight.<domain> columns",
            got=domains,
            advice="Use the chinchilla law for runs of one corpus.",
        )
    parameters = sum(
        int(np.prod(prior.event_shape)) for prior in model.law.priors(domains).values()
    )
    for target, measured in zip(runs.targets, np.isfinite(runs.loss).sum(0), strict=True):
        if measured < parameters:
            raise InputError(
                f"too few losses of {target} for the {model.law.name} law",
                expected=f"at least {parameters} measured losses, one a parameter",
                got=int(measured),
                advice=(
                    "Measure more runs, choose a smaller law, or leave the target out with"
                    " --targets."
                ),
            )


@contextmanager
def _bar(show: bool, total: int) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Progress bar of draws: functions that report finished draws and additional ones."""
    with bar(doing="sampling", total=total, unit="draw", visible=show) as draws_bar:

        def advance(draws: int) -> None:
            draws_bar.update(draws)

        def extend(draws: int) -> None:
            if draws:
                draws_bar.total += draws
                draws_bar.set_description("longer, as chains disagree")

        yield advance, extend
