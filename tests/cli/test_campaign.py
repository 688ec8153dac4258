"""A campaign and a replay on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import Call


@pytest.fixture
def ledger(posterior: Path, tmp_path: Path, call: Call) -> Path:
    path = tmp_path / "pilots.db"
    said = call(
        "campaign",
        "init",
        path,
        posterior,
        "--params",
        "1B",
        "--tokens",
        "20B",
        "--scale",
        "50M:1B",
        "--scale",
        "200M:4B",
        "--count",
        4,
        "--bounds",
        "web=0.1:0.9",
        "--weights",
        "prose=1",
        "--budget",
        "1e20",
    )
    assert said.code == 0 and "campaign ask" in said.err
    return path


def test_a_job_is_asked_told_and_exported(ledger: Path, tmp_path: Path, call: Call) -> None:
    asked = call("campaign", "ask", ledger, "--anyway", "--json")
    assert asked.code == 0
    (job,) = json.loads(asked.out)["jobs"]
    assert {"trial", "mixture", "params", "tokens", "seed", "flops"} <= set(job)
    assert sum(job["mixture"].values()) == pytest.approx(1)
    assert call("campaign", "tell", ledger, job["trial"], "prose=2.4", "--flops", 2e17).code == 0
    again = call("campaign", "tell", ledger, job["trial"], "prose=2.4")
    assert again.code == 2 and "ended already" in again.sentence
    shown = call("campaign", "status", ledger)
    assert "t0001  told" in shown.out and "prose 2.4000" in shown.out
    table = tmp_path / "told.csv"
    assert call("campaign", "export", ledger, "--out", table).code == 0
    row = pd.read_csv(table).iloc[0]
    assert row["run_id"] == "t0001" and row["loss.prose"] == 2.4 and pd.isna(row["loss.python"])
    assert row["weight.web"] == job["mixture"]["web"]


def test_a_spent_budget_exits_with_5(posterior: Path, tmp_path: Path, call: Call) -> None:
    path = tmp_path / "poor.db"
    begun = call(
        "campaign",
        "init",
        path,
        posterior,
        "--params",
        "1B",
        "--tokens",
        "20B",
        "--scale",
        "50M:1B",
        "--count",
        4,
        "--budget",
        1,
    )
    assert begun.code == 0
    said = call("campaign", "ask", path)
    assert said.code == 5 and "no candidate is affordable" in said.out.replace("\n  ", " ")
    assert json.loads(call("campaign", "status", path, "--json").out)["trials"] == []


def test_what_is_wrong_is_said(ledger: Path, tmp_path: Path, posterior: Path, call: Call) -> None:
    assert call("campaign", "tell", ledger, "t0009", "prose=2.4").code == 2
    assert call("campaign", "status", tmp_path / "absent.db").code == 2
    assert call("campaign", "export", ledger, "--out", tmp_path / "told.csv").code == 2
    twice = call(
        "campaign",
        "init",
        ledger,
        posterior,
        "--params",
        "1B",
        "--tokens",
        "20B",
        "--scale",
        "50M:1B",
    )
    assert twice.code == 2 and "never overwritten" in twice.sentence
    odd = call(
        "campaign",
        "init",
        tmp_path / "x.db",
        posterior,
        "--params",
        "1B",
        "--tokens",
        "2B",
        "--scale",
        "50M",
    )
    assert odd.code == 2 and "params:tokens" in odd.sentence


def test_checkpoints_and_further_candidates(posterior: Path, tmp_path: Path, call: Call) -> None:
    path, mine, table = tmp_path / "pilots.db", tmp_path / "mine.csv", tmp_path / "told.csv"
    begun = call(
        "campaign",
        "init",
        path,
        posterior,
        "--params",
        "1B",
        "--tokens",
        "20B",
        "--scale",
        "50M:1B",
        "--count",
        4,
        "--checkpoint",
        0.5,
        "--weights",
        "prose=1",
    )
    assert begun.code == 0, begun.err
    (job,) = json.loads(call("campaign", "ask", path, "--anyway", "--json").out)["jobs"]
    assert job["checkpoints"] == [0.5 * job["tokens"]]
    late = call("campaign", "tell", path, job["trial"], "prose=2.4", "--at", "900B:prose=2.6")
    assert late.code == 2 and "not on the way" in late.sentence
    said = call(
        "campaign",
        "tell",
        path,
        job["trial"],
        "prose=2.4",
        "--at",
        f"{job['checkpoints'][0]}:prose=2.6",
    )
    assert said.code == 0, said.err
    assert call("campaign", "export", path, "--out", table).code == 0
    rows = pd.read_csv(table)
    assert rows["loss.prose"].tolist() == [2.6, 2.4] and rows["train_run"].nunique() == 1
    assert rows["tokens"].tolist() == [*job["checkpoints"], job["tokens"]]
    given = {f"weight.{d}": [w] for d, w in job["mixture"].items()} | {
        "params": [7e7],
        "tokens": [1e9],
    }
    pd.DataFrame(given).to_csv(mine, index=False)
    begun = call(
        "campaign",
        "init",
        tmp_path / "mine.db",
        posterior,
        "--params",
        "1B",
        "--tokens",
        "20B",
        "--scale",
        "50M:1B",
        "--include",
        mine,
    )
    assert begun.code == 0, begun.err
    spec = json.loads(call("campaign", "status", tmp_path / "mine.db", "--json").out)["spec"]
    assert [each[1:] for each in spec["include"]] == [[7e7, 1e9]]
