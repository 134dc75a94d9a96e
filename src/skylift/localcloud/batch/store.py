"""Everything that Batch knows, in memory and on disk, in tables of its own in ECS's file (SQLite, WAL).

Reads never touch the disk. What a call has accepted is written before the answer. What follows from ECS's records (that
an attempt runs or has ended) is written soon after, many changes in one transaction: a crash in between costs nothing,
because ECS's own record tells it again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from skylift.core.errors import DiskFull, Unavailable
from skylift.core.numbers import natural
from skylift.localcloud.batch.model import ArrayJob, BatchJob, SubmittedJob, packed, unpack
from skylift.localcloud.events import INSERT, OUTBOX
from skylift.localcloud.ports import Document

_log = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS batch_things (kind TEXT, name TEXT, body TEXT NOT NULL,
    PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch_submissions (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch_jobs (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
"""
_STATEMENTS = {
    "thing": "INSERT OR REPLACE INTO batch_things VALUES (?, ?, ?)",
    "submission": "INSERT OR REPLACE INTO batch_submissions VALUES (?, ?)",
    "job": "INSERT OR REPLACE INTO batch_jobs VALUES (?, ?)",
    "event": INSERT,
    "no submission": "DELETE FROM batch_submissions WHERE id = ?",
    "no job": "DELETE FROM batch_jobs WHERE id = ?",
    "no children": "DELETE FROM batch_jobs WHERE id > ? AND id < ?",
    "no thing": "DELETE FROM batch_things WHERE kind = ? AND name = ?",
}
ENVIRONMENT, QUEUE, DEFINITION, POLICY = "environment", "queue", "definition", "policy"


class BatchStore:
    """An in-memory store, backed by disk.

    Attributes:
        environments: compute environments by name.
        queues: job queues by name.
        policies: scheduling policies by name.
        definitions: revisions of job definitions by ARN, in no order.
        jobs: singles and arrays' parents by id, in the order of acceptance; children are in their array.
    """

    def __init__(self, path: Path) -> None:
        self.environments: dict[str, Document] = {}
        self.queues: dict[str, Document] = {}
        self.policies: dict[str, Document] = {}
        self.definitions: dict[str, Document] = {}
        self.jobs: dict[str, BatchJob] = {}
        self._things = {
            ENVIRONMENT: self.environments,
            QUEUE: self.queues,
            DEFINITION: self.definitions,
            POLICY: self.policies,
        }
        self._changed: dict[str, BatchJob] = {}
        self._texts: list[str] = []
        self._path = path
        self._disk = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._disk.execute("PRAGMA journal_mode=WAL")
        self._disk.execute("PRAGMA synchronous=NORMAL")
        self._disk.executescript(_SCHEMA + OUTBOX)
        self._load()
        self.last_number = max((job.submission.number for job in self.jobs.values()), default=0)

    def save_thing(self, kind: str, name: str, document: Document) -> None:
        """Writes a compute environment, queue, policy or job definition (under its ARN).

        Raises:
            Unavailable: the disk is full.
        """
        self._write({"thing": [(kind, name, _text(document))]})
        self._things[kind][name] = document

    def remove_thing(self, kind: str, name: str) -> None:
        """Forgets a compute environment, queue or policy. Raises ``Unavailable`` like ``save_thing``."""
        self._write({"no thing": [(kind, name)]})
        self._things[kind].pop(name, None)

    def accept(self, job: BatchJob) -> None:
        """Writes a new submission with its job; it is known when it is written. Raises ``Unavailable`` like
        ``save_thing``."""
        self._write({"submission": [_submission_row(job.submission)], "job": [_job_row(job)]})
        self.jobs[job.submission.id] = job

    def save_submission(self, submission: SubmittedJob) -> None:
        """Writes a changed submission (its tags). Raises ``Unavailable``."""
        self._write({"submission": [_submission_row(submission)]})

    def record(self, job: BatchJob) -> None:
        """Writes one changed job. Raises ``Unavailable``: then earlier changes are still to be written."""
        self._write({"job": [_job_row(job)]})

    def note(self, job: BatchJob) -> None:
        """Remembers that a job has changed; ``flush`` writes it."""
        self._changed[job.id] = job

    def note_events(self, texts: Iterable[str]) -> None:
        """Remembers texts for EventBridge (``events.Events``); ``flush`` puts them into the outbox."""
        self._texts.extend(texts)

    def flush(self) -> None:
        """Writes all changed jobs with their events in one transaction. Raises ``Unavailable``: then they are written
        later."""
        if self._changed or self._texts:
            rows = [_job_row(job) for job in self._changed.values()]
            self._write({"job": rows, "event": [(text,) for text in self._texts]})
            self._changed.clear()
            self._texts.clear()

    def forget(self, jobs: Sequence[BatchJob]) -> None:
        """Removes jobs; arrays with their children. Raises ``Unavailable`` like ``save_thing``."""
        names = [(job.submission.id,) for job in jobs]
        ranges = [(f"{job.submission.id}:", f"{job.submission.id};") for job in jobs if isinstance(job, ArrayJob)]
        self._write({"no submission": names, "no job": names, "no children": ranges})
        for (name,) in names:
            self.jobs.pop(name, None)

    def find(self, reference: str) -> BatchJob | None:
        """A job by id or ARN; a child by ``id:index``."""
        name, _, index = reference.rsplit("/", 1)[-1].partition(":")
        job = self.jobs.get(name)
        if not index or job is None:
            return job
        number = natural(index)
        if not isinstance(job, ArrayJob) or number is None or number >= job.size:
            return None
        return job.child(number)

    def close(self) -> None:
        """Writes what is left, if the disk accepts it, and closes the file. Safe to call twice."""
        with contextlib.suppress(Unavailable, sqlite3.ProgrammingError):
            self.flush()
        self._disk.close()

    def _write(self, rows: dict[str, Iterable[tuple[str, ...]]]) -> None:
        try:
            self._disk.execute("BEGIN IMMEDIATE")
            for kind, values in rows.items():
                self._disk.executemany(_STATEMENTS[kind], values)
            self._disk.execute("COMMIT")
        except sqlite3.OperationalError as error:
            with contextlib.suppress(sqlite3.OperationalError):  # SQLite may have rolled back by itself
                self._disk.execute("ROLLBACK")
            raise self._refused(error) from error

    def _refused(self, error: sqlite3.OperationalError) -> DiskFull:
        return DiskFull(f"Batch cannot write to {self._path}: {error}. Free some space; then it goes on.")

    def _load(self) -> None:
        for kind, name, body in self._disk.execute("SELECT kind, name, body FROM batch_things"):
            self._things[kind][name] = json.loads(body)
        submissions = [
            SubmittedJob(**json.loads(body)) for _, body in self._disk.execute("SELECT * FROM batch_submissions")
        ]
        for submission in sorted(submissions, key=lambda one: one.number):
            self.jobs[submission.id] = ArrayJob(submission) if submission.size else BatchJob(submission)
        for name, body in self._disk.execute("SELECT id, body FROM batch_jobs"):
            self._load_job(name, json.loads(body))

    def _load_job(self, name: str, body: Document) -> None:
        own, _, index = name.partition(":")
        job = self.jobs[own]
        if index:
            assert isinstance(job, ArrayJob)
            child = BatchJob(job.submission, int(index))
            unpack(child, body)
            job.children[child.index] = child
            job.counts[child.status] = job.counts.get(child.status, 0) + 1
        else:
            unpack(job, body)


def _submission_row(submission: SubmittedJob) -> tuple[str, str]:
    return submission.id, _text(asdict(submission))


def _job_row(job: BatchJob) -> tuple[str, str]:
    return job.id, _text(packed(job))


def _text(value: Document) -> str:
    return json.dumps(value, separators=(",", ":"))
