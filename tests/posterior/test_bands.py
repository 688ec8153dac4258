"""Bands of many designs: the table that `predict` gives, part by part and in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bayesmix.errors import InputError
from bayesmix.posterior.bands import bands
from bayesmix.posterior.storage import save_posterior
from tests.posteriors import DOMAINS, grid

MANY = """
import resource, sys
import numpy as np
from bayesmix.design import Designs
from bayesmix.posterior.bands import bands
from bayesmix.posterior.storage import load_posterior

posterior = load_posterior(sys.argv[1])
rng = np.random.default_rng(0)
rows = int(sys.argv[2])
weights = rng.dirichlet(np.ones(len(posterior.domains)), rows)
designs = Designs(posterior.domains, weights, np.full(rows, 3e9), np.full(rows, 6e10))
table = bands(posterior, designs)
assert np.isfinite(table["q95"]).all() and len(table["q95"]) == rows * len(posterior.targets)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def test_they_are_what_predict_says(additive) -> None:
    designs = grid(2)
    table = bands(additive, designs, seed=1)
    assert table["target"].tolist() == list(additive.targets) * len(designs)
    assert table["id"].tolist() == [name for name in designs.ids for _ in additive.targets]
    law = additive.predict(designs, noise=False).interval(0.9).reshape(-1, 2)
    np.testing.assert_allclose(
        np.stack([table["law_q05"], table["law_q95"]], axis=1), law, rtol=1e-3
    )
    np.testing.assert_allclose(table["mean"], additive.predict(designs).mean.reshape(-1), rtol=1e-3)
    assert (table["q05"] < table["law_q05"]).all() and (table["law_q95"] < table["q95"]).all()
    assert set(table["diagnostics"]) == {additive.diagnostics.verdict}


def test_parts_and_the_whole_agree(additive, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bands(additive, grid(2))
    monkeypatch.setattr("bayesmix.posterior.bands.CHUNK", 1)
    parts = bands(additive, grid(2))
    assert list(parts) == list(whole)
    for name in ("mean", "q50", "law_q05", "law_q95", "params_beyond"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=2e-3, err_msg=name)


def test_domains_are_matched_by_name(additive) -> None:
    turned = grid(2).on(DOMAINS[::-1])
    np.testing.assert_allclose(bands(additive, turned)["mean"], bands(additive, grid(2))["mean"])
    with pytest.raises(InputError, match="domains"):
        bands(additive, grid(2, domains=("a", "b", "c")))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_designs(additive, tmp_path: Path) -> None:
    path = tmp_path / "posterior.nc"
    save_posterior(additive, path)

    def peak(rows: int) -> float:
        command = [sys.executable, "-W", "ignore", "-c", MANY, str(path), str(rows)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert peak(200_000) < 2.0  # GiB
