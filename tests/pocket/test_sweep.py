"""Plans and sweeps: nothing is lost or done twice, however a sweep ends."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bayesmix.cli import main
from bayesmix.errors import InputError
from bayesmix.pocket.plan import FLOOR, TrainingJob, mixtures, plan, read_plan, write_plan
from bayesmix.pocket.sizes import SIZES
from bayesmix.pocket.sweep import read_records, sweep, write_runs
from bayesmix.pocket.worker import record
from bayesmix.runs.load import load_runs
from tests.pocket.synthetic import MULTIMODAL, put_in_cache, synthetic

ROOT = Path(__file__).resolve().parents[2]
EVEN = dict.fromkeys(MULTIMODAL.domains, 0.25)
# Answers like a worker, but without training: `seed` 99 is a run that brings its process down.
QUICK = """
import json, sys, time
for line in sys.stdin:
    job = json.loads(line)
    time.sleep(0.05)
    if job["seed"] == 99:
        raise SystemExit("out of memory")
    loss = {"prose": 1.0 + job["seed"], "code": 2.0}
    points = [{"tokens": n, "loss": loss, "flops": 1.0, "cpu_seconds": 0.1} for n in job["tokens"]]
    keys = ("train_run", "setting", "size", "seed", "mixture", "hold_out", "weights")
    done = {k: job[k] for k in keys} | {"params": 5072, "corpus": "none", "points": points}
    print(json.dumps(done), flush=True)
"""
STARTED = """
import sys
from bayesmix.pocket import read_plan, sweep
sys.modules["bayesmix.pocket.sweep"].WORKER = (sys.executable, "-c", sys.argv[3])
sweep(read_plan(sys.argv[1]), sys.argv[2], 2)
"""


def jobs(count: int) -> list[TrainingJob]:
    return [
        TrainingJob(f"run-{seed}", "multimodal", "S0", seed, (10_240, 20_480), EVEN, mixture="even")
        for seed in range(count)
    ]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    # the name in the package is the function
    module = importlib.import_module("bayesmix.pocket.sweep")
    monkeypatch.setattr(module, "WORKER", (sys.executable, "-c", QUICK))


def test_a_killed_sweep_goes_on_without_losing_or_doubling_a_run(
    tmp_path: Path, quick: None
) -> None:
    out, table = tmp_path / "runs.jsonl", tmp_path / "plan.csv"
    write_plan(jobs(40), table)
    process = subprocess.Popen([sys.executable, "-c", STARTED, table, out, QUICK], cwd=ROOT)
    deadline = time.monotonic() + 120
    while len(read_records(out)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = read_records(out)
    assert 3 <= len(before) < 40
    with open(out, "a", encoding="utf-8") as file:
        file.write('{"train_run": "run-39", "set')  # what a power cut leaves
    assert sweep(read_plan(table), out, 2) == 40 - len(before)
    found = Counter(each["train_run"] for each in read_records(out))
    assert found == Counter({job.train_run: 1 for job in jobs(40)})
    assert read_records(out)[: len(before)] == before
    assert sweep(read_plan(table), out, 2) == 0


def test_a_file_has_one_sweep_at_a_time(tmp_path: Path, quick: None) -> None:
    out = tmp_path / "runs.jsonl"
    nested: list[str] = []

    def again(_: str) -> None:
        with pytest.raises(InputError, match="another sweep writes"):
            sweep(jobs(2), out, 1)
        nested.append("refused")

    sweep(jobs(2), out, 1, again)
    assert nested and len(read_records(out)) == 2


def test_a_worker_that_dies_stops_the_sweep_and_keeps_what_is_done(
    tmp_path: Path, quick: None
) -> None:
    out = tmp_path / "runs.jsonl"
    with pytest.raises(InputError, match="out of memory"):
        sweep([*jobs(3), replace(jobs(1)[0], train_run="large", seed=99), *jobs(5)[3:]], out, 1)
    assert [each["train_run"] for each in read_records(out)] == ["run-0", "run-1", "run-2"]


def test_a_sweep_makes_a_table(tmp_path: Path, quick: None) -> None:
    sweep(jobs(3), tmp_path / "runs.jsonl", 1)
    assert write_runs(tmp_path / "runs.jsonl", tmp_path / "runs.csv") == 6
    runs = load_runs(tmp_path / "runs.csv")
    assert runs.domains == MULTIMODAL.domains and runs.targets == ("prose", "code")
    assert len(set(runs.train_run)) == 3 and set(runs.seed) == {"0", "1", "2"}
    assert set(runs.tokens) == {10_240, 20_480}


def test_tables_of_mixed_corpora_are_refused(tmp_path: Path, quick: None) -> None:
    out = tmp_path / "runs.jsonl"
    sweep(jobs(2), out, 1)
    records = read_records(out)
    records[0]["corpus"] = "other"
    out.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    with pytest.raises(InputError, match="does not make one table"):
        write_runs(out, tmp_path / "runs.csv")


def test_a_sweep_trains_what_the_trainer_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_cache(synthetic(), tmp_path / "cache", monkeypatch)
    job = TrainingJob("one", "multimodal", "S0", 3, (20_480,), EVEN)
    sweep([job], tmp_path / "runs.jsonl", 1)
    (swept,) = read_records(tmp_path / "runs.jsonl")
    alone = record(job)
    for each in (*swept["points"], *alone["points"]):
        each.pop("cpu_seconds")
    for mine, other in zip(
        swept["points"], alone["points"], strict=True
    ):  # threads add up in another order
        assert mine.pop("loss") == pytest.approx(other.pop("loss"), rel=1e-3)
    assert swept == alone


def test_the_command_trains_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_in_cache(synthetic(), tmp_path, monkeypatch)
    words = "pocket train --setting multimodal --params-size S0 --tokens 20k --seed 3 --mixture"
    assert main([*words.split(), "prose=.4,code=.3,speech=.2,image=.1"]) == 0
    path = tmp_path / "row.csv"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    runs = load_runs(path)
    assert runs.mixture.tolist() == [[0.4, 0.3, 0.2, 0.1]] and runs.params.tolist() == [
        SIZES["S0"].params
    ]
    assert main([*words.split(), "prose=.4,poems=.6"]) == 2
    assert "the weights are not a mixture" in capsys.readouterr().err


def test_plans_are_balanced_and_come_back_from_their_file(tmp_path: Path) -> None:
    jobs = plan("multimodal", synthetic())
    assert len({job.train_run for job in jobs}) == len(jobs)
    for size in ("S0", "S1", "S2", "S3"):
        assert len({job.mixture for job in jobs if job.size == size}) >= 24
    aside = {job.mixture for job in jobs if job.hold_out in ("mixture", "both")}
    assert len(aside) == 5
    assert {job.hold_out for job in jobs if job.size == "S4"} == {"size", "both"}
    assert aside <= {job.mixture for job in jobs if job.size == "S4"}
    again = {(job.mixture, job.size) for job in jobs if job.seed}
    assert len(again) == 4 and {job.seed for job in jobs} == {0, 1, 2}
    write_plan(jobs, tmp_path / "plan.csv")
    assert read_plan(tmp_path / "plan.csv") == jobs


def test_mixtures_are_mixtures() -> None:
    named = mixtures(synthetic())
    weights = np.stack([*named.values()])
    assert len(np.unique(weights, axis=0)) >= 24  # natural is uniform in a synthetic corpus
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert weights.min() >= FLOOR


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": "S9"}, "unknown size"),
        ({"weights": {"prose": 1.2, "code": -0.2, "speech": 0.0, "image": 0.0}}, "not a mixture"),
        ({"tokens": ()}, "has no tokens"),
        ({"setting": "audio"}, "unknown setting"),
    ],
)
def test_wrong_plans_are_refused(tmp_path: Path, change: dict[str, object], words: str) -> None:
    write_plan([replace(jobs(1)[0], **change)], tmp_path / "plan.csv")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        read_plan(tmp_path / "plan.csv")
