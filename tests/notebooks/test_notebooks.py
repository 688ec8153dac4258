"""Notebooks are kept executed, are small, and run through (`-m notebook`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks.changes import changed
from tests.notebooks.execute import NOTEBOOKS, ROOT, execute

SIZE = 500_000
NAMES = [
    "01_first_mixture",
    "02_posterior_diagnostics",
    "03_risk_aware_choice",
    "04_next_run",
    "05_comparing_laws",
    "06_your_own_law",
    "07_backtest_your_runs",
    "08_closed_loop",
]
RECORDED = {"08_closed_loop"}
"""Sessions that trained models: kept executed, but not executed again."""
EXECUTED = [path for path in NOTEBOOKS if path.stem not in RECORDED]


def cells(path: Path) -> list[dict[str, Any]]:
    """The code cells of a notebook."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def test_all_notebooks_are_there_and_on_the_first_page() -> None:
    assert [path.stem for path in NOTEBOOKS] == NAMES
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in index for name in NAMES)


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_executed_with_figures(path: Path) -> None:
    assert path.stat().st_size < SIZE
    assert [cell["execution_count"] for cell in cells(path)] == list(range(1, len(cells(path)) + 1))
    outputs = [output for cell in cells(path) for output in cell["outputs"]]
    assert not [
        output
        for output in outputs
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: the first notebook keeps a posterior that the others read."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.notebook
@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: path.stem)
def test_a_notebook_runs_through(path: Path, folder: Path, request: pytest.FixtureRequest) -> None:
    if not (request.config.getoption("--all-notebooks") or any(map(changed, EXECUTED))):
        pytest.skip("neither a notebook nor what it imports changed; see --all-notebooks")
    pytest.importorskip("nbclient", reason="needs `uv run --group notebooks`")
    execute(path, folder)
