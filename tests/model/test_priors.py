"""A prior is the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys


def test_leaves_come_in_the_same_order_in_every_process() -> None:
    # NumPyro's order depends on hashes: the cache of compiled programs would be of no use to the
    # next process
    program = """
import jax
import numpyro.distributions as dist
from bayesmix.model.priors import Prior

prior = Prior({
    "share": dist.TruncatedNormal(1.0, 2.0, low=0.0, high=5.0),
    "gamma": dist.LogNormal(0.1, 0.2).expand([3]).to_event(1),
    "E": dist.Beta(2.0, 3.0),
})
leaves, tree = jax.tree.flatten(prior)
again = jax.tree.unflatten(tree, leaves)
sums = [float(leaf) for leaf in map(jax.numpy.sum, leaves)]
print(sums, again["share"].base_dist.loc, again["E"].concentration1)
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert len(said) == 1
    assert said.pop().endswith("1.0 2.0\n")
