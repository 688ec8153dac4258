"""`Posterior`: labelled draws with the model and the runs they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.design import Design, Designs, Mixture, Scale
from bayesmix.errors import InputError
from bayesmix.laws.base import Law
from bayesmix.model.data import Data, Reference
from bayesmix.model.grid import Cells
from bayesmix.model.likelihood import expected_loss, reference_loss
from bayesmix.model.model import BoundModel
from bayesmix.model.noise import Noise, Rows
from bayesmix.posterior import discrepancy
from bayesmix.posterior.diagnostics import Diagnostics, diagnose
from bayesmix.posterior.prediction import Prediction
from bayesmix.posterior.surface import LossSurface
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64, padded_down

CHUNK = 2**24
"""Number of losses (draw × run × target) that are computed at once: 128 MB."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """Posterior draws, with the model and the runs they come from.

    Attributes:
        model: the model, bound to the runs.
        runs: the runs it was fitted to.
        draws: site → values (chain, draw, target, ...), in the units of the site.
        stats: sampler statistics → values (chain, draw, target): diverging, energy, steps, accept.
        seed: random seed of the sampler.
        versions: versions of the packages that made the draws.
        natural: the corpus' own proportions, where they are known; `dataclasses.replace` adds them.
        drift: discrepancy of the law in every draw: site → values (chain, draw, target, ...); empty
            without discrepancy.
    """

    model: BoundModel
    runs: Runs
    draws: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    natural: Mixture | None = None
    drift: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the model, for tables and reports."""
        return self.model.name

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
        """Reference at which amplitudes are defined."""
        return self.model.reference

    @property
    def designs(self) -> Designs:
        """The designs of the fitted runs."""
        return self.runs.designs

    @property
    def n_draws(self) -> int:
        """Number of draws over all chains."""
        chains, draws = next(iter(self.draws.values())).shape[:2]
        return chains * draws

    @cached_property
    def flat(self) -> dict[str, np.ndarray]:
        """Draws of all chains together: site → (draw, target, ...)."""
        return {site: flat_draws(value) for site, value in self.draws.items()}

    @property
    def convex(self) -> bool:
        """Whether the loss is convex in the mixture for every draw.

        An optimum can then be certified.
        """
        return self.model.law.convex({k: jnp.asarray(v) for k, v in self.flat.items()})

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """Diagnostics of the draws, and remarks on the law beyond the runs."""
        remarks = (
            discrepancy.trend_remarks(self._cells, self.runs, self.drift) if self.drift else ()
        )
        return diagnose(self.draws, self.stats, self.targets, remarks)

    def loss(self, designs: Designs | Design | Sequence[Design]) -> Prediction:
        """The law's loss at the given designs, with the law's own uncertainty only.

        Args:
            designs: one design or more; domains are matched by name.

        Returns:
            Draws (draw, run, target) in the unit of the measured losses.

        Raises:
            InputError: the designs have other domains than the runs.
        """
        designs = self._on_domains(designs)
        return Prediction(self._law_draws(designs), designs, self.targets, self.designs)

    def predict(
        self,
        designs: Designs | Design | Sequence[Design],
        seed: int = 0,
        noise: bool = True,
        octaves_left: np.ndarray | None = None,
    ) -> Prediction:
        """Predicted loss that a run of each design would measure.

        A band contains the uncertainty of the law's parameters, the discrepancy of the law there,
        and the scatter of a new run. Every design is a run of its own.

        Args:
            designs: one design or more; domains are matched by name.
            seed: random seed of the discrepancy beyond the runs and of the scatter.
            noise: whether to add the scatter of a run; without it, the expected loss of such runs.
            octaves_left: octaves of D (run) from each design to the end of its schedule, as
                `Runs.octaves_left`: an unfinished run is worse than one that was planned for so
                many tokens, unless the model has no discrepancy. By default all runs are finished.

        Returns:
            Draws (draw, run, target) in the unit of the measured losses.

        Raises:
            InputError: the designs have other domains than the runs, or `octaves_left` is not one
                number a design.
        """
        designs = self._on_domains(designs)
        if octaves_left is not None and np.shape(octaves_left) != (len(designs),):
            raise InputError(
                "octaves_left has the wrong shape",
                expected=f"(run) = {(len(designs),)}",
                got=np.shape(octaves_left),
                advice="Give one number of octaves a design.",
            )
        expected = self._expected(designs, seed, octaves_left)
        return self._measured(expected, seed) if noise else expected

    def expected_and_measured(
        self, designs: Designs, seed: int = 0
    ) -> tuple[Prediction, Prediction]:
        """`predict` without the scatter of a run and with it, from one evaluation of the law."""
        expected = self._expected(self._on_domains(designs), seed)
        return expected, self._measured(expected, seed)

    def surface(
        self, scale: Scale, *, max_draws: int | None = None, noise: bool = False
    ) -> LossSurface:
        """Loss as a function of the mixture at one scale, for every draw.

        Decisions are computed from it. The law's own uncertainty and its discrepancy count. A draw
        is the same state of the world at every scale.

        Args:
            scale: N and D of the run to decide on.
            max_draws: maximum number of draws, evenly spaced; all when not given.
            noise: whether the scatter of runs is added: one factor a draw and target, the same at
                every mixture and scale, so that it counts as a risk and makes no difference between
                mixtures.
        """
        keep = (
            np.linspace(0, self.n_draws - 1, min(max_draws or self.n_draws, self.n_draws))
            .round()
            .astype(int)
        )
        designs = Designs(
            self.domains,
            self.reference.mixture[None],
            np.array([scale.params]),
            np.array([scale.tokens]),
        )
        factor = np.ones((self.n_draws, len(self.targets)))
        tilt = np.zeros((*factor.shape, len(self.domains)))
        if self.drift:
            factor += self._common_drift(designs, self.seed)[:, 0]
            tilt += self._law_draws(designs)[:, 0, :, None] * (
                self._paths @ self._cells.slopes(scale).T
            )
        if noise:
            scatter = np.maximum(
                self._scattered(np.ones_like(factor)[:, None], designs, self.seed)[:, 0], 0.0
            )
            factor, tilt = factor * scatter, tilt * scatter[..., None]
        with enable_x64():
            return LossSurface(
                {site: jnp.asarray(value[keep]) for site, value in self.flat.items()},
                jnp.asarray(factor[keep]),
                jnp.asarray(tilt[keep]),
                jnp.asarray(scale.params / self.reference.scale.params),
                jnp.asarray(scale.tokens / self.reference.scale.tokens),
                jnp.asarray(self.reference.mixture),
                self.model.law,
                self.domains,
                self.targets,
            )

    @cached_property
    def _cells(self) -> Cells:
        cells = self.model.cells(self.runs)
        assert cells is not None
        return cells

    def _expected(
        self, designs: Designs, seed: int, octaves_left: np.ndarray | None = None
    ) -> Prediction:
        loss = self._law_draws(designs)
        if self.drift:
            # L(h) (1 + f + c) e^(t φ) + L(h̄) Σ ψ(h)·path, with h̄ the reference mixture
            apart = (self._paths @ self._cells.basis(designs).T).swapaxes(1, 2)
            common = 1 + self._common_drift(designs, seed, octaves_left)
            loss = loss * common + self._law_draws(designs, at_reference=True) * apart
        return Prediction(loss, designs, self.targets, self.designs)

    def _measured(self, expected: Prediction, seed: int) -> Prediction:
        return replace(expected, draws=self._scattered(expected.draws, expected.designs, seed))

    def _common_drift(
        self, designs: Designs, seed: int, octaves_left: np.ndarray | None = None
    ) -> np.ndarray:
        """Relative drift (1 + f + c) e^(t φ) − 1 (draw, run, target) at the designs."""
        octaves_left = np.zeros(len(designs)) if octaves_left is None else octaves_left
        fall = self.fall(designs)
        return discrepancy.surface(
            self._cells, self._flat_drift, self.flat["drift"], fall, designs, octaves_left, seed
        )

    def fall(self, designs: Designs) -> np.ndarray:
        """Fall φ (draw, run, target) of the law's loss between the end of the runs and the designs.

        φ is the log of the law's loss where the runs end over its loss at the designs, both of the
        reference mixture. 0 among the runs, above 0 for larger N and D, below for smaller ones.

        Raises:
            InputError: the model has no discrepancy, so that nothing counts beyond the runs but the
                law.
        """
        if not self.drift:
            raise InputError(
                "the model has no discrepancy",
                expected="a model with Discrepancy()",
                got=f"the {self.name} law alone",
                advice="Fit with a discrepancy.",
            )
        clipped = self._cells.clipped(designs)
        rows = np.flatnonzero(
            (clipped.params != designs.params) | (clipped.tokens != designs.tokens)
        )
        fall = np.zeros((self.n_draws, len(designs), len(self.targets)))
        if len(rows):
            edge, loss = (
                self._law_draws(d.take(rows), at_reference=True) for d in (clipped, designs)
            )
            fall[:, rows] = np.log(edge / loss)
        return fall

    @cached_property
    def _paths(self) -> np.ndarray:
        """Increments (draw, target, path) of the paths, which belong to the draws."""
        return discrepancy.paths(self._cells, self._flat_drift, self.flat["drift_mix"], self.seed)

    @property
    def _flat_drift(self) -> dict[str, np.ndarray]:
        return {site: flat_draws(value) for site, value in self.drift.items()}

    def _on_domains(self, designs: Designs | Design | Sequence[Design]) -> Designs:
        return Designs.stacked(designs).on(self.domains)

    def _law_draws(self, designs: Designs, at_reference: bool = False) -> np.ndarray:
        rows = padded_down(CHUNK // (self.n_draws * len(self.targets)))
        parts = []
        with enable_x64():
            theta = {site: jnp.asarray(value) for site, value in self.flat.items()}
            for start in range(0, len(designs), rows):
                part = designs.take(np.arange(start, min(start + rows, len(designs))))
                data = Data.of(part, self.reference, self.targets, pad=True)
                losses = _losses(self.model.law, theta, data, at_reference)
                parts.append(np.asarray(losses)[:, : len(part)])
        return np.concatenate(parts, axis=1)

    def _scattered(self, loss: np.ndarray, designs: Designs, seed: int) -> np.ndarray:
        rows = max(1, CHUNK // max(1, loss[:, :1].size))
        late = self.reference.late(designs.tokens)
        with enable_x64():
            theta = {
                site: jnp.asarray(value)
                for site, value in self.flat.items()
                if site in self._noise_sites
            }
            keys = jax.random.split(jax.random.key(seed), -(-loss.shape[1] // rows))
            parts = [
                np.asarray(
                    _scatter(
                        self.model.noise,
                        theta,
                        loss[:, i * rows : (i + 1) * rows],
                        late[i * rows :][:rows],
                        key,
                    )
                )
                for i, key in enumerate(keys)
            ]
        return np.concatenate(parts, axis=1)

    @property
    def _noise_sites(self) -> frozenset[str]:
        return frozenset(self.model.noise.priors())

    def __str__(self) -> str:
        chains, draws = next(iter(self.draws.values())).shape[:2]
        return (
            f"Posterior of the {self.model.name} law: {chains} chains × {draws} draws,"
            f" {len(self.targets)} targets × {len(self.domains)} domains, from {len(self.runs)}"
            f" measured points\n{self.diagnostics}"
        )

    __repr__ = __str__


def flat_draws(value: np.ndarray) -> np.ndarray:
    """Draws of all chains together (draw, target, ...)."""
    return value.reshape(-1, *value.shape[2:])


@partial(jax.jit, static_argnums=(0, 3))
def _losses(
    law: Law, theta: dict[str, jax.Array], data: Data, at_reference: bool = False
) -> jax.Array:
    formula = reference_loss if at_reference else expected_loss
    return jax.lax.map(lambda one: formula(law, one, data), theta, batch_size=64)


@partial(jax.jit, static_argnums=0)
def _scatter(
    noise: Noise, theta: dict[str, jax.Array], loss: jax.Array, late: jax.Array, key: jax.Array
) -> jax.Array:
    rows = Rows(jnp.arange(loss.shape[1]), late, jnp.zeros(loss.shape[1]))
    keys = jax.random.split(key, (loss.shape[0], loss.shape[2]))
    by_target = jax.vmap(
        lambda theta, loss, key: noise.around(theta, loss, rows).sample(key), (0, 1, 0), 1
    )
    return jax.vmap(by_target)(theta, loss, keys)
