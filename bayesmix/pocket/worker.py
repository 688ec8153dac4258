"""One process of a sweep: trains jobs and returns their results.

It reads jobs from standard input and writes records to standard output, one JSON line each.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bayesmix.pocket.plan import TrainingJob


def main() -> None:
    """Answer every line of standard input until it ends."""
    with _one_core():
        import jax

        jax.devices()  # starts the threads of JAX
    from bayesmix.pocket.plan import TrainingJob

    for line in sys.stdin:
        print(json.dumps(record(TrainingJob(**json.loads(line)))), flush=True)


def record(job: TrainingJob) -> dict[str, Any]:
    """Train a job and return the record for its line of the sweep's file."""
    from bayesmix.pocket.corpora import load_corpus
    from bayesmix.pocket.plan import checked_weights
    from bayesmix.pocket.sizes import find_size
    from bayesmix.pocket.train import train

    corpus, size = load_corpus(job.setting), find_size(job.size)
    points = train(corpus, size, checked_weights(job.weights, job.setting), job.tokens, job.seed)
    return {
        "train_run": job.train_run,
        "setting": job.setting,
        "size": job.size,
        "params": size.params,
        "seed": job.seed,
        "mixture": job.mixture,
        "hold_out": job.hold_out,
        "weights": dict(job.weights),
        "corpus": corpus.fingerprint,
        "points": [
            {
                "tokens": point.tokens,
                "loss": dict(point.loss),
                "flops": size.flops(corpus.vocabulary, point.tokens),
                "cpu_seconds": round(point.cpu_seconds, 2),
            }
            for point in points
        ],
    }


@contextmanager
def _one_core() -> Iterator[None]:
    """Restrict libraries that start here to one core, so that they start one thread.

    Afterwards any core may be used.
    """
    if not os.path.isdir("/proc/self/task"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cores)


if __name__ == "__main__":
    main()
