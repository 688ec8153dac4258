"""The same task for many items: their order, errors, Ctrl-C and workers that die."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from pathlib import Path
from typing import Any

import pytest

from bayesmix.errors import WorkerError
from bayesmix.runtime import parallel
from bayesmix.runtime.parallel import parallel_map, processes
from tests.runtime import tasks


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with processes(2) as executor:
        assert executor is not None
        yield executor


class Faulty(Executor):
    """Runs at once, but the first tasks end with given errors."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.submitted: list[Any] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted.append(args)
        future: Future[Any] = Future()
        if not self.errors:
            future.set_result(fn(*args, **kwargs))
        elif isinstance(error := self.errors.pop(0), CancelledError):
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_exception(error)
        return future


class Closed(Executor):
    """Takes one task, and no more."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.future: Future[Any] = Future()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.error and self.future.done():
            raise self.error
        self.future.set_result(fn(*args))
        return self.future


def test_results_come_in_the_order_of_the_items(pool: Executor) -> None:
    items, told = list(range(8)), []
    assert (
        parallel_map(tasks.square, items, pool, told.append)
        == parallel_map(tasks.square, items)
        == [x * x for x in items]
    )
    assert sorted(told) == [x * x for x in items]
    assert parallel_map(tasks.square, [], pool) == []


def test_the_first_error_is_raised_and_cancels_the_rest(pool: Executor, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="item 0"):
        parallel_map(tasks.refuse, [(tmp_path, x) for x in range(40)], pool)
    assert parallel_map(tasks.square, [3], pool) == [9]  # the pool is free again
    assert len(list(tmp_path.iterdir())) < 20


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, also where tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_cancels_the_rest(pool: Executor, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        parallel_map(
            tasks.refuse,
            [(tmp_path, x) for x in range(1, 41)],
            pool,
            lambda _: os.kill(os.getpid(), signal.SIGINT),
        )
    assert parallel_map(tasks.square, [3], pool) == [9]
    assert len(list(tmp_path.iterdir())) < 20


def test_a_worker_that_dies_is_reported_with_what_was_lost(tmp_path: Path) -> None:
    flag, told = tmp_path / "the others are done", []

    def tell(x: int) -> None:
        told.append(x)
        if len(told) == 2:
            flag.touch()

    with processes(2) as executor, pytest.raises(WorkerError, match="scheduler was lost") as raised:
        parallel_map(
            tasks.die_at_two,
            [(flag, x) for x in range(3)],
            executor,
            tell,
            names=["zero", "one", "two"],
        )
    assert "1 of 3 tasks have no result, 2 are done. Lost: two. BrokenProcessPool" in str(
        raised.value
    )
    assert isinstance(raised.value.__cause__, BrokenExecutor)


def test_an_item_whose_worker_died_is_given_out_once_more() -> None:
    executor = Faulty(BrokenExecutor("gone"))
    with pytest.warns(RuntimeWarning, match=r"second attempt: number 1. BrokenExecutor: gone"):
        assert parallel_map(tasks.square, [2, 3], executor) == [4, 9]
    # no executor can take the second for the first
    assert len({args[-2:] for args in executor.submitted}) == 3
    with pytest.raises(
        WorkerError, match=r"1 of 2 tasks have no result, 1 are done. Lost: number 1"
    ):
        parallel_map(
            tasks.square,
            [2, 3],
            Faulty(BrokenExecutor("gone"), BrokenExecutor("gone"), BrokenExecutor("gone")),
        )


def test_a_lost_scheduler_is_given_nothing_more() -> None:
    executor = Faulty(CancelledError())
    with pytest.raises(WorkerError, match="Lost: number 1"):
        parallel_map(tasks.square, [2], executor)
    assert len(executor.submitted) == 1


def test_an_executor_that_takes_no_more_is_reported() -> None:
    with pytest.raises(
        WorkerError,
        match=r"2 of 3 tasks have no result, 1 are done. Lost: b, c. RuntimeError: shut",
    ):
        parallel_map(
            tasks.square, [1, 2, 3], Closed(RuntimeError("shut down")), names=["a", "b", "c"]
        )
    with pytest.raises(TypeError, match="pickle"):
        parallel_map(tasks.square, [1, 2, 3], Closed(TypeError("cannot pickle")))


def test_many_lost_items_are_counted() -> None:
    errors = [BrokenExecutor("gone")] * 14
    with pytest.raises(WorkerError, match=r"Lost: number 1, .*, number 5 and 2 more"):
        parallel_map(tasks.square, list(range(7)), Faulty(*errors))


def test_workers_share_the_folder_of_compiled_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setattr(parallel, "_folder", lambda: str(tmp_path))
    with processes(2) as executor:
        assert parallel_map(tasks.folder_of_programs, [0], executor) == [str(tmp_path)]
