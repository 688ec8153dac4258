"""What the steps of the performance page measure with: compile time, steps, memory, quality of draws."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import arviz_base
import jax
import numpy as np
from arviz_stats import sampling_diagnostics

from bayesmix.inference import chains
from bayesmix.posterior.diagnostics import convergence

COMPILING = "/jax/core/compile/"


def peak() -> float:
    """Peak memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def union(intervals: list[tuple[float, float]]) -> float:
    """Seconds that lie in at least one of the intervals."""
    total, until = 0.0, -np.inf
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return float(total)


@dataclass
class Compiling:
    """When JAX was tracing, lowering or compiling, in any thread."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        jax.monitoring.register_event_duration_secs_listener(self._note)

    def _note(self, event: str, duration_secs: float, **_: Any) -> None:
        if event.startswith(COMPILING):
            now = time.perf_counter()
            self.spans.append((now - duration_secs, now))

    def since(self, begun: float) -> float:
        """Seconds of compilation after a reading of the clock."""
        return union([span for span in self.spans if span[0] >= begun - 1e-3])


@contextmanager
def counted_steps() -> Iterator[Callable[[], int]]:
    """Count the leapfrog steps of all chains of `fit`, those of warm-up and of extensions too."""
    original, kept = chains.run_segment, []

    def segment(*arguments: Any) -> Any:
        ended, part = original(*arguments)
        kept.append(part.steps)
        return ended, part

    chains.run_segment = segment  # type: ignore[assignment]
    try:
        yield lambda: int(sum(np.asarray(steps).sum() for steps in kept))
    finally:
        chains.run_segment = original


def quality(draws: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """R-hat, effective sample sizes, and mean and Monte Carlo error of every scalar, of draws (chain, draw, ...)."""
    found = convergence(draws)
    table = arviz_base.from_dict({"posterior": dict(draws)}).posterior
    errors = sampling_diagnostics.mcse(table)
    means: dict[str, tuple[float, float]] = {}
    for site, value in draws.items():
        mean, error = (
            np.atleast_1d(value.mean(axis=(0, 1))),
            np.atleast_1d(np.asarray(errors[site], float)),
        )
        names = [f"{site}[{i}]" for i in range(len(mean))] if value.ndim > 2 else [site]
        means |= {name: (float(m), float(e)) for name, m, e in zip(names, mean, error, strict=True)}
    return {
        "rhat": found.rhat,
        "ess_bulk": found.ess_bulk,
        "ess_of": found.ess_of,
        "ess_tail": found.ess_tail,
        "means": means,
    }
