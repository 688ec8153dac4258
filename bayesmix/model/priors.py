"""`Prior`: the prior distribution of every parameter, by site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Self

import jax
import numpy as np
import numpyro.distributions as dist

from bayesmix.errors import InputError


@jax.tree_util.register_pytree_node_class
class Prior(Mapping[str, dist.Distribution]):
    """An immutable mapping site → NumPyro distribution.

    `prior | {"alpha": ...}` is a new prior with overrides.

    The prior of an amplitude (E, A, B, M) is in units of the smallest observed loss of its target,
    so that one prior serves targets whose losses differ and tables in nats or in bits.
    """

    def __init__(self, sites: Mapping[str, dist.Distribution] | None = None):
        self._sites = dict(sites or {})
        for site, belief in self._sites.items():
            if not isinstance(belief, dist.Distribution):
                raise InputError(
                    f"the prior of {site} is not a distribution",
                    expected="a numpyro.distributions.Distribution",
                    got=type(belief).__name__,
                    advice="For example Prior({'alpha': dist.LogNormal(-1.2, 0.5)}).",
                )

    def __getitem__(self, site: str) -> dist.Distribution:
        return self._sites[site]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sites)

    def __len__(self) -> int:
        return len(self._sites)

    def __or__(self, other: Mapping[str, dist.Distribution]) -> Prior:
        return Prior(self._sites | dict(other))

    def tree_flatten(self) -> tuple[list[Any], tuple[Any, tuple[int, ...]]]:
        """Leaves in the order of the names of their fields.

        NumPyro orders the fields of a distribution by hashes that differ between processes. A
        program that takes them as arguments would then differ between processes, and would never
        be found in the cache of compiled programs.
        """
        leaves, tree = jax.tree.flatten(self._sites)
        order = _order(tree)
        return [leaves[i] for i in order], (tree, order)

    @classmethod
    def tree_unflatten(cls, aux: tuple[Any, tuple[int, ...]], leaves: list[Any]) -> Self:
        """The inverse of `tree_flatten`."""
        tree, order = aux
        leaf = dict(zip(order, leaves, strict=True))
        prior = cls()
        prior._sites = jax.tree.unflatten(tree, [leaf[i] for i in range(len(leaf))])
        return prior

    def __str__(self) -> str:
        lines = []
        for site, belief in self.items():
            low, high = interval(belief, 0.9)
            suffix = f" for each of {belief.event_shape[-1]}" if belief.event_shape else ""
            lines.append(
                f"{site:>10}  {family(belief).__name__}, 90% in [{low:.3g}, {high:.3g}]{suffix}"
            )
        return "\n".join(lines)


@lru_cache
def _order(tree: Any) -> tuple[int, ...]:
    """Positions of the leaves of a mapping site → distribution, in the order of their names."""
    return tuple(_by_name(jax.tree.unflatten(tree, range(tree.num_leaves))))


def _by_name(value: Any) -> Iterator[int]:
    if isinstance(value, dist.Distribution):
        value = {name: vars(value).get(name) for name in type(value).gather_pytree_data_fields()}
    if isinstance(value, dict):
        for name in sorted(value):
            yield from _by_name(value[name])
    else:
        yield from jax.tree.leaves(value)


def family(belief: dist.Distribution) -> type[dist.Distribution]:
    """The class of a distribution without the wrappers that give it a shape."""
    while isinstance(belief, dist.ExpandedDistribution | dist.Independent):
        belief = belief.base_dist
    return type(belief)


def interval(belief: dist.Distribution, prob: float) -> tuple[float, float]:
    """Central interval that holds the given probability, from 20,000 draws.

    The interval of a distribution with several entries is that of the first one.
    """
    draws = np.asarray(belief.sample(jax.random.key(0), (20_000,))).reshape(20_000, -1)[:, 0]
    low, high = np.quantile(draws, [(1 - prob) / 2, (1 + prob) / 2])
    return float(low), float(high)


def draw_prior(
    prior: Mapping[str, dist.Distribution], targets: int, key: jax.Array
) -> dict[str, Any]:
    """One draw of all sites (target, ...), amplitudes in units of the smallest observed loss."""
    keys = jax.random.split(key, len(prior))
    return {site: b.sample(k, (targets,)) for k, (site, b) in zip(keys, prior.items(), strict=True)}
