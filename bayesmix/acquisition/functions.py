r"""Acquisition functions: scores of one candidate run; `score_pool` vmaps them over a pool.

All of them use Gaussian moments of the posterior draws (`bayesmix.acquisition.moments`), exact when
the law is linear in its parameters and the posterior Gaussian. Higher is better.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self, override

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.acquisition.decision_set import DecisionSet, decision_set
from bayesmix.acquisition.moments import (
    DrawUpdate,
    covariance,
    draw_update,
    information,
    nodes,
    reduction_root,
    whitened,
)
from bayesmix.acquisition.pool import Pool
from bayesmix.decision.feasible import FeasibleSet
from bayesmix.deprecation import renamed
from bayesmix.design import Mixture, Scale
from bayesmix.posterior.measurement_noise import scatter
from bayesmix.posterior.posterior import Posterior
from bayesmix.runtime.compute import enable_x64

NODES = 128


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("losses", "level", "shift", "epsilon"),
    meta_fields=("seed", "n_pending"),
)
@dataclass(frozen=True, eq=False)
class View:
    """Inputs of an acquisition function: the decision as arrays, given any pending runs.

    Attributes:
        losses: centred losses (target, draw, decision) at the flagship, in the unit of the
            criterion.
        level: expected combined loss (decision).
        shift: change of the expected combined loss by pending runs, at every node (node, decision).
        epsilon: normal nodes (node, target, point) for the outcome of one run.
        seed: seed of the nodes.
        n_pending: number of pending runs.
    """

    losses: jax.Array
    level: jax.Array
    shift: jax.Array
    epsilon: jax.Array
    seed: int = 0
    n_pending: int = 0

    def condition_on(self, run: jax.Array) -> tuple[Self, DrawUpdate]:
        """The view with one more pending run (target, draw, point), and its update of other draws.

        The run is whitened, centred, and already updated for the earlier pending runs.
        """
        targets, _, points = run.shape
        # other nodes than those of the next run
        epsilon = nodes(targets * points, NODES, self.seed + 7919 * (self.n_pending + 1)).reshape(
            NODES, targets, points
        )
        losses, move, update = _condition(self.losses, run, jnp.asarray(epsilon))
        view = replace(self, losses=losses, shift=self.shift + move, n_pending=self.n_pending + 1)
        return view, update


@jax.jit
def _condition(
    losses: jax.Array, run: jax.Array, epsilon: jax.Array
) -> tuple[jax.Array, jax.Array, DrawUpdate]:
    half = jnp.einsum("mtk,tjk->mj", epsilon, reduction_root(losses, run))
    update = draw_update(run)
    # both signs, so that no expected loss moves on average
    return update(losses), jnp.concatenate([half, -half]), update


@dataclass(frozen=True)
class Acquisition(ABC):
    """Acquisition function: one candidate run → one score, higher is better.

    A concrete criterion implements `of_one`, in JAX, and `view`, which is computed once per
    posterior.
    """

    unit: ClassVar[str] = "nats"

    @abstractmethod
    def view(
        self, posterior: Posterior, decision_set: DecisionSet | None, points: int, seed: int
    ) -> View:
        """Inputs of the criterion, for runs of at most `points` points."""

    @staticmethod
    @abstractmethod
    def of_one(view: View, run: jax.Array) -> jax.Array:
        """Score of one run (target, draw, point), whitened, centred, and given the pending runs."""

    def decision_set(self, posterior: Posterior) -> DecisionSet | None:
        """Decision that the criterion is about; None for a criterion without one."""
        return None


@dataclass(frozen=True)
class InformationGain(Acquisition):
    r"""Expected information about all parameters of the law, ½ log det(I + Cov(u)), in nats.

    It favours the least known parameters, whether or not the decision depends on them.
    """

    unit: ClassVar[str] = "nats of information"

    @override
    def view(
        self, posterior: Posterior, decision_set: DecisionSet | None, points: int, seed: int
    ) -> View:
        return _blank(posterior, seed)

    @staticmethod
    @override
    def of_one(view: View, run: jax.Array) -> jax.Array:
        return information(covariance(run))


@dataclass(frozen=True)
class _AtFlagship(Acquisition):
    """A criterion about the losses at the flagship.

    Args:
        flagship: the scale to decide at.
        targets: target → weight; equal weights when not given.
        feasible: the mixtures that are allowed there.
        decisions: number of draws whose own best mixture is one to choose from.
        mixtures: the mixtures to choose from at the flagship, where they are a given few; replaces
            `feasible`.
    """

    flagship: Scale
    targets: Mapping[str, float] | None = None
    feasible: FeasibleSet | None = None
    decisions: int = 48
    mixtures: Sequence[Mixture] | None = None

    @override
    def decision_set(self, posterior: Posterior) -> DecisionSet:
        return decision_set(
            posterior,
            self.flagship,
            targets=self.targets,
            feasible=self.feasible,
            count=self.decisions,
            candidates=self.mixtures,
        )


@renamed(within="feasible", among="mixtures")
@dataclass(frozen=True)
class PredictionGain(_AtFlagship):
    r"""Expected information I(y; z) about losses measured at the flagship, in nats.

    z are the losses of the mixtures that may turn out to be optimal, each measured once. I(y; z) is
    the information of the run about all parameters, less its information given z:
    ½ log det(I + Cov(u)) − ½ log det(I + Cov(u | z)).
    """

    unit: ClassVar[str] = "nats of information about the flagship"

    @override
    def view(
        self, posterior: Posterior, decision_set: DecisionSet | None, points: int, seed: int
    ) -> View:
        assert decision_set is not None
        noise = scatter(posterior, decision_set.designs, decision_set.losses)
        sd = np.sqrt(noise.residual**2 + noise.shared**2)
        whitened = (
            np.where(
                decision_set.weights > 0,
                decision_set.losses - decision_set.losses.mean(axis=0),
                0.0,
            )
            / sd
        )
        return replace(_blank(posterior, seed), losses=jnp.asarray(whitened.transpose(2, 0, 1)))

    @staticmethod
    @override
    def of_one(view: View, run: jax.Array) -> jax.Array:
        root = reduction_root(run, view.losses)
        mine = covariance(run)
        return information(mine) - information(mine - root @ root.mT)


@renamed(within="feasible", among="mixtures")
@dataclass(frozen=True)
class PredictiveVariance(_AtFlagship):
    """Expected reduction of the variance of the loss at the flagship, in nats².

    Averaged over the decisions and the weighted targets.
    """

    unit: ClassVar[str] = "nats² of predictive variance"

    @override
    def view(
        self, posterior: Posterior, decision_set: DecisionSet | None, points: int, seed: int
    ) -> View:
        assert decision_set is not None
        centred = (decision_set.losses - decision_set.losses.mean(axis=0)) * np.sqrt(
            decision_set.weights
        )
        return replace(_blank(posterior, seed), losses=jnp.asarray(centred.transpose(2, 0, 1)))

    @staticmethod
    @override
    def of_one(view: View, run: jax.Array) -> jax.Array:
        return jnp.sum(reduction_root(view.losses, run) ** 2) / view.losses.shape[2]


@renamed(within="feasible", among="mixtures")
@dataclass(frozen=True)
class RegretReduction(_AtFlagship):
    r"""Expected value of sample information: reduction of the expected regret by a run, in nats.

    minⱼ E[Lⱼ] − E_y[minⱼ E[Lⱼ | y]] over the mixtures j that may turn out to be optimal at the
    flagship, with Lⱼ the weighted loss. It is at least 0 and at most the value of perfect
    information. Pending runs count as made: the score is what the run adds to them.
    """

    unit: ClassVar[str] = "nats of expected regret"

    @override
    def view(
        self, posterior: Posterior, decision_set: DecisionSet | None, points: int, seed: int
    ) -> View:
        assert decision_set is not None
        centred = (decision_set.losses - decision_set.losses.mean(axis=0)) * decision_set.weights
        targets = len(decision_set.weights)
        half = nodes(targets * points, NODES, seed).reshape(NODES, targets, points)
        return View(
            losses=jnp.asarray(centred.transpose(2, 0, 1)),
            level=jnp.asarray(decision_set.combined.mean(axis=0)),
            shift=jnp.zeros((2 * NODES, len(decision_set.mixtures))),
            epsilon=jnp.asarray(half),
            seed=seed,
        )

    @staticmethod
    @override
    def of_one(view: View, run: jax.Array) -> jax.Array:
        loss = view.level + view.shift
        move = jnp.einsum(
            "mtk,tjk->mj", view.epsilon[:, :, : run.shape[2]], reduction_root(view.losses, run)
        )
        move = jnp.concatenate([move, move])
        # both signs of every outcome, so that the expected loss of a decision does not move at all
        new_minimum = 0.5 * (jnp.min(loss + move, axis=1) + jnp.min(loss - move, axis=1))
        return jnp.mean(jnp.min(loss, axis=1) - new_minimum)


def _blank(posterior: Posterior, seed: int) -> View:
    targets = len(posterior.targets)
    return View(
        jnp.zeros((targets, posterior.n_draws, 1)),
        jnp.zeros(1),
        jnp.zeros((2 * NODES, 1)),
        jnp.zeros((NODES, targets, 1)),
        seed=seed,
    )


@partial(jax.jit, static_argnums=0)
def score_each(
    of_one: Callable[[View, jax.Array], jax.Array], view: View, runs: jax.Array
) -> jax.Array:
    """Scores (run) of whitened runs (run, target, draw, point), given the view's pending runs."""
    return jax.vmap(partial(of_one, view))(runs)


def score_pool(
    acquisition: Acquisition,
    view: View,
    posterior: Posterior,
    pool: Pool,
    updates: Sequence[DrawUpdate] = (),
) -> np.ndarray:
    """Scores (run) of the runs of a pool, independent of their order.

    Args:
        acquisition: the criterion.
        view: inputs of the criterion.
        posterior: the posterior.
        pool: the runs.
        updates: the pending runs of the view, in the order they came.
    """
    # runs of one mixture together: its share of the law is then computed once for all its scales
    order = np.lexsort(np.roll(pool.keys, -2, axis=1).T[::-1])
    scores = np.zeros(len(pool))
    with enable_x64():
        plain = replace(view, seed=0, n_pending=0)  # one compiled program, however many are pending
        parts = [
            np.asarray(score_each(acquisition.of_one, plain, updated_by_all(updates, chunk)))[:real]
            for chunk, real in whitened(posterior, pool.take(order))
        ]
    scores[order] = np.concatenate(parts) if parts else np.zeros(0)
    return scores


def updated_by_all(updates: Sequence[DrawUpdate], runs: jax.Array) -> jax.Array:
    """Draws of runs (run, target, draw, point), updated for pending runs."""
    for one in updates:
        runs = updated_by(one, runs)
    return runs


@jax.jit
def updated_by(update: DrawUpdate, runs: jax.Array) -> jax.Array:
    """Draws of runs (run, target, draw, point), updated for one more pending run."""
    return jax.vmap(update)(runs)
