"""`compare` weighs laws and writes a stack the other commands take; `backtest` judges bands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import CARD, Call, Said

SHORT = ("--chains", 2, "--draws", 100, "--warmup", 100)
OTHER = """
title = "A law that does not look at mixtures"
law = "chinchilla"
noise = "gaussian"
targets = ["prose", "python"]
sampler = { chains = 2, warmup = 200, draws = 200 }
"""


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("cards")
    for name, text in {"easy": CARD.replace("draws = 1000", "draws = 200"), "blind": OTHER}.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return ",".join(str(folder / f"{name}.toml") for name in ("easy", "blind"))


def said_by_compare(call: Call, runs_csv: Path, cards: str, *options: object) -> tuple[Said, dict]:
    said = call("compare", runs_csv, "--models", cards, "--targets", "prose", *options, "--json")
    return said, json.loads(said.out)


def test_compare_weighs_laws_and_writes_a_stack(
    runs_csv: Path, cards: str, tmp_path: Path, call: Call
) -> None:
    out, plot = tmp_path / "stack.nc", tmp_path / "laws.png"
    said, table = said_by_compare(call, runs_csv, cards, "--loo", "--out", out, "--plot", plot)
    weights = {name: law["weight"] for name, law in table["laws"].items()}
    assert said.code in (0, 3) and (said.code == 3) == bool(table["failed"])
    assert weights["easy"] > 0.9 and sum(weights.values()) == pytest.approx(1)
    assert table["by"] is None and out.is_file() and plot.is_file()
    best = call("optimize", out, "--params", "1e9", "--tokens", "20B", "--max-draws", 64, "--json")
    assert json.loads(best.out)["posterior"]["model"].startswith("stack of easy")


def test_compare_refits_without_groups(runs_csv: Path, cards: str, call: Call) -> None:
    _, table = said_by_compare(call, runs_csv, cards, "--by", "size", *SHORT)
    assert table["by"] == "size" and table["splits"] == ["N = 400M"]
    assert table["laws"]["easy"]["elpd"] > table["laws"]["blind"]["elpd"]


def test_backtest_prints_a_verdict(runs_csv: Path, cards: str, tmp_path: Path, call: Call) -> None:
    plot = tmp_path / "backtest.svg"
    easy = cards.split(",")[0]
    said = call("backtest", runs_csv, "--model", easy, "--targets", "prose", *SHORT, "--plot", plot)
    assert (
        said.out.splitlines()[-1].split(":")[0] in {"RIGHT", "NARROW", "WIDE", "FAIL"}
        or "chance" in said.out
    )
    assert "left out N = 400M, fitted to 36 points" in said.out and plot.is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("compare", "--models", "additive"), "two or more cards"),
        (("compare", "--models", "additive,joint", "--plot", "laws.doc"), "unknown kind of figure"),
        (
            ("backtest", "--by", "size", "--where", "params < 6e7"),
            "nothing can be left out by size",
        ),
    ],
)
def test_bad_input_says_so_before_any_work(
    runs_csv: Path, call: Call, arguments: tuple[str, ...], sentence: str
) -> None:
    command, *rest = arguments
    said = call(command, runs_csv, *rest)
    assert said.code == 2 and sentence in said.sentence
