"""`sweep`: train every job of a plan, with one process per core; a sweep can be resumed."""

from __future__ import annotations

import fcntl
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from bayesmix.deprecation import renamed
from bayesmix.errors import InputError
from bayesmix.pocket.plan import TrainingJob
from bayesmix.runs.io import write_table

ALONE = {  # every process computes in one thread
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
}
WORKER = (sys.executable, "-m", "bayesmix.pocket.worker")


def read_records(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Finished runs of a sweep's file, without a last line that was cut short."""
    if not Path(path).is_file():
        return []
    whole, _, _ = Path(path).read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines() if line]


@renamed(said="on_message")
def sweep(
    jobs: Sequence[TrainingJob],
    out: str | os.PathLike[str],
    processes: int | None = None,
    on_message: Callable[[str], None] = lambda _: None,
) -> int:
    """Train the jobs that `out` does not hold yet, and append one JSON line for each as it ends.

    Only this process writes, whole lines, each on disk before the next job of that worker begins;
    so a sweep that is killed loses the runs in progress and nothing else, and the same command goes
    on from there.

    Args:
        jobs: jobs to train, in this order.
        out: path of the file of JSON lines.
        processes: number of parallel processes; default: one for every core.
        on_message: called with a line of text at the start and after every finished run.

    Returns:
        Number of trained runs.

    Raises:
        InputError: another sweep writes to `out`, or a worker failed.
    """
    with _locked(out) as file:
        completed = {entry["train_run"] for entry in read_records(out)}
        todo: queue.SimpleQueue[TrainingJob] = queue.SimpleQueue()
        remaining = [job for job in jobs if job.train_run not in completed]
        for job in remaining:
            todo.put(job)
        on_message(f"{len(completed)} of {len(jobs)} runs are done")
        workers = [_Worker() for _ in range(min(processes or os.cpu_count() or 1, len(remaining)))]
        finished: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threads = [
            threading.Thread(target=worker.serve, args=(todo, finished), daemon=True)
            for worker in workers
        ]
        try:
            for thread in threads:
                thread.start()
            for number in range(len(remaining)):
                record = finished.get()
                if record is None:
                    raise InputError(
                        "a worker of the sweep ended before its run did",
                        expected="a measured run",
                        got="; ".join(
                            worker.last_words() for worker in workers if worker.process.poll()
                        )
                        or "no reason",
                        advice="Finished runs are kept; the same command goes on from there.",
                    )
                file.write(json.dumps(record) + "\n")
                file.flush()
                os.fsync(file.fileno())
                on_message(f"{number + 1}/{len(remaining)} {record['train_run']}")
        finally:
            for worker in workers:
                worker.process.kill()
            for thread, worker in zip(threads, workers, strict=True):
                thread.join()
                worker.close()
    return len(remaining)


def write_runs(path: str | os.PathLike[str], out: str | os.PathLike[str]) -> int:
    """Write the finished runs of a sweep as a table for `load_runs`; return its number of rows.

    Raises:
        InputError: no run is finished, or the runs are of several settings or corpora.
    """
    records = read_records(path)
    kinds = sorted({f"{record['setting']} {record['corpus']}" for record in records})
    if len(kinds) != 1:
        raise InputError(
            f"{path} does not make one table",
            expected="finished runs of one setting on one corpus",
            got=kinds or "no finished run",
            advice="Sweep each setting into its own file.",
        )
    records.sort(key=lambda record: (record["params"], record["mixture"], record["seed"]))
    columns = table_columns(records)
    write_table(columns, out)
    return len(columns["run_id"])


def table_columns(records: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Columns of a table of runs, with one row for each measured point."""
    rows = [_row(record, point) for record in records for point in record["points"]]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _row(record: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    identity = {name: record[name] for name in ("train_run", "seed", "params")}
    return {
        "run_id": f"{record['train_run']}-{point['tokens'] // 1000}k",
        **identity,
        "tokens": point["tokens"],
        "tokens_planned": point["tokens"],  # the learning rate had fallen to 0 there
        **{f"weight.{name}": value for name, value in record["weights"].items()},
        **{f"loss.{name}": round(value, 5) for name, value in point["loss"].items()},
        **{name: record[name] for name in ("size", "mixture", "hold_out")},
        **{name: point[name] for name in ("flops", "cpu_seconds")},
    }


class _Worker:
    """A process that trains one job at a time."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            WORKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | ALONE,
        )

    def serve(
        self,
        todo: queue.SimpleQueue[TrainingJob],
        finished: queue.SimpleQueue[dict[str, Any] | None],
    ) -> None:
        """Give jobs to the process until none is left; None stands for a process that has ended."""
        assert self.process.stdin and self.process.stdout
        while True:
            try:
                job = todo.get_nowait()
            except queue.Empty:
                return
            try:
                self.process.stdin.write(json.dumps(asdict(job)) + "\n")
                self.process.stdin.flush()
                finished.put(json.loads(self.process.stdout.readline()))
            except (OSError, ValueError):
                self.process.wait()
                finished.put(None)
                return

    def last_words(self) -> str:
        """Last line of the process on standard error."""
        assert self.process.stderr
        return (self.process.stderr.read().strip().splitlines() or ["no word"])[-1]

    def close(self) -> None:
        """Close the pipes of a process that has ended."""
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            with suppress(OSError):  # input that the process did not read cannot be flushed
                pipe.close()


@contextmanager
def _locked(path: str | os.PathLike[str]) -> Iterator[IO[str]]:
    """Open the file for appending, by this process only, without a last line that was cut short."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"another sweep writes to {path}",
                expected="one sweep for each file",
                got="a file that is locked",
                advice="Wait for it, or choose another --out.",
            ) from None
        content = Path(path).read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)
        yield file
