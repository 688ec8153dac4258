"""`Noise`: the distribution of measured losses around the expected ones."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import gammaln

MOST_NU = 1000.0
"""Largest ν: above it a Student-t is Gaussian to rounding, and its constant loses all digits."""

Theta = Mapping[str, jax.Array]


class HeavyTailed(dist.StudentT):
    """Student-t distribution with fast sampling by Bailey's polar method, from two uniforms.

    √(ν (U^(−2/ν) − 1)) cos 2πV, with U and V uniform, is Student-t with ν degrees of freedom
    (Bailey 1994, Mathematics of Computation 62, 779–781). NumPyro divides by the root of a gamma
    variate, which JAX draws by rejection, one after the other.
    """

    df: Any
    loc: Any
    scale: Any

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws (*sample_shape, *batch_shape)."""
        u, v = jax.random.uniform(key, (2, *self.shape(sample_shape)))
        radius = jnp.sqrt(self.df * jnp.expm1(-2 / self.df * jnp.log1p(-u)))
        return self.loc + self.scale * radius * jnp.cos(2 * jnp.pi * v)


class Rows(NamedTuple):
    """Training run, tokens and standard error of the measured rows of one target."""

    train_run: jax.Array  # (run) position of the training run a row is a checkpoint of
    late: jax.Array  # (run) log D/D₀
    loss_se: jax.Array  # (run) known standard error of the evaluation, in the unit of the loss


class Noise(abc.ABC):
    """The distribution of measured losses given the expected ones, for the rows of one target."""

    name: ClassVar[str]

    @abc.abstractmethod
    def priors(self) -> dict[str, dist.Distribution]:
        """Default prior of every noise site, for one target."""

    @abc.abstractmethod
    def sample(self, theta: Theta, loss: jax.Array, rows: Rows, key: jax.Array) -> jax.Array:
        """Draw measured losses (run) around the expected ones."""

    @abc.abstractmethod
    def around(self, theta: Theta, loss: jax.Array, rows: Rows) -> Any:
        """Distribution of the measured losses (run) when every row is a training run of its own."""

    @abc.abstractmethod
    def log_prob_by_run(
        self, theta: Theta, loss: jax.Array, rows: Rows, measured: jax.Array, runs: int
    ) -> jax.Array:
        """Log density (train_run) of the measured losses (run) of each training run.

        A missing loss adds nothing.

        Args:
            theta: the sites of the noise.
            loss: expected losses (run).
            rows: training run, tokens and standard error of each row.
            measured: measured losses (run), NaN where there is none.
            runs: size of the axis of training runs.
        """

    @abc.abstractmethod
    def spread(self, theta: Theta, loss: jax.Array, rows: Rows) -> tuple[jax.Array, jax.Array]:
        """Standard deviations of the scatter of each row and of the run effect, both (run).

        They are those of a Gaussian with the same Fisher information about the loss. Designs are
        compared by them rather than by the variance: the variance of heavy tails measures the
        outliers, not how well the loss is measured.
        """


class RowNoise(Noise):
    """Noise that is independent between rows."""

    def sample(self, theta: Theta, loss: jax.Array, rows: Rows, key: jax.Array) -> jax.Array:
        """Draw every row independently."""
        return self.around(theta, loss, rows).sample(key)

    def log_prob_by_run(
        self, theta: Theta, loss: jax.Array, rows: Rows, measured: jax.Array, runs: int
    ) -> jax.Array:
        """Sum (train_run) of the log densities of the rows of each training run."""
        observed = jnp.isfinite(measured)
        log_prob = self.around(theta, loss, rows).log_prob(jnp.where(observed, measured, loss))
        return jax.ops.segment_sum(
            jnp.where(observed, log_prob, 0.0), rows.train_run, num_segments=runs
        )


class ByRun(NamedTuple):
    """Terms of the Gaussian log density of the errors of each training run, arrays (train_run)."""

    square: jax.Array  # eᵀ V⁻¹ e
    log_det: jax.Array  # log |V|
    rows: jax.Array  # number of measured rows


def by_run(
    error: jax.Array, variance: jax.Array, shared: jax.Array, train_run: jax.Array, runs: int
) -> ByRun:
    """Terms of the Gaussian log density with V = diag(variance) + shared 1 1ᵀ in each training run.

    Determinant and inverse follow by a correction of rank 1.

    Args:
        error: error of each row (run).
        variance: variance of the row's own scatter (run), infinite where nothing was measured.
        shared: variance of the effect that the rows of one training run share, () or (train_run).
        train_run: position of the training run of each row (run).
        runs: size of the axis of training runs.
    """
    observed = jnp.isfinite(variance)
    finite = jnp.where(observed, variance, 1.0)
    p = jnp.where(observed, 1 / finite, 0.0)
    e = jnp.where(observed, error, 0.0)

    def total(values: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(values, train_run, num_segments=runs)

    # eᵀ V⁻¹ e = Σ p e² − s (Σ p e)²/(1 + s Σ p), log |V| = log(1 + s Σ p) − Σ log p
    weight, pull = total(p), total(p * e)
    square = total(p * e**2) - shared / (1 + shared * weight) * pull**2
    return ByRun(
        square,
        jnp.log1p(shared * weight) + total(jnp.where(observed, jnp.log(finite), 0.0)),
        total(observed * 1.0),
    )


@dataclass(frozen=True)
class Grouped(Noise):
    """Measured loss = L (1 + u + ε): a run effect u, and a jitter ε of each checkpoint.

    The checkpoints of one training run share u. Their errors are jointly Student-t with ν degrees
    of freedom, which gives an outlying run, with all its checkpoints, less weight. The scale matrix
    has the shared part τ² and on the diagonal σ² (1 + κ² D₀/D)/(1 + κ²) + (se/L)² more. So eleven
    checkpoints do not count as eleven runs, and early checkpoints count less than late ones.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | σ | `sigma` | () | > 0 | – | jitter of a row at the middle D, a fraction of the loss |
    | τ | `run_effect` | () | > 0 | – | scatter of the run effect, a fraction of the loss |
    | κ | `early` | () | > 0 | – | excess jitter of early checkpoints over late ones |

    Args:
        nu: ν, degrees of freedom.
    """

    nu: float = 4.0

    name: ClassVar[str] = "grouped"

    def priors(self) -> dict[str, dist.Distribution]:
        """Default priors of σ, τ and κ.

        Jitter of 0.3 % within a factor of 5, run effects (seeds) of tenths of a percent, and early
        rows a little worse. The prior of τ has a Gaussian tail: differences of several percent
        between runs are for the law to explain.
        """
        return {
            "sigma": dist.LogNormal(math.log(0.003), 1.0),
            "run_effect": dist.HalfNormal(0.003),
            "early": dist.LogNormal(math.log(0.2), 1.0),
        }

    def effect(self, theta: Theta) -> jax.Array:
        """Squared scale τ² of the run effect u."""
        return theta["run_effect"] ** 2

    def jitter(self, theta: Theta, loss: jax.Array, rows: Rows) -> jax.Array:
        """Squared scale (run) of the jitter ε, relative to the squared loss."""
        # σ² (1 + κ² D₀/D)/(1 + κ²) + (se/L)²
        early = theta["early"] ** 2
        growth = (1 + early * jnp.exp(-rows.late)) / (1 + early)
        return theta["sigma"] ** 2 * growth + (rows.loss_se / loss) ** 2

    def sample(self, theta: Theta, loss: jax.Array, rows: Rows, key: jax.Array) -> jax.Array:
        """Draw one effect and one scale per training run, and one jitter per row."""
        effect_key, jitter_key, scale_key = jax.random.split(key, 3)
        effect = jnp.sqrt(self.effect(theta)) * jax.random.normal(effect_key, loss.shape)
        jitter = jnp.sqrt(self.jitter(theta, loss, rows)) * jax.random.normal(
            jitter_key, loss.shape
        )
        scale = jnp.sqrt(self.nu / dist.Chi2(self.nu).sample(scale_key, loss.shape))
        return loss * (1 + scale[rows.train_run] * (effect[rows.train_run] + jitter))

    def around(self, theta: Theta, loss: jax.Array, rows: Rows) -> Any:
        """StudentT(ν, L, L √(τ² + `jitter`))."""
        return HeavyTailed(
            self.nu, loss, loss * jnp.sqrt(self.effect(theta) + self.jitter(theta, loss, rows))
        )

    def log_prob_by_run(
        self, theta: Theta, loss: jax.Array, rows: Rows, measured: jax.Array, runs: int
    ) -> jax.Array:
        """Multivariate Student-t log density of the rows of each training run."""
        observed = jnp.isfinite(measured)
        error = jnp.where(observed, measured, loss) / loss - 1
        variance = jnp.where(observed, self.jitter(theta, loss, rows), jnp.inf)
        square, log_det, count = by_run(error, variance, self.effect(theta), rows.train_run, runs)
        # log Γ((ν+n)/2) − log Γ(ν/2) − n/2 log νπ − ½ log |V| − (ν+n)/2 log(1 + eᵀV⁻¹e/ν) − Σ log L
        half = 0.5 * (self.nu + count)
        units = jax.ops.segment_sum(jnp.where(observed, jnp.log(loss), 0.0), rows.train_run, runs)
        constant = (
            gammaln(half) - math.lgamma(0.5 * self.nu) - 0.5 * count * math.log(self.nu * math.pi)
        )
        return constant - 0.5 * log_det - half * jnp.log1p(square / self.nu) - units

    def weight(self, square: jax.Array, count: jax.Array) -> jax.Array:
        """Expected latent precision (ν + n)/(ν + eᵀV⁻¹e) of training runs.

        Args:
            square: squared errors eᵀV⁻¹e.
            count: numbers n of measured rows.
        """
        return (self.nu + count) / (self.nu + square)

    def draw_weight(self, square: jax.Array, count: jax.Array, key: jax.Array) -> jax.Array:
        """One draw of the latent precision, whose mean is `weight`."""
        return 2 * jax.random.gamma(key, 0.5 * (self.nu + count)) / (self.nu + square)

    def spread(self, theta: Theta, loss: jax.Array, rows: Rows) -> tuple[jax.Array, jax.Array]:
        """Jitter and run effect in nats, for a Gaussian with the information of a one-row run."""
        like = loss * math.sqrt((self.nu + 3) / (self.nu + 1))
        return like * jnp.sqrt(self.jitter(theta, loss, rows)), like * jnp.sqrt(self.effect(theta))


@dataclass(frozen=True)
class StudentT(RowNoise):
    """Measured loss ~ StudentT(ν, L, L·σ), independent between rows: scatter with outliers.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | σ | `sigma` | () | > 0 | – | scatter as a fraction of the loss |
    | ν | `nu` | () | > 2 | – | degrees of freedom, small for heavy tails |

    Above 2 degrees of freedom the scatter has a variance.
    """

    name: ClassVar[str] = "student-t"

    def priors(self) -> dict[str, dist.Distribution]:
        """Default priors: scatter of 0.5 % within a factor of 5, tails from heavy to Gaussian."""
        above_two = dist.transforms.AffineTransform(2.0, 1.0, domain=dist.constraints.positive)
        return {
            "sigma": dist.LogNormal(math.log(0.005), 1.0),
            "nu": dist.TransformedDistribution(dist.LogNormal(math.log(5.0), 1.0), above_two),
        }

    def around(self, theta: Theta, loss: jax.Array, rows: Rows) -> Any:
        """StudentT(ν, L, √((L σ)² + se²))."""
        scale = jnp.sqrt((loss * theta["sigma"]) ** 2 + rows.loss_se**2)
        return HeavyTailed(jnp.minimum(theta["nu"], MOST_NU), loss, scale)

    def spread(self, theta: Theta, loss: jax.Array, rows: Rows) -> tuple[jax.Array, jax.Array]:
        """√((L σ)² + se²) √((ν + 3)/(ν + 1)), and no run effect.

        The Fisher information of a Student-t about its location is (ν + 1)/((ν + 3) s²).
        """
        scale = jnp.sqrt((loss * theta["sigma"]) ** 2 + rows.loss_se**2)
        return scale * jnp.sqrt((theta["nu"] + 3) / (theta["nu"] + 1)), jnp.zeros_like(loss)


@dataclass(frozen=True)
class Gaussian(RowNoise):
    """Measured loss ~ Normal(L, L·σ), independent between rows: scatter without outliers.

    | symbol | site | shape | support | unit | meaning |
    |---|---|---|---|---|---|
    | σ | `sigma` | () | > 0 | – | scatter as a fraction of the loss |
    """

    name: ClassVar[str] = "gaussian"

    def priors(self) -> dict[str, dist.Distribution]:
        """Default prior: scatter of 0.5 % within a factor of 5."""
        return {"sigma": dist.LogNormal(math.log(0.005), 1.0)}

    def around(self, theta: Theta, loss: jax.Array, rows: Rows) -> Any:
        """Normal(L, √((L σ)² + se²))."""
        return dist.Normal(loss, jnp.sqrt((loss * theta["sigma"]) ** 2 + rows.loss_se**2))

    def spread(self, theta: Theta, loss: jax.Array, rows: Rows) -> tuple[jax.Array, jax.Array]:
        """√((L σ)² + se²), and no run effect."""
        return jnp.sqrt((loss * theta["sigma"]) ** 2 + rows.loss_se**2), jnp.zeros_like(loss)
