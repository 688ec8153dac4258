"""`Stack`: a mixture of posteriors, in which each law has a share of the draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesmix.design import Design, Designs, Mixture, Scale
from bayesmix.errors import InputError
from bayesmix.posterior.diagnostics import Diagnostics
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.prediction import Prediction
from bayesmix.posterior.surface import LossSurface
from bayesmix.runs.runs import Runs
from bayesmix.runtime.compute import enable_x64


@dataclass(frozen=True, eq=False)
class Stack:
    """Mixture of posteriors: each law holds in its share of the draws.

    Draws of a law are spread over the stack, so that any stretch of them holds all laws. Where
    weights differ by target, the laws of two targets agree in as many draws as the weights allow.
    Functions that predict, optimise or save take a stack like any other posterior. A stack has no
    model and no parameters; its members have.

    Attributes:
        members: name → posterior, all of the same runs.
        weights: share of the draws of each member (member, target), summing to 1 over the members.
    """

    members: Mapping[str, Posterior]
    weights: np.ndarray

    @property
    def _first(self) -> Posterior:
        return next(iter(self.members.values()))

    @property
    def name(self) -> str:
        """Name of the stack, for tables and reports."""
        return f"stack of {', '.join(self.members)}"

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the training domains."""
        return self._first.domains

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return self._first.targets

    @property
    def runs(self) -> Runs:
        """The runs the members were fitted to."""
        return self._first.runs

    @property
    def designs(self) -> Designs:
        """The designs of the fitted runs."""
        return self._first.designs

    @property
    def natural(self) -> Mixture | None:
        """The corpus' own proportions, where they are known."""
        return self._first.natural

    @property
    def n_draws(self) -> int:
        """Number of draws: that of the member with the fewest."""
        return min(member.n_draws for member in self.members.values())

    @property
    def convex(self) -> bool:
        """Whether the loss is convex in the mixture for every draw of every member."""
        return all(member.convex for member in self.members.values())

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """Diagnostics of all members, one row for each member and target."""
        return Diagnostics(
            tuple(
                replace(row, target=f"{name}: {row.target}")
                for name, member in self.members.items()
                for row in member.diagnostics.targets
            )
        )

    def loss(self, designs: Designs | Design | Sequence[Design]) -> Prediction:
        """The laws' loss at the given designs, see `Posterior.loss`.

        Its uncertainty is that within the laws and between them.
        """
        return self._joined([member.loss(designs) for member in self.members.values()])

    def predict(
        self,
        designs: Designs | Design | Sequence[Design],
        seed: int = 0,
        noise: bool = True,
        octaves_left: np.ndarray | None = None,
    ) -> Prediction:
        """Predicted loss that a run of each design would measure; see `Posterior.predict`."""
        return self._joined(
            [member.predict(designs, seed, noise, octaves_left) for member in self.members.values()]
        )

    def expected_and_measured(
        self, designs: Designs, seed: int = 0
    ) -> tuple[Prediction, Prediction]:
        """Expected losses and measured ones; see `Posterior.expected_and_measured`."""
        expected, measured = zip(
            *(member.expected_and_measured(designs, seed) for member in self.members.values()),
            strict=True,
        )
        return self._joined(expected), self._joined(measured)

    def surface(
        self, scale: Scale, *, max_draws: int | None = None, noise: bool = False
    ) -> StackedSurface:
        """Loss as a function of the mixture at one scale, by draw; see `Posterior.surface`."""
        shares = _Shares.of(self.weights, min(max_draws or self.n_draws, self.n_draws))
        parts = zip(self.members.values(), shares.spans, strict=True)
        members = tuple(
            member.surface(scale, max_draws=high - low, noise=noise)
            for member, (low, high) in parts
        )
        with enable_x64():
            index = jnp.asarray(shares.holds), jnp.asarray(shares.place)
            return StackedSurface(members, *index, shares.spans, self.domains, self.targets)

    def _joined(self, parts: Sequence[Prediction]) -> Prediction:
        shares = _Shares.of(self.weights, self.n_draws)
        draws = np.empty((self.n_draws, *parts[0].draws.shape[1:]))
        for part, (low, high), holds in zip(parts, shares.spans, shares.holds, strict=True):
            rows = np.linspace(0, len(part.draws) - 1, high - low).round().astype(int)
            draws[low:high] = np.where(holds[low:high, None, :], part.draws[rows], draws[low:high])
        return replace(parts[0], draws=draws[shares.place])

    def __str__(self) -> str:
        lines = [
            f"Stack of {len(self.members)} laws, {self.n_draws} draws, {len(self.targets)} targets"
        ]
        for name, weights in zip(self.members, self.weights, strict=True):
            low, high = weights.min(), weights.max()
            lines.append(
                f"{name}: "
                + (f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}, by target")
            )
        return "\n".join([*lines, str(self.diagnostics)])

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class _Shares:
    """Assignment of draws to members, in order; `place` then spreads them over the stack.

    Attributes:
        spans: first and last draw (exclusive) that a member has in any target.
        holds: whether a member holds (member, draw, target).
        place: position in that order of each draw (draw).
    """

    spans: tuple[tuple[int, int], ...]
    holds: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, weights: np.ndarray, draws: int) -> _Shares:
        top = np.rint(draws * np.cumsum(weights, axis=0)).astype(int)
        top[-1] = draws
        bottom = np.concatenate([np.zeros_like(top[:1]), top[:-1]])
        index = np.arange(draws)[None, :, None]
        holds = (bottom[:, None] <= index) & (index < top[:, None])
        low = bottom.min(axis=1)
        # a member whose weight is less than one draw keeps a draw that is never used
        high = np.maximum(top.max(axis=1), low + 1)
        low, high = np.minimum(low, draws - 1), np.minimum(high, draws)
        spans = tuple(zip(low.tolist(), high.tolist(), strict=True))
        return cls(spans, holds, np.random.default_rng(0).permutation(draws))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("members", "holds", "place"),
    meta_fields=("spans", "domains", "targets"),
)
@dataclass(frozen=True, eq=False)
class StackedSurface:
    """Loss draws of a stack as a function of the mixture at one scale; a JAX pytree."""

    members: tuple[LossSurface, ...]
    holds: jax.Array
    place: jax.Array
    spans: tuple[tuple[int, int], ...]
    domains: tuple[str, ...]
    targets: tuple[str, ...]

    def __call__(self, weights: jax.Array) -> jax.Array:
        """Losses (draw, target) of the mixture with the given weights (domain)."""
        return self._joined([member(weights) for member in self.members])

    def each(self, weights: jax.Array) -> jax.Array:
        """Losses (draw, target) when every draw has its own mixture (draw, domain)."""
        ordered = weights[jnp.argsort(self.place)]
        parts = zip(self.members, self.spans, strict=True)
        return self._joined([member.each(ordered[low:high]) for member, (low, high) in parts])

    def _joined(self, parts: Sequence[jax.Array]) -> jax.Array:
        losses = jnp.zeros((len(self.place), len(self.targets)), parts[0].dtype)
        for part, (low, high), holds in zip(parts, self.spans, self.holds, strict=True):
            losses = losses.at[low:high].set(jnp.where(holds[low:high], part, losses[low:high]))
        return losses[self.place]


def stack(posteriors: Mapping[str, Posterior], weights: Mapping[str, Any]) -> Stack:
    """Join posteriors of the same runs into one.

    Args:
        posteriors: name → posterior.
        weights: name → weight, or weights (target), such as `Comparison.weights` or
            `.weights_by_target`. They are divided by their sum. A posterior that gets less than a
            thousandth of every target is left out.

    Raises:
        InputError: names differ, a weight is not a share, or the posteriors are of different
            domains or targets.
    """
    if not posteriors or set(posteriors) != set(weights):
        raise InputError(
            "weights do not match the posteriors",
            expected=f"one for each of {sorted(posteriors)}",
            got=sorted(weights),
            advice="Take those of bayesmix.compare.",
        )
    first = next(iter(posteriors.values()))
    for name, posterior in posteriors.items():
        if (posterior.domains, posterior.targets) != (first.domains, first.targets) or "/" in name:
            raise InputError(
                f"{name} does not go with the others",
                expected=f"domains {first.domains}, targets {first.targets}, and a name without /",
                got=(posterior.domains, posterior.targets),
                advice="Fit all laws to one table.",
            )
    table = np.stack(
        [np.broadcast_to(np.asarray(weights[n], float), len(first.targets)) for n in posteriors]
    )
    if not (np.isfinite(table).all() and (table >= 0).all() and (table.sum(0) > 0).all()):
        raise InputError("weights are not shares", expected="at least 0", got=table.tolist())
    shares = table / table.sum(0)
    retained = (shares >= 1e-3).any(axis=1)
    shares = shares[retained] / shares[retained].sum(0)
    return Stack(
        {name: p for (name, p), keep in zip(posteriors.items(), retained, strict=True) if keep},
        shares,
    )
