"""One small posterior, made through the command line, and the ways of calling it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmix.cli.app import main

CARD = """
title = "An additive law of which much is known, so that its posterior is easy"
law = "additive"
noise = "gaussian"
domains = ["web", "code"]
targets = ["prose", "python"]
sampler = { chains = 4, warmup = 500, draws = 500, target_accept = 0.98 }
prior.E = { distribution = "Beta", a = 30, b = 20 }
prior.A = { distribution = "LogNormal", median = 0.2, sd_log = 0.3 }
prior.alpha = { distribution = "LogNormal", median = 0.3, sd_log = 0.1 }
prior.B = { distribution = "LogNormal", median = 0.2, sd_log = 0.3 }
prior.beta = { distribution = "LogNormal", median = 0.35, sd_log = 0.1 }
prior.gamma = { distribution = "LogNormal", median = 0.5, sd_log = 0.1 }
"""
DOMAINS = ("web", "code")
TARGETS = ("prose", "python")


@dataclass(frozen=True)
class Said:
    """What a call of the program left behind."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What it said on stderr, as one line."""
        return " ".join(self.err.split())


type Call = Callable[..., Said]


def run_program(*arguments: object, **environment: str) -> Said:
    """The program in a process of its own."""
    command = [sys.executable, "-c", "import sys; from bayesmix.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """The program in this process: quick, since JAX is there already."""

    def calling(*arguments: object) -> Said:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return calling


def runs_frame() -> pd.DataFrame:
    """Runs of a known additive law: 4 sizes × 3 budgets × 4 mixtures, half a percent of scatter."""
    rng = np.random.default_rng(0)
    rows = [
        (n, d, web)
        for n in (5e7, 1e8, 2e8, 4e8)
        for d in (1e9, 3e9, 9e9)
        for web in (0.1, 0.4, 0.7, 0.95)
    ]
    n, d, web = np.array(rows).T
    frame = pd.DataFrame({"run_id": [f"r{i}" for i in range(len(rows))], "params": n, "tokens": d})
    frame["weight.web"], frame["weight.code"] = web, 1 - web
    for target, own in (("prose", web), ("python", 1 - web)):
        loss = (
            1.5 + 0.5 * (n / 1e8) ** -0.3 + 0.4 * (d / 3e9) ** -0.35 + 0.5 / (0.6 + 0.8 * own**0.5)
        )
        frame[f"loss.{target}"] = loss * np.exp(0.005 * rng.standard_normal(len(rows)))
    return frame


@pytest.fixture(scope="session")
def runs_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    runs_frame().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def fitted(runs_csv: Path) -> tuple[Path, Said]:
    """A posterior file, and what `fit` said when it made it."""
    path, card = runs_csv.with_name("posterior.nc"), runs_csv.with_name("easy.toml")
    card.write_text(CARD, encoding="utf-8")
    return path, run_program("fit", runs_csv, "--model", card, "--out", path)


@pytest.fixture(scope="session")
def posterior(fitted: tuple[Path, Said]) -> Path:
    path, said = fitted
    assert said.code == 0, said.err + said.out
    return path


@pytest.fixture(scope="session")
def failed_posterior(posterior: Path) -> Path:
    """The same posterior cut so short that its diagnostics fail."""
    from bayesmix.posterior.storage import load_posterior, save_posterior

    whole = load_posterior(posterior)
    cut = {
        kind: {k: v[:, :40] for k, v in getattr(whole, kind).items()} for kind in ("draws", "stats")
    }
    path = posterior.with_name("failed.nc")
    save_posterior(replace(whole, **cut), path)
    return path


@pytest.fixture
def designs_csv(tmp_path: Path) -> Path:
    path = tmp_path / "designs.csv"
    table = {
        "id": ["big", "small", "other"],
        "tokens": [2e10, 1e9, 5e9],
        "weight.code": [0.5, 0.1, 0.9],
        "params": [1e9, 1e8, 3e8],
        "weight.web": [0.5, 0.9, 0.1],
        "note": ["a", "b", "c"],
    }
    pd.DataFrame(table).to_csv(path, index=False)
    return path
