"""`Ledger`: trials of a campaign and their results, in one crash-safe SQLite file.

The file survives a process that is killed at any point. Events are never changed or removed: the
state of a campaign is the sum of its events. Every event is one transaction that takes the write
lock before it reads, so processes cannot decide on the same state twice.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayesmix.campaign.trials import Job, State, Status, Trial
from bayesmix.errors import InputError
from bayesmix.runtime.files import atomic_write

SCHEMA = 1
APPLICATION = 0x62617965  # "baye", the application id in the header of the file
PATIENCE = 120.0  # seconds to wait for another process
END = ("told", "failed", "abandoned")

TABLES = f"""
CREATE TABLE campaign (spec TEXT NOT NULL);
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    trial INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('asked', 'told', 'failed', 'abandoned')),
    body TEXT NOT NULL
);
CREATE UNIQUE INDEX asked_once ON event (trial) WHERE kind = 'asked';
CREATE UNIQUE INDEX ended_once ON event (trial) WHERE kind <> 'asked';
CREATE TRIGGER no_change BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'events are not changed'); END;
CREATE TRIGGER no_removal BEFORE DELETE ON event
    BEGIN SELECT RAISE(ABORT, 'events are not removed'); END;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA};
"""


class Changed(Exception):
    """Another process wrote first."""


@dataclass(frozen=True)
class Ledger:
    """File of a campaign.

    Args:
        path: path of the file.
    """

    path: Path

    @classmethod
    def create(cls, path: str | os.PathLike[str], spec: dict[str, Any]) -> Ledger:
        """Create the file; it appears whole or not at all.

        Raises:
            InputError: there is a file already, or it cannot be written.
        """
        target = Path(path)
        if target.exists():
            raise InputError(
                f"cannot begin a campaign in {target}",
                expected="a new file",
                got="a file that exists",
                advice="Choose another name; a ledger is never overwritten.",
            )
        with atomic_write(target) as draft:
            connection = sqlite3.connect(draft, isolation_level=None)
            try:
                connection.executescript("BEGIN;" + TABLES)
                connection.execute(
                    "INSERT INTO campaign VALUES (?)", (json.dumps(spec, sort_keys=True),)
                )
                connection.execute("COMMIT")
            finally:
                connection.close()
        return cls(target)

    @property
    def spec(self) -> dict[str, Any]:
        """Settings of the campaign, as given to `create`."""
        with self._open() as connection:
            return json.loads(connection.execute("SELECT spec FROM campaign").fetchone()[0])

    def state(self) -> State:
        """State of the campaign after all events so far."""
        with self._open() as connection:
            return _state(connection)

    def ask(self, jobs: Sequence[Job], version: int) -> tuple[Trial, ...]:
        """Register runs, all or none, if nothing happened since `version`.

        Raises:
            Changed: another process wrote first; read the state again and choose again.
        """
        with self._write() as connection:
            state = _state(connection)
            if state.version != version:
                raise Changed
            trials = [
                Trial(number, job, "pending", {})
                for number, job in enumerate(jobs, start=state.next_number)
            ]
            for trial in trials:
                _append(connection, trial.number, "asked", trial.job.as_dict())
            return tuple(trials)

    def end(self, trial: str, status: Status, result: dict[str, Any]) -> Trial:
        """Close a pending trial.

        Raises:
            InputError: there is no such trial, or it has ended already.
        """
        with self._write() as connection:
            trials = {t.id: t for t in _state(connection).trials}
            if trial not in trials:
                raise InputError(
                    "there is no such trial",
                    expected=f"one of {list(trials) or 'none yet'}",
                    got=trial,
                    advice="`bayesmix campaign status` lists them.",
                )
            if trials[trial].status != "pending":
                raise InputError(
                    f"{trial} has ended already",
                    expected="a pending trial",
                    got=trials[trial].status,
                    advice="Events are never changed; what was told stays.",
                )
            _append(connection, trials[trial].number, status, result)
            return Trial(trials[trial].number, trials[trial].job, status, result)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if not self.path.is_file():
            raise InputError(
                f"cannot open {self.path}",
                expected="a campaign's ledger",
                got="no such file",
                advice="Begin one with `bayesmix campaign init`.",
            )
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        try:
            self._require_ours(connection)
            # the removal of the journal is synced to disk too
            connection.execute("PRAGMA synchronous = EXTRA")
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _require_ours(self, connection: sqlite3.Connection) -> None:
        try:
            (application,), (schema,) = (
                connection.execute(f"PRAGMA {name}").fetchone()
                for name in ("application_id", "user_version")
            )
        except sqlite3.DatabaseError as error:
            application, schema = 0, str(error)
        if (application, schema) != (APPLICATION, SCHEMA):
            raise InputError(
                f"{self.path} is no ledger of this version",
                expected=f"a campaign of schema {SCHEMA}",
                got=f"schema {schema}" if application == APPLICATION else "another file",
                advice="Check the path.",
            )


def _append(connection: sqlite3.Connection, trial: int, kind: str, body: dict[str, Any]) -> None:
    row = (time.time(), trial, kind, json.dumps(body, sort_keys=True, allow_nan=False))
    connection.execute("INSERT INTO event (time, trial, kind, body) VALUES (?, ?, ?, ?)", row)


def _state(connection: sqlite3.Connection) -> State:
    rows = connection.execute("SELECT trial, kind, body FROM event ORDER BY id").fetchall()
    jobs = {trial: Job.from_dict(json.loads(body)) for trial, kind, body in rows if kind == "asked"}
    ends: dict[int, tuple[Any, dict[str, Any]]] = {
        trial: (kind, json.loads(body)) for trial, kind, body in rows if kind in END
    }
    trials = [(n, job, *ends.get(n, ("pending", {}))) for n, job in jobs.items()]
    return State(len(rows), tuple(Trial(*trial) for trial in trials))
