"""NUTS in compiled segments: one program for every target and refit, one thread a chain.

Chains can stop between segments. NumPyro's `MCMC.run` compiles anew on every call, so its kernel is
driven directly, inside functions that are compiled once for given shapes and take data, prior and
whitening as arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import jax
import numpy as np

from bayesmix.inference.chains import Points, Watch, run_chain, run_longer, whitening_at
from bayesmix.inference.density import TargetProblem
from bayesmix.inference.kernel import (
    ChainDraws,
    Settings,
    begin_chain,
    fixed_arguments,
    run_segment,
    start_at,
)
from bayesmix.inference.modes import Mode, settle
from bayesmix.posterior.diagnostics import DIVERGENT_SHARE, ESS, RHAT, Convergence, convergence
from bayesmix.runtime.compute import cores, device, enable_x64, one_blas_thread

SPARE = 1.5
"""Draws of an extension, as a multiple of the draws that are lacking.

Above 1, as the number that is lacking is a rough estimate.
"""


@one_blas_thread
def sample(
    problems: list[TargetProblem],
    settings: Settings,
    seed: int,
    advance: Callable[[int], None],
    extend: Callable[[int], None],
) -> list[list[ChainDraws]]:
    """Sample all chains of all problems, one thread a core.

    Where the diagnostics of a problem fail, its chains go on for longer, a few times at most; see
    `_longer`. Ctrl-C stops the chains at the next segment and is raised again.

    Args:
        problems: problems, one for each group of targets.
        settings: sampler settings.
        seed: random seed of starts and chains.
        advance: called with numbers of finished draws.
        extend: called with numbers of draws on top of `Settings.total`.

    Returns:
        The chains of each problem.

    Raises:
        RuntimeError: no optimisation start of a problem has a finite density.
        InputError: the draws to start from are too few.
    """
    watch = Watch(Event(), advance, extend)
    numbers = range(settings.chains)
    ready = partial(_ready, settings=settings, seed=seed)
    with ThreadPoolExecutor(cores()) as pool:
        try:
            first = ready(problems[0])
            _compile(*first, settings)  # before the threads ask for the same program at once
            # the pool takes jobs in order: every optimisation has begun before a chain waits for it
            tasks = [
                pool.submit(lambda: first),
                *(pool.submit(ready, problem) for problem in problems[1:]),
            ]

            def chain(position: int, number: int) -> ChainDraws | None:
                problem, start = tasks[position].result()
                with device(number):
                    if isinstance(start, Points):
                        return run_longer(
                            problem, settings, start, number, 1, 1000 * seed + number, watch
                        )
                    return run_chain(problem, settings, start, 1000 * seed + number, watch)

            def longer(
                position: int, careful: Settings, points: Points, number: int, times: int
            ) -> ChainDraws | None:
                with device(number):
                    problem = tasks[position].result()[0]
                    return run_longer(
                        problem, careful, points, number, times, 1000 * seed + number, watch
                    )

            jobs = [[pool.submit(chain, i, c) for c in numbers] for i in range(len(problems))]
            results = [[_whole(job.result()) for job in chains] for chains in jobs]
            thinning = [1] * len(problems)  # draws made for each one kept
            for extension in range(settings.extensions):
                pending = []
                for i, chains in enumerate(results):
                    if settings.can_pass and not _agree(chains):
                        careful, thinning[i] = _longer(settings, chains, thinning[i], extension)
                        points = Points([chain.z for chain in chains])
                        pending.append(
                            (
                                i,
                                [
                                    pool.submit(longer, i, careful, points, c, thinning[i])
                                    for c in numbers
                                ],
                            )
                        )
                extend(sum(settings.chains * settings.extent(thinning[i]) for i, _ in pending))
                for i, chains in pending:
                    results[i] = [_whole(job.result()) for job in chains]
            return results
        except BaseException:
            watch.stop.set()
            raise


def _ready(
    problem: TargetProblem, settings: Settings, seed: int
) -> tuple[TargetProblem, list[Mode] | Points]:
    """The problem and the starting points of its chains."""
    return (
        settle(problem, seed)
        if problem.warm_start is None
        else (problem, Points.near(problem, settings.chains))
    )


def _longer(
    settings: Settings, chains: Sequence[ChainDraws], thinning: int, extension: int
) -> tuple[Settings, int]:
    """Settings of an extension of chains that fail, and its draws for each one kept.

    The number of draws follows from the missing effective sample size: at least twice as many as
    before, at most 4, 8, 16, … times as many as at first. After divergences, 1 − `target_accept` is
    halved with every extension.
    """
    worst, diverging = _convergence(chains)
    effective = np.nan_to_num(min(worst.ess_bulk, worst.ess_tail), nan=1.0)
    times = min(max(2 * thinning, math.ceil(SPARE * thinning * ESS / effective)), 4 * 2**extension)
    lack = (1 - settings.target_accept) / 2 ** (extension + 1)
    return settings._replace(
        target_accept=1 - lack
    ) if diverging > DIVERGENT_SHARE else settings, times


def _agree(chains: Sequence[ChainDraws]) -> bool:
    """Whether the chains of one problem pass the diagnostics."""
    worst, diverging = _convergence(chains)
    return (
        worst.rhat <= RHAT
        and min(worst.ess_bulk, worst.ess_tail) >= ESS
        and diverging <= DIVERGENT_SHARE
    )


def _convergence(chains: Sequence[ChainDraws]) -> tuple[Convergence, float]:
    """Convergence figures of all parameters, and the share of divergent draws."""
    draws = {site: np.stack([chain.theta[site] for chain in chains]) for site in chains[0].theta}
    return convergence(draws), float(np.mean([chain.diverging for chain in chains]))


def _whole(chain: ChainDraws | None) -> ChainDraws:
    if chain is None:
        raise KeyboardInterrupt
    return chain


def _compile(problem: TargetProblem, start: list[Mode] | Points, settings: Settings) -> None:
    with enable_x64(), device(0):  # the device is part of JAX's key of a traced program
        fixed = fixed_arguments(
            problem,
            settings,
            start.whitening if isinstance(start, Points) else whitening_at(start[0]),
        )
        state = begin_chain(
            *fixed, start_at(fixed, np.zeros(len(fixed[-1].centre))), jax.random.key(0)
        )
        jax.block_until_ready(run_segment(*fixed, state))
