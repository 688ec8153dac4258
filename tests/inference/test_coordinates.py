"""Scales of scatter as their total and splits: one to one, with the stated log-determinant."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesmix.inference.coordinates import _to_scales, _to_total_and_shares

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize(
    "sites", [("sigma", "run_effect"), ("sigma", "drift"), ("sigma", "run_effect", "drift")]
)
def test_total_and_splits_are_one_to_one(sites: tuple[str, ...]) -> None:
    for seed in range(20):
        logs = dict(zip(sites, 2 * np.random.default_rng(seed).normal(size=3) - 6, strict=False))
        z = _to_total_and_shares({site: jnp.asarray(v) for site, v in logs.items()}, sites)
        back, log_det = _to_scales(z, sites)
        for site in sites:
            assert float(back[site]) == pytest.approx(logs[site], abs=1e-8)

        def flat(vector: jax.Array) -> jax.Array:
            found, _ = _to_scales(dict(zip(sites, vector, strict=True)), sites)
            return jnp.stack([found[site] for site in sites])

        jacobian = jax.jacobian(flat)(jnp.stack([z[site] for site in sites]))
        assert float(log_det) == pytest.approx(np.linalg.slogdet(jacobian)[1], abs=1e-8)
