"""The ledger survives being killed, refuses contradictions, and serialises concurrent writers."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bayesmix.campaign.ledger import Changed, Ledger
from bayesmix.campaign.trials import Job
from bayesmix.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
KILLS = 25
JOB = Job({"web": 1.0}, 1e8, 2e9, 1.2e18, seed=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(tmp_path / "campaign.db", {"seed": 3})


def worker(ledger: Ledger, asks: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.campaign.worker", str(ledger.path), str(asks)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def test_killing_at_any_point_loses_nothing_that_was_promised(ledger: Ledger) -> None:
    rng = np.random.default_rng(0)
    promised: list[list[str]] = []
    for _ in range(KILLS):
        process = worker(ledger, 0)
        assert process.stdout is not None
        # "ready" and a few promises
        lines = [process.stdout.readline() for _ in range(1 + int(rng.integers(4)))]
        time.sleep(float(rng.uniform(0, 0.05)))
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines(keepends=True)
        process.stdout.close()
        process.wait()
        promised += [line.split() for line in lines[1:] if line.endswith("\n")]
        state = ledger.state()
        status = {trial.id: trial.status for trial in state.trials}
        assert [trial.number for trial in state.trials] == list(range(1, len(state.trials) + 1))
        assert all(trial in status for kind, trial in promised if kind == "asked")
        assert all(status[trial] == "told" for kind, trial in promised if kind == "told")
    assert len(promised) > KILLS
    with sqlite3.connect(ledger.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_processes_that_ask_at_once_get_different_trials(ledger: Ledger) -> None:
    workers = [worker(ledger, 20) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in workers]
    assert all(process.returncode == 0 for process in workers)
    ids = [
        line.split()[1]
        for text in outputs
        for line in text.splitlines()
        if line.startswith("asked")
    ]
    assert len(ids) == 40 == len(set(ids))
    assert [trial.job.seed for trial in ledger.state().trials] == list(range(1, 41))


def test_who_decided_on_an_old_state_must_decide_anew(ledger: Ledger) -> None:
    version = ledger.state().version
    ledger.ask([JOB], version)
    with pytest.raises(Changed):
        ledger.ask([replace(JOB, params=2e8)], version)
    assert len(ledger.state().trials) == 1


def test_nothing_is_told_twice(ledger: Ledger) -> None:
    (trial,) = ledger.ask([JOB], 0)
    ledger.end(trial.id, "told", {"losses": {"t": 1.0}})
    for status in ("told", "failed", "abandoned"):
        with pytest.raises(InputError, match="ended already"):
            ledger.end(trial.id, status, {})
    with pytest.raises(InputError, match="no such trial"):
        ledger.end("t0099", "told", {})
    assert ledger.state().trials[0].result == {"losses": {"t": 1.0}}


def test_history_is_append_only(ledger: Ledger) -> None:
    ledger.ask([JOB], 0)
    connection = sqlite3.connect(ledger.path)
    for statement in ("UPDATE event SET kind = 'told'", "DELETE FROM event"):
        with pytest.raises(sqlite3.IntegrityError, match="are not"):
            connection.execute(statement)
    connection.close()


def test_other_files_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a file that exists"):
        Ledger.create(ledger.path, {})
    with pytest.raises(InputError, match="no such file"):
        Ledger(tmp_path / "absent.db").state()
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to look at\n" * 10)
    with pytest.raises(InputError, match="no ledger"):
        Ledger(text).state()
