"""A Gaussian posterior of a linear law: everything about its runs is known in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np

from bayesmix.design import Designs, Scale
from bayesmix.model.data import Reference
from bayesmix.posterior.prediction import Prediction

SCATTER = 0.05
DOMAINS = ("a", "b", "c")


@dataclass(frozen=True)
class Constant:
    """Scatter that is the same everywhere."""

    shared: float

    def priors(self) -> dict[str, Any]:
        return {}

    def spread(self, theta: Any, loss: Any, rows: Any) -> Any:
        return jnp.full_like(loss, SCATTER), jnp.full_like(loss, self.shared)


@dataclass(frozen=True, eq=False)
class Linear:
    """Loss = 3 + features(design) · θ with θ ~ N(0, prior), per target.

    The features are the shares and the logs of N and D.
    """

    theta: np.ndarray  # (draw, target, feature)
    covariance: np.ndarray  # (feature, feature)
    targets: tuple[str, ...]
    shared: float = 0.0
    seed: int = 0

    @property
    def n_draws(self) -> int:
        return len(self.theta)

    @property
    def domains(self) -> tuple[str, ...]:
        return DOMAINS

    @property
    def model(self) -> Any:
        return SimpleNamespace(noise=Constant(self.shared))

    @property
    def flat(self) -> dict[str, np.ndarray]:
        return {}

    @property
    def reference(self) -> Any:
        return Reference(Scale(1.0, 1.0), DOMAINS, np.full(3, 1 / 3), {})

    def predict(self, designs: Designs, seed: int = 0, noise: bool = True) -> Prediction:
        assert not noise
        return self.loss(designs)

    def loss(self, designs: Designs) -> Prediction:
        draws = 3.0 + np.einsum("rf,stf->srt", features(designs), self.theta)
        return Prediction(draws, designs, self.targets)


def features(designs: Designs) -> np.ndarray:
    """What the losses are linear in (run, feature)."""
    return np.column_stack(
        [designs.mixture, np.log(designs.params / 1e8), np.log(designs.tokens / 1e10)]
    )


def linear(draws: int = 4000, targets: int = 2, seed: int = 0) -> Linear:
    """A posterior with correlated parameters."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(5, 5)) * np.array([0.5, 0.3, 0.4, 0.1, 0.05])[:, None]
    theta = rng.normal(size=(draws, targets, 5)) @ root.T
    return Linear(theta, root @ root.T, tuple(f"t{i}" for i in range(targets)))


def some_designs(count: int = 40, seed: int = 1) -> Designs:
    """Designs of three domains, three sizes."""
    rng = np.random.default_rng(seed)
    return Designs(
        DOMAINS,
        rng.dirichlet(np.ones(3), count),
        rng.choice([5e7, 1e8, 2e8], count),
        rng.choice([2e9, 1e10], count),
    )
