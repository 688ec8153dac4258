"""`Posterior`: labelled draws with the model and the runs they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.compute import double
from bayesmix.design import Design, Designs, Mixture, Scale
from bayesmix.errors import InputError
from bayesmix.inference.diagnostics import Diagnostics, diagnose
from bayesmix.inference.prediction import Prediction
from bayesmix.laws.base import Law
from bayesmix.model import Data, Model, Reference, expected_loss
from bayesmix.noise import Noise
from bayesmix.runs.table import Runs

CHUNK = 2**24
"""How many losses (draw × run × target) are computed at once: 128 MB."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is believed after the runs were seen, as draws.

    Attributes:
        model: the model, with the reference its amplitudes refer to.
        runs: the runs it was fitted to.
        draws: site → values (chain, draw, target, ...), in the units of the site.
        stats: sampler statistics → values (chain, draw, target): diverging, energy, steps, accept.
        seed: the seed it was sampled with.
    """

    model: Model
    runs: Runs
    draws: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the training domains."""
        return self.runs.domains

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return self.runs.targets

    @property
    def reference(self) -> Reference:
        """Where amplitudes are defined."""
        assert self.model.reference is not None
        return self.model.reference

    @property
    def designs(self) -> Designs:
        """The designs of the fitted runs."""
        return self.runs.designs

    @property
    def natural(self) -> Mixture | None:
        """The corpus' own proportions, where they are known."""
        return None

    @property
    def n_draws(self) -> int:
        """Number of draws over all chains."""
        chains, draws = next(iter(self.draws.values())).shape[:2]
        return chains * draws

    @cached_property
    def flat(self) -> dict[str, np.ndarray]:
        """Draws of all chains together: site → (draw, target, ...)."""
        return {site: value.reshape(-1, *value.shape[2:]) for site, value in self.draws.items()}

    @property
    def convex(self) -> bool:
        """Whether the loss is convex in the mixture for every draw, so that an optimum can be certified."""
        return self.model.law.convex({k: jnp.asarray(v) for k, v in self.flat.items()})

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """Whether the draws can be trusted, in numbers and in words."""
        return diagnose(self.draws, self.stats, self.targets)

    def loss(self, designs: Designs | Design) -> Prediction:
        """The law's loss at the given designs, with the law's own uncertainty only.

        Args:
            designs: where to look; domains are matched by name.

        Returns:
            Draws (draw, run, target) in the unit of the measured losses.

        Raises:
            InputError: the designs have other domains than the runs.
        """
        designs = self._on_domains(designs)
        return Prediction(self._law_draws(designs), designs, self.targets)

    def predict(self, designs: Designs | Design, seed: int = 0) -> Prediction:
        """The loss that a run of each design would measure: the law's uncertainty and the scatter of runs.

        Args:
            designs: where to look; domains are matched by name.
            seed: of the scatter.

        Returns:
            Draws (draw, run, target) in the unit of the measured losses.

        Raises:
            InputError: the designs have other domains than the runs.
        """
        designs = self._on_domains(designs)
        return Prediction(self._measured(self._law_draws(designs), seed), designs, self.targets)

    def surface(self, scale: Scale, *, max_draws: int | None = None, noise: bool = False) -> Surface:
        """Loss as a function of the mixture at one scale, for every draw: what decisions are made on.

        Args:
            scale: N and D of the run to decide on.
            max_draws: at most so many draws, evenly spaced.
            noise: not available here; decisions are about the law.
        """
        if noise:
            raise InputError("a surface has no run noise", expected="noise=False", got=True, advice="Use predict.")
        keep = np.linspace(0, self.n_draws - 1, min(max_draws or self.n_draws, self.n_draws)).round().astype(int)
        with double():
            return Surface(
                {site: jnp.asarray(value[keep]) for site, value in self.flat.items()},
                jnp.asarray(scale.params / self.reference.scale.params),
                jnp.asarray(scale.tokens / self.reference.scale.tokens),
                jnp.asarray(self.reference.mixture),
                self.model.law,
                self.domains,
                self.targets,
            )

    def _on_domains(self, designs: Designs | Design) -> Designs:
        stack = Designs.of(designs) if isinstance(designs, Design) else designs
        return stack.on(self.domains)

    def _law_draws(self, designs: Designs) -> np.ndarray:
        rows = max(1, CHUNK // (self.n_draws * len(self.targets)))
        parts = []
        with double():
            theta = {site: jnp.asarray(value) for site, value in self.flat.items()}
            for begin in range(0, len(designs), rows):
                part = designs.take(np.arange(begin, min(begin + rows, len(designs))))
                data = Data.of(part, self.reference, self.targets, pad=True)
                parts.append(np.asarray(_losses(self.model.law, theta, data))[:, : len(part)])
        return np.concatenate(parts, axis=1)

    def _measured(self, loss: np.ndarray, seed: int) -> np.ndarray:
        rows = max(1, CHUNK // max(1, loss[:, :1].size))
        with double():
            theta = {site: jnp.asarray(value) for site, value in self.flat.items() if site in self._noise_sites}
            keys = jax.random.split(jax.random.key(seed), -(-loss.shape[1] // rows))
            parts = [
                np.asarray(_scatter(self.model.noise, theta, loss[:, i * rows : (i + 1) * rows], key))
                for i, key in enumerate(keys)
            ]
        return np.concatenate(parts, axis=1)

    @property
    def _noise_sites(self) -> frozenset[str]:
        return frozenset(self.model.noise.priors())

    def __str__(self) -> str:
        chains, draws = next(iter(self.draws.values())).shape[:2]
        return (
            f"Posterior of the {self.model.name} law: {chains} chains × {draws} draws, "
            f"{len(self.targets)} targets × {len(self.domains)} domains, from {len(self.runs)} measured points\n"
            f"{self.diagnostics}"
        )

    __repr__ = __str__


@partial(jax.jit, static_argnums=0)
def _losses(law: Law, theta: dict[str, jax.Array], data: Data) -> jax.Array:
    return jax.lax.map(lambda one: expected_loss(law, one, data), theta, batch_size=64)


@partial(jax.jit, static_argnums=0)
def _scatter(noise: Noise, theta: dict[str, jax.Array], loss: jax.Array, key: jax.Array) -> jax.Array:
    by_run = {site: value[:, None, :] for site, value in theta.items()}
    return jnp.asarray(noise.around(by_run, loss, jnp.zeros(())).sample(key))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("theta", "n", "d", "reference"),
    meta_fields=("law", "domains", "targets"),
)
@dataclass(frozen=True, eq=False)
class Surface:
    """Loss draws as a function of the mixture at one scale; a JAX pytree, so it passes through `jit` and `grad`."""

    theta: dict[str, jax.Array]
    n: jax.Array
    d: jax.Array
    reference: jax.Array
    law: Law
    domains: tuple[str, ...]
    targets: tuple[str, ...]

    def __call__(self, weights: jax.Array) -> jax.Array:
        """Losses (draw, target) of the mixture with the given weights (domain)."""
        return jax.vmap(jax.vmap(self._one, (0, None)), (0, None))(self.theta, weights)

    def each(self, weights: jax.Array) -> jax.Array:
        """Losses (draw, target) when every draw has its own mixture (draw, domain)."""
        return jax.vmap(jax.vmap(self._one, (0, None)))(self.theta, weights)

    def _one(self, theta: dict[str, jax.Array], weights: jax.Array) -> jax.Array:
        return self.law.loss(theta, self.law.terms(theta, weights, self.reference), self.n, self.d)
