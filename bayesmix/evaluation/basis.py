"""`Basis`: sources of the variance of a band at a scale, and the effect of one more run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import jax.numpy as jnp
import numpy as np

from bayesmix.design import Designs, Scale, count
from bayesmix.inference.prequential import SITE
from bayesmix.posterior.measurement_noise import scatter
from bayesmix.posterior.posterior import Posterior, flat_draws
from bayesmix.runtime.compute import enable_x64
from bayesmix.text import table

OCTAVES = 1.0
"""Octaves from the largest N and D to the scale of the bands when none is given."""
FELT = 0.1
"""Share of a variance below which a source is not named."""
ERRORS = 3.0
"""Standard errors, of as many independent draws, by which a share has to differ from 0."""


@dataclass(frozen=True)
class Basis:
    """Sources of the variance behind the 90 % band of the expected loss of one target.

    Attributes:
        target: name of the target.
        width: width of the band, relative to its median.
        extrapolation: share of the variance that is due to misses of the law beyond its runs, on
            which no run inside holds information.
        prior: site → share of the variance that is due to its prior, where it is at least 0.1 and
            distinct from 0.
        next_width: width of the band after one more run.
    """

    target: str
    width: float
    extrapolation: float
    prior: Mapping[str, float]
    next_width: float

    def as_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return {
            "target": self.target,
            "width": self.width,
            "beyond": self.extrapolation,
            "prior": dict(self.prior),
            "after": self.next_width,
        }


@dataclass(frozen=True)
class Bases:
    """Sources of the variance of the bands at a scale, for the reference mixture.

    Attributes:
        scale: N and D of the run that the bands are of.
        next_run: the run that `next_width` is about: as large in N as the geometric mean of the
            largest fitted N and the scale's, with the scale's D or the largest fitted one; likewise
            in D where the scale has no larger N; the scale itself where it has neither.
        entries: sources of each target.
    """

    scale: Scale
    next_run: Scale
    entries: tuple[Basis, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return {
            "scale": asdict(self.scale),
            "further": asdict(self.next_run),
            "each": tuple(entry.as_dict() for entry in self.entries),
            "says": self.sentence(),
        }

    def sentence(self) -> str:
        """Sentence about the target with the widest band."""
        one = max(self.entries, key=lambda b: b.width)
        share = one.extrapolation
        parts = [f"{share:.0%} of its variance is how far laws miss beyond their runs"] * (
            share >= FELT
        )
        parts += [f"{share:.0%} the prior of {site}" for site, share in _largest(one.prior)]
        return (
            f"At {_words(self.scale)} the band of {one.target} is {one.width:.1%} wide"
            + (f": {', '.join(parts)}" if parts else "")
            + f"; a run of {_words(self.next_run)} would narrow it to {one.next_width:.1%}"
        )

    def __str__(self) -> str:
        cost = self.next_run.flops / self.scale.flops
        lines = [
            f"90 % bands of the expected loss at {_words(self.scale)}:",
            "what their variance rests on, and their width after one more run,",
            f"of {_words(self.next_run)} ({cost:.2g} of the FLOPs)",
        ]
        header = ("target", "width", "laws beyond their runs", "after", "priors")
        rows = []
        for b in self.entries:
            priors = ", ".join(f"{site} {share:.0%}" for site, share in _largest(b.prior))
            rows.append((b.target, b.width, b.extrapolation, b.next_width, priors or "–"))
        return "\n".join([*lines, *table(header, rows, "< >.1% >.0% >.1% <")])

    __repr__ = __str__


def bases(posterior: Posterior, scale: Scale | None = None, seed: int = 0) -> Bases:
    """Split the variance of the bands of all targets at a scale into its sources.

    log y splits into t φ, where t is known by its prior alone, and the rest y₀. Raising the prior
    of a site to the power 1 + ε changes Var y₀ by ε Cov((y₀ − ȳ₀)², log p) (power scaling), which
    for a Gaussian posterior is minus the part of the variance that the prior holds. One more run of
    expected log loss z, measured with scatter of standard deviation τ, leaves Var y − Cov(y,
    z)²/(Var z + τ²).

    Args:
        posterior: a fitted posterior.
        scale: N and D of the run that is asked about; an octave beyond the largest of both when not
            given.
        seed: random seed of the discrepancy beyond the runs and of the scatter.

    Source: Kallioinen et al. 2023, "Detecting and diagnosing prior and likelihood sensitivity with
    power-scaling", Statistics and Computing 34, arXiv 2107.14054.
    """
    n, d = float(posterior.runs.params.max()), float(posterior.runs.tokens.max())
    scale = scale or Scale(n * 2**OCTAVES, d * 2**OCTAVES)
    next_run = scale
    if scale.params > n:
        next_run = Scale(np.sqrt(n * scale.params), min(d, scale.tokens))
    elif scale.tokens > d:
        next_run = Scale(scale.params, np.sqrt(d * scale.tokens))
    designs = Designs(
        posterior.domains,
        np.tile(posterior.reference.mixture, (2, 1)),
        np.array([scale.params, next_run.params]),
        np.array([scale.tokens, next_run.tokens]),
    )
    expected = posterior.predict(designs, seed, noise=False)
    y, z = np.moveaxis(np.log(expected.draws), 1, 0)
    residual, shared = scatter(posterior, designs, expected.draws)
    noise = (residual[1] ** 2 + shared[1] ** 2) / expected.mean[1] ** 2
    extrapolation = np.zeros_like(y)
    if posterior.drift:
        extrapolation = flat_draws(posterior.drift["drift_beyond"]) * posterior.fall(designs)[:, 0]
    low, high = np.moveaxis(expected.interval(0.9)[0], -1, 0)
    width = (high - low) / expected.quantile(0.5)[0]
    beliefs = {site: flat_draws(value) for site, value in log_priors(posterior).items()}
    entries = []
    for t, target in enumerate(posterior.targets):
        (variance, covariance), (_, of_run) = np.cov(y[:, t], z[:, t])
        of_run += noise[t]
        square = (y[:, t] - extrapolation[:, t] - np.mean(y[:, t] - extrapolation[:, t])) ** 2
        prior = {}
        for site, value in beliefs.items():
            share = -np.cov(square, value[:, t])[0, 1] / variance
            error = np.std(square) * np.std(value[:, t]) / np.sqrt(len(square)) / variance
            if share >= max(FELT, ERRORS * error):
                prior[site] = float(min(share, 1))
        entries.append(
            Basis(
                target,
                float(width[t]),
                float(np.clip(np.var(extrapolation[:, t]) / variance, 0, 1)),
                prior,
                float(width[t] * np.sqrt(max(1 - covariance**2 / (variance * of_run), 0))),
            )
        )
    return Bases(scale, next_run, tuple(entries))


def log_priors(posterior: Posterior) -> dict[str, np.ndarray]:
    """Log prior density (chain, draw, target) of every site whose prior is the model's own.

    `extrapolation` is left out, as its prior is learned from the table's record, and so are sites
    whose prior partial pooling learns from all targets.
    """
    law = posterior.model.law
    unit = np.array([posterior.reference.loss[t] for t in posterior.targets])
    densities = {}
    with enable_x64():
        for site, belief in posterior.model.priors(len(posterior.domains)).items():
            if site == SITE or (posterior.model.pooling != "none" and site not in law.amplitudes):
                continue
            values = posterior.draws[site]
            if site in law.amplitudes:
                values = values / unit.reshape(-1, *[1] * (values.ndim - 3))
            densities[site] = np.asarray(belief.log_prob(jnp.asarray(values)))
    return densities


def _largest(prior: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(prior.items(), key=lambda item: -item[1])[:2]


def _words(scale: Scale) -> str:
    return f"N = {count(scale.params)} and D = {count(scale.tokens)}"
