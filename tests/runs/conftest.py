"""A small invented table of runs in the wide layout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

MakeFrame = Callable[..., pd.DataFrame]


def make(rows: int = 48, domains: int = 3, seed: int = 0) -> pd.DataFrame:
    """Independent runs of an invented law, without findings of `lint`; targets web and sums."""
    rng = np.random.default_rng(seed)
    names = ["web", "code", "books", "maths", "talk"][:domains]
    weights = rng.dirichlet(np.ones(domains), rows)
    params = rng.choice([1e8, 3e8, 1e9, 3e9], rows)
    tokens = 10 ** rng.uniform(9, 11, rows)
    level = 1.5 + 400 / params**0.3 + 300 / tokens**0.28
    frame = pd.DataFrame(
        {"run_id": [f"r{i}" for i in range(rows)], "params": params, "tokens": tokens}
    )
    for i, name in enumerate(names):
        frame[f"weight.{name}"] = weights[:, i]
    frame["loss.web"] = level + 0.3 * (1 - weights[:, 0]) + 0.01 * rng.standard_normal(rows)
    frame["loss.sums"] = level + 0.4 * (1 - weights[:, -1]) + 0.01 * rng.standard_normal(rows)
    return frame


@pytest.fixture(scope="session")
def make_frame() -> MakeFrame:
    return make


@pytest.fixture
def frame() -> pd.DataFrame:
    return make()
