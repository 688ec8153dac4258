"""`parallel_map`: the same task for many items, here or wherever an executor runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
)
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from multiprocessing import get_context
from typing import Any

from bayesmix.errors import WorkerError, warn
from bayesmix.runtime.compute import keep_compiled_programs

ATTEMPTS = 2
"""Number of times that an item is given to an executor whose workers die."""
NAMED = 5
"""Number of lost items that an error names."""


def parallel_map[Item, Result](
    task: Callable[[Item], Result],
    items: Sequence[Item],
    executor: Executor | None = None,
    on_result: Callable[[Result], object] = lambda result: None,
    names: Sequence[str] = (),
) -> list[Result]:
    """Results of a task for every item, in the order of the items.

    They are the same with any executor or none. Workers share the folder of compiled programs with
    this process. An item whose worker died is submitted once more where the executor still takes
    work, with a warning; the first error, or Ctrl-C, cancels the tasks that have not begun.

    Args:
        task: function of one item; for workers in other processes it must pickle, as a function of
            a module does, or a `functools.partial` of one.
        items: arguments of the tasks; they must pickle, too.
        executor: executor of the tasks; None for this thread, one item after the other.
        on_result: called with every result as it comes, in any order.
        names: names of the items in errors; their numbers, from 1, when not given.

    Raises:
        WorkerError: workers died, or the scheduler was lost, and items remain without a result.
    """
    results: dict[int, Result] = {}

    def keep(position: int, result: Result) -> None:
        results[position] = result
        on_result(result)

    if executor is None:
        for position, item in enumerate(items):
            keep(position, task(item))
        return list(results.values())
    call, reason = partial(_there, _folder(), task), None
    remaining = list(range(len(items)))
    for attempt in range(ATTEMPTS):
        previous, retries = reason, remaining
        reason = _round(
            executor, call, {position: items[position] for position in remaining}, attempt, keep
        )
        remaining = [position for position in remaining if position not in results]
        if not remaining:
            if attempt:
                warn(
                    f"done at the second attempt: {_named(retries, names)}. {_said(previous)}",
                    RuntimeWarning,
                )
            return [results[position] for position in range(len(items))]
        # no scheduler: Dask would take work that it never answers
        if isinstance(reason, CancelledError):
            break
    raise WorkerError(
        f"{len(remaining)} of {len(items)} tasks have no result, {len(results)} are done. Lost:"
        f" {_named(remaining, names)}. {_said(reason)}. A worker died, often for want of memory, or"
        " the scheduler was lost. Give each worker more memory, or run fewer at once; start a pool"
        ' of processes under `if __name__ == "__main__":`; then call again with a new executor.'
    ) from reason


def processes(count: int) -> AbstractContextManager[Executor | None]:
    """Executor of `count` new processes of this machine, as a context manager that closes it.

    For one process the context is None, which stands for this process. The processes are spawned:
    JAX has threads, which a fork does not survive.
    """
    return ProcessPoolExecutor(count, get_context("spawn")) if count > 1 else nullcontext()


def _round[Result](
    executor: Executor,
    call: Callable[..., Result],
    items: dict[int, Any],
    attempt: int,
    keep: Callable[[int, Result], None],
) -> BaseException | None:
    """Submit every item, and wait for all or until the scheduler is lost.

    Returns:
        The error of the last item that was lost, if any.
    """
    futures: dict[Future[Result], int] = {}
    reason: BaseException | None = None
    try:
        for position, item in items.items():
            # with the attempt it is another task, else Dask would return the failure it has stored
            try:
                futures[executor.submit(call, item, attempt)] = position
            except Exception as error:
                # broken and shut-down pools: RuntimeError
                if not (isinstance(error, RuntimeError) or _lost(error)):
                    raise
                reason = error
                break
        for future in as_completed(futures):
            try:
                result = future.result()
            except BaseException as error:
                if not _lost(error):
                    raise
                reason = error
                if isinstance(error, CancelledError):
                    break
            else:
                keep(futures[future], result)
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return reason


def _there(folder: str | None, task: Callable[[Any], Any], item: Any, attempt: int) -> Any:
    """Run the task in a worker, which shares the folder of compiled programs of the caller."""
    if folder:
        keep_compiled_programs(folder)
    return task(item)


def _folder() -> str | None:
    import jax

    return jax.config.jax_compilation_cache_dir


def _lost(error: BaseException) -> bool:
    """Whether an error is one of the worker or its scheduler, and not of the task.

    Dask's errors are recognised by their package.
    """
    ours = (BrokenExecutor, CancelledError)
    return isinstance(error, ours) or type(error).__module__.partition(".")[0] == "distributed"


def _said(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": .")


def _named(positions: Sequence[int], names: Sequence[str]) -> str:
    called = [
        names[position] if names else f"number {position + 1}" for position in positions[:NAMED]
    ]
    return ", ".join(called) + (
        f" and {len(positions) - NAMED} more" if len(positions) > NAMED else ""
    )
