"""Code blocks of the documentation run, commands exist, public names are in the reference."""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import jax
import matplotlib
import numpy as np
import pandas as pd
import pytest

import bayesmix as bm
from bayesmix.inference.fit import fit
from bayesmix.model.priors import draw_prior
from bayesmix.posterior.discrepancy import drift_draws
from tests.cli.words import calls_in, understood
from tests.docs.pages import ROOT, blocks, pages, run, with_output

PYTHON = [page for page in pages() if any(language == "python" for language, _ in blocks(page))]
DRAWS = 400


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def unsampled(model: bm.Model, runs: bm.Runs, *, seed: int = 0, **settings: Any) -> bm.Posterior:
    """Draws of the prior, with the arguments of `fit`, whose own tests are elsewhere."""
    inspect.signature(fit).bind(model, runs, seed=seed, **settings)
    model = model.bind(runs)
    keys = jax.random.split(jax.random.key(seed), DRAWS)
    with jax.enable_x64(True):
        drawn = jax.vmap(
            lambda key: draw_prior(model.priors(len(runs.domains)), len(runs.targets), key)
        )(keys)
    unit = np.array([model.reference.loss[target] for target in runs.targets])
    draws = {
        site: (
            np.asarray(each).reshape((4, DRAWS // 4, *each.shape[1:]))
            * (unit if site in model.law.amplitudes else 1.0)
        )
        for site, each in drawn.items()
    }
    calm = np.zeros((4, DRAWS // 4, len(runs.targets)))
    energy = np.random.default_rng(seed).normal(size=calm.shape)
    stats = {name: calm for name in ("diverging", "steps", "accept", "potential")} | {
        "energy": energy
    }
    with jax.enable_x64(True):
        data = model.data(runs, pad=True)
    return bm.Posterior(
        model,
        runs,
        draws,
        stats,
        seed,
        drift=drift_draws(model, runs, draws, np.asarray(data.weight), seed),
    )


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No sampling; a folder with a runs.csv as the README has it; no windows."""
    for place in (bm, sys.modules[bm.backtest.__module__]):
        monkeypatch.setattr(place, "fit", unsampled)
    readme_runs().to_csv(tmp_path / "runs.csv", index=False)
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")


def readme_runs() -> pd.DataFrame:
    """The first pocket runs, with domains and targets called as in the README."""
    table = bm.read_table("pocket-multimodal")
    called = {"prose": "wiki", "code": "code", "speech": "web", "image": "books"}
    return table.rename(
        columns={
            f"{kind}.{a}": f"{kind}.{b}" for a, b in called.items() for kind in ("weight", "loss")
        }
    )[
        [
            "run_id",
            "train_run",
            "params",
            "tokens",
            *(f"weight.{d}" for d in called.values()),
            "loss.wiki",
            "loss.code",
        ]
    ]


@pytest.mark.parametrize("page", PYTHON, ids=name)
def test_the_python_of_a_page_runs(page: Path, hasty: None) -> None:
    assert list(run(page))


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_command_on_a_page_is_understood(page: Path) -> None:
    for language, text in blocks(page):
        if language not in {"python", "toml", "text"}:
            for words in calls_in(text):
                understood([word for word in words if word != "…"])


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_block_says_what_it_is(page: Path) -> None:
    for language, text in blocks(page):
        assert language in {"python", "console", "toml", "text", ""}, language
        assert language or "bayesmix" in text or "python -m" in text, text
        if language == "toml":
            tomllib.loads(text)


def test_an_invented_option_is_noticed() -> None:
    with pytest.raises(Exception, match=r"[Nn]o such option"):
        understood(["fit", "runs.csv", "--modell", "joint"])


def test_the_reference_has_every_public_name() -> None:
    stub = (ROOT / "bayesmix" / "__init__.pyi").read_text(encoding="utf-8")
    public = {
        f"bayesmix.{home}.{each}"
        for home, each in re.findall(r"from \.(\w[\w.]*) import (\w+) as", stub)
    }
    for room in ("laws", "plots"):
        root = (ROOT / "bayesmix" / room / "__init__.py").read_text(encoding="utf-8")
        public |= {
            f"{home}.{each}"
            for home, each in re.findall(r"from (bayesmix[\w.]+) import (\w+) as", root)
        }
    shown = [
        each
        for page in (ROOT / "docs" / "reference").glob("*.md")
        for each in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(set(shown)) == len(shown)
    assert set(shown) == public


def test_output_is_put_behind_its_block(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n\n```python\nprint(1 + 1)\n```\n\nb\n\n```python\nx = 1\n```\n\nc\n", encoding="utf-8"
    )
    first = with_output(page)
    assert (
        first == "a\n\n```python\nprint(1 + 1)\n```\n\n```text\n2\n```\n\nb\n\n```python\nx ="
        " 1\n```\n\nc\n"
    )
    page.write_text(first, encoding="utf-8")
    assert with_output(page) == first
