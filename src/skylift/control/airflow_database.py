"""What the control plane asks and tells an environment's Airflow in its metadata database, about Celery workers.

One connection for each environment stays open: the questions come every second. The tables are those of Airflow 3.1 to
3.3; ``celery_taskmeta`` is Celery's.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg

from skylift.control.postgres import Connection, PostgresAdmin
from skylift.control.scaling import Work
from skylift.core.errors import Unavailable

EVENT = "worker ended"
"""The event's name in Airflow's event log."""

DEFAULT_TEMPLATE = (
    "dag_id={{ ti.dag_id }}/run_id={{ ti.run_id }}/task_id={{ ti.task_id }}/"
    "{% if ti.map_index >= 0 %}map_index={{ ti.map_index }}/{% endif %}"
    "attempt={{ try_number|default(ti.try_number) }}.log"
)
"""Airflow's ``[logging] log_filename_template``."""


@dataclass(frozen=True)
class RunningTry:
    """One try of an Airflow task that ran on a worker."""

    dag: str
    task: str
    run: str
    map_index: int
    number: int

    @property
    def log_path(self) -> str:
        """Its log's name, as Airflow's own template makes it."""
        mapped = f"map_index={self.map_index}/" if self.map_index >= 0 else ""
        return f"dag_id={self.dag}/run_id={self.run}/task_id={self.task}/{mapped}attempt={self.number}.log"


class MetadataDatabase:
    """The metadata database of one environment. Every method raises ``Unavailable``.

    Args:
        name: of the database.
    """

    def __init__(self, postgres: PostgresAdmin, name: str) -> None:
        self._postgres = postgres
        self._name = name
        self._open = ExitStack()
        self._connection: Connection | None = None

    def work(self, celery_first: bool) -> Work:
        """Airflow tasks of Celery's that are queued, and that run.

        Args:
            celery_first: whether an Airflow task that names no executor is Celery's.
        """
        ((queued, running),) = self._ask("worker_count", celery_first=celery_first)
        return Work(int(queued), int(running))

    def lost(self, host: str, reason: str) -> list[RunningTry]:
        """The tries that run on a worker which has ended: each gets an event with the reason, and its heartbeat is
        over, so that the scheduler fails or retries it at its next look instead of minutes later. Each try once."""
        rows = self._ask("worker_lost", host=host, event=EVENT, reason=reason)
        return [RunningTry(*row) for row in rows]

    def own_template(self) -> bool:
        """Whether the environment's logs have a name that only its own Airflow can tell."""
        rows = self._ask("log_template")
        return bool(rows) and rows[0][0] != DEFAULT_TEMPLATE

    def prune(self, days: int) -> int:
        """Deletes Celery's results that are older: Airflow has read them, and nobody else deletes them."""
        return len(self._ask("celery_prune", days=days))

    def close(self) -> None:
        """Closes the connection."""
        self._connection = None
        self._open.close()

    def _ask(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        try:
            if self._connection is None:
                self._connection = self._open.enter_context(self._postgres.connect(self._name, autocommit=True))
            return self._connection.execute(_statement(statement), values).fetchall()
        except psycopg.errors.UndefinedTable:
            return []  # Celery makes its table when its first worker starts
        except psycopg.Error as error:
            self._drop()
            raise Unavailable(f"the database {self._name} does not answer: {error}") from error

    def _drop(self) -> None:
        try:
            self.close()
        except (psycopg.Error, Unavailable):  # it is broken already
            self._open = ExitStack()


@cache
def _statement(name: str) -> bytes:
    # psycopg takes bytes as a query that it need not prove to be a literal; these are files of ours.
    return files("skylift.control").joinpath("sql", f"{name}.sql").read_bytes()
