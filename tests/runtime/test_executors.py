"""Fits, backtests, comparisons and replays by executors equal those of this process exactly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import pytest

import bayesmix as bm
from bayesmix.campaign.strategies import AtRandom, SpaceFilling
from bayesmix.errors import WorkerError
from bayesmix.model.noise import StudentT
from bayesmix.model.simulate import simulate
from bayesmix.runtime.parallel import parallel_map, processes
from tests.posteriors import grid, truth_of
from tests.runtime import tasks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::bayesmix.errors.DiagnosticsWarning"),  # few draws
]
MODEL = bm.Model(bm.laws.Additive(), noise=StudentT(), discrepancy=None)
SHORT: dict[str, Any] = {"chains": 2, "warmup": 50, "draws": 50}


@pytest.fixture(scope="module")
def runs() -> bm.Runs:
    """Four mixtures at four sizes, two targets."""
    true = bm.Model(bm.laws.Additive())
    return simulate(true, grid(4), targets=("chat", "proofs"), parameters=truth_of(true), seed=3)


def cluster(**settings: Any) -> distributed.LocalCluster:
    return distributed.LocalCluster(
        processes=True,
        n_workers=2,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
        **settings,
    )


@pytest.fixture(scope="module", params=["processes", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "processes":
        with processes(2) as pool:
            assert pool is not None
            yield pool
    else:
        with cluster() as local, distributed.Client(local) as client:
            yield client.get_executor()


def same(one: bm.Posterior, other: bm.Posterior) -> None:
    for mine, theirs in (
        (one.draws, other.draws),
        (one.stats, other.stats),
        (one.drift, other.drift),
    ):
        assert mine.keys() == theirs.keys()
        for name, values in mine.items():
            assert values.dtype == theirs[name].dtype, name
            np.testing.assert_array_equal(values, theirs[name], strict=True)


@pytest.fixture(scope="module")
def serial(runs: bm.Runs) -> bm.Posterior:
    return bm.fit(MODEL, runs, seed=5, extensions=0, **SHORT)


def test_a_fit_is_the_same(runs: bm.Runs, serial: bm.Posterior, executor: Executor) -> None:
    same(bm.fit(MODEL, runs, seed=5, extensions=0, executor=executor, **SHORT), serial)


def test_chains_that_go_on_are_the_same(runs: bm.Runs, executor: Executor) -> None:
    """They go on inside the task of a target.

    4 × 200 draws could pass the diagnostics, and do not after so short a warm-up.
    """
    few = {"chains": 4, "warmup": 50, "draws": 200, "extensions": 1}
    one = runs.only(("chat",))
    same(bm.fit(MODEL, one, executor=executor, **few), bm.fit(MODEL, one, **few))


def test_a_backtest_is_the_same(runs: bm.Runs, executor: Executor) -> None:
    mine, theirs = (
        bm.backtest(MODEL, runs, steps=2, executor=e, **SHORT) for e in (executor, None)
    )
    np.testing.assert_array_equal(mine.prediction.draws, theirs.prediction.draws)
    assert str(mine) == str(theirs) and mine.as_dict() == theirs.as_dict()


def test_a_comparison_is_the_same(runs: bm.Runs, serial: bm.Posterior, executor: Executor) -> None:
    blind = bm.fit(
        bm.Model(bm.laws.Chinchilla(), noise=StudentT(), discrepancy=None),
        runs,
        extensions=0,
        **SHORT,
    )
    laws = {"additive": serial, "chinchilla": blind}
    mine, theirs = (
        bm.compare(laws, group_by="mixture", folds=2, executor=e, **SHORT) for e in (executor, None)
    )
    assert mine.left_out is not None and theirs.left_out is not None
    np.testing.assert_array_equal(mine.left_out, theirs.left_out)
    assert mine.weights == theirs.weights and mine.failed == theirs.failed


def test_replays_are_the_same(runs: bm.Runs, executor: Executor) -> None:
    largest = runs.params == runs.params.max()
    strategies = (AtRandom(), SpaceFilling())
    mine, theirs = (
        bm.replays(
            MODEL,
            runs.take(~largest),
            runs.take(largest),
            strategies,
            seeds=(0, 1),
            initial=30,
            count=31,
            executor=e,
        )
        for e in (executor, None)
    )
    assert mine.traces == theirs.traces
    assert [(t.strategy, t.seed) for t in mine.traces] == [
        (s.name, i) for i in (0, 1) for s in strategies
    ]


def test_dask_gives_the_work_of_a_killed_worker_to_another(
    runs: bm.Runs, serial: bm.Posterior
) -> None:
    killed = []

    def kill_one_at_work(client: distributed.Client, pids: dict[str, int]) -> None:
        while not killed:
            busy = [worker for worker, keys in client.processing().items() if keys]
            time.sleep(0.5)
            if busy:
                os.kill(pids[busy[0]], signal.SIGKILL)
                killed.append(busy[0])

    with cluster() as local, distributed.Client(local) as client:
        killer = threading.Thread(
            target=kill_one_at_work, args=(client, client.run(os.getpid)), daemon=True
        )
        killer.start()
        found = bm.fit(MODEL, runs, seed=5, extensions=0, executor=client.get_executor(), **SHORT)
        killer.join(10)
    assert killed
    same(found, serial)


def test_dask_workers_that_die_again_and_again_are_reported(tmp_path: Path) -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        cluster() as local,
        distributed.Client(local) as client,
    ):
        executor = client.get_executor()
        with pytest.raises(WorkerError, match=r"Lost: .*two.*KilledWorker"):
            parallel_map(
                tasks.die_at_two,
                [(tmp_path, x) for x in range(3)],
                executor,
                names=["zero", "one", "two"],
            )
        with pytest.warns(RuntimeWarning, match="second attempt"):
            assert parallel_map(
                tasks.die_once, [(tmp_path / "flag", x) for x in range(3)], executor
            ) == [0, 1, 2]


def test_a_dask_scheduler_that_is_lost_is_reported(tmp_path: Path) -> None:
    file, flag = tmp_path / "scheduler.json", tmp_path / "flag"
    options: tuple[str, ...] = ("--scheduler-file", str(file), "--no-dashboard")
    begin = [sys.executable, "-m"]
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [*begin, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *options],
        **silent,
    )
    worker = subprocess.Popen(
        [*begin, "distributed.cli.dask_worker", "--no-nanny", *options], **silent
    )

    def kill_when_begun() -> None:
        while not flag.exists():
            time.sleep(0.1)
        scheduler.kill()

    try:
        while not file.exists() or not file.read_text():
            assert scheduler.poll() is None
            time.sleep(0.1)
        with distributed.Client(scheduler_file=str(file), timeout="10s") as client:
            client.wait_for_workers(1)
            threading.Thread(target=kill_when_begun, daemon=True).start()
            with pytest.raises(
                WorkerError, match=r"1 of 1 tasks have no result, 0 are done. Lost: number 1"
            ):
                parallel_map(tasks.begin_and_wait, [(flag, 0)], client.get_executor())
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()
