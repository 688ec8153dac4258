"""`spread`: the same task for many items, here or wherever an executor runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from typing import Any

from bayesmix.compute import keep_compiled_programs
from bayesmix.errors import WorkerError

ATTEMPTS = 2
"""How often an item is given to an executor whose workers die."""


def spread[Item, Result](
    task: Callable[[Item], Result],
    items: Sequence[Item],
    executor: Executor | None = None,
    done: Callable[[Result], object] = lambda result: None,
) -> list[Result]:
    """The result of every item, in the order of the items, the same with any executor or none.

    Workers share the folder of compiled programs with this process. An item whose worker died is given out once more
    where the executor still takes work; the first error, or Ctrl-C, cancels what has not begun.

    Args:
        task: what is done; for workers in other processes it must pickle, as a function of a module does, or a
            `functools.partial` of one.
        items: each the argument of one task; they must pickle, too.
        executor: where to run; None for this thread, one item after the other.
        done: is told every result as it comes, in any order.

    Raises:
        WorkerError: workers died, or the scheduler was lost, and items remain without a result.
    """
    if executor is None:
        found = []
        for item in items:
            found.append(task(item))
            done(found[-1])
        return found
    results: dict[int, Result] = {}
    folder, waiting, why = _folder(), list(range(len(items))), None
    for _ in range(ATTEMPTS):
        futures: dict[Future[Result], int] = {}
        try:
            for position in waiting:
                futures[executor.submit(_there, folder, task, items[position])] = position
        except RuntimeError as error:  # a broken executor refuses what is left
            why = error
        try:
            for future in as_completed(futures):
                try:
                    results[futures[future]] = future.result()
                except (Exception, CancelledError) as error:
                    if not _lost(error):
                        raise
                    why = error
                else:
                    done(results[futures[future]])
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        waiting = [position for position in waiting if position not in results]
        if not waiting:
            return [results[position] for position in range(len(items))]
    raise WorkerError(
        f"{len(waiting)} of {len(items)} tasks have no result, the first is number {waiting[0]}: {type(why).__name__}: "
        f"{why}. A worker died, often because it had too little memory, or its scheduler was lost. "
        "Give each worker more memory, or run fewer at once, and start again with a new executor."
    ) from why


def _there(folder: str | None, task: Callable[[Any], Any], item: Any) -> Any:
    """The task in a worker, which keeps its compiled programs where the process that asked keeps them."""
    if folder:
        keep_compiled_programs(folder)
    return task(item)


def _folder() -> str | None:
    import jax

    return jax.config.jax_compilation_cache_dir


def _lost(error: BaseException) -> bool:
    """Whether an error is about the worker or its scheduler, not of the task; Dask's own are known by their home."""
    ours = (BrokenExecutor, CancelledError)
    return isinstance(error, ours) or type(error).__module__.partition(".")[0] == "distributed"
