"""The shipped calibration artefact describes this code, and its ranks are uniform."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.sbc import MODELS, ROOT, UNIT_OF_RUNS, code_hash, judge, ranks

ARTEFACT = ROOT / "docs" / "sbc.json"


@pytest.mark.slow
def test_the_artefact_is_of_this_code() -> None:
    assert json.loads(ARTEFACT.read_text())["code"] == code_hash(), (
        "run `uv run python -m tests.benchmarks.sbc`"
    )


@pytest.mark.slow
def test_the_artefact_shows_uniform_ranks() -> None:
    for name, found in json.loads(ARTEFACT.read_text())["models"].items():
        if name == UNIT_OF_RUNS:
            continue  # its prior looks at the data
        left = {q: v["excess"] for q, v in found["quantities"].items() if v["excess"] > 0}
        assert not left, f"{name}: {left}"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name != UNIT_OF_RUNS])
def test_a_hundred_simulations_have_uniform_ranks(name: str, tmp_path) -> None:
    found = judge(ranks(name, 100, tmp_path))
    assert {q: v["excess"] for q, v in found["quantities"].items() if v["excess"] > 0} == {}
