"""What ``check`` asks Airflow: its versions, its executors, and what its database says about them. Only reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from airflow.configuration import conf
from airflow.executors.executor_loader import ExecutorLoader
from airflow.jobs.job import Job
from airflow.models.errors import ParseImportError
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import func, select

from skylift.executors.batch import AwsBatchExecutor
from skylift.executors.check import ECS, Name
from skylift.executors.ecs import AwsEcsExecutor

PACKAGES = ("skylift", "apache-airflow", "apache-airflow-providers-amazon", "boto3")
UNDONE = ("scheduled", "queued", "running", "restarting", "deferred", "up_for_retry", "up_for_reschedule")


@dataclass(frozen=True)
class Facts:
    """What the database says.

    Attributes:
        by_executor: an executor's name, and how many unfinished task instances have it.
        dags: a DAG's id, and an executor that it names.
        broken: DAG files that are not parsed because of an unknown executor.
        schedulers: hosts of the running ones, and the age of their last heartbeat.
        running: task instances, queued or running, for which an executor has its own id.
        foreign: those of them whose id is an ARN: the amazon provider's.
        orphans: those of them that belong to a dead scheduler.
        threshold, interval: seconds: Airflow's options about orphans.
    """

    by_executor: list[tuple[str, int]]
    dags: list[tuple[str, str]]
    broken: list[str]
    schedulers: list[tuple[str, float]]
    running: int
    foreign: int
    orphans: int
    threshold: float
    interval: float


def versions() -> str:
    """What is installed, in one line."""
    return ", ".join(f"{name} {_version(name)}" for name in PACKAGES)


def names() -> list[Name]:
    """The executors of ``[core] executor``. Raises whatever Airflow raises if they cannot be read."""
    return [
        Name(one.module_path, one.alias or "", getattr(one, "team_name", None) or "")
        for one in ExecutorLoader.get_executor_names()
    ]


def try_start(name: Name) -> list[str]:
    """Does what our executor does at start, without its threads; returns warnings. Raises ``Refused``."""
    kind = AwsEcsExecutor if name.ours == ECS else AwsBatchExecutor
    executor = kind(team_name=name.team) if name.team else kind()
    heard = _Heard()
    executor._log = logging.getLogger(f"{__name__}.{kind.__name__}")
    executor._log.addHandler(heard)
    executor._log.propagate = False
    executor.ready()
    return heard.lines


def facts(names: Sequence[Name]) -> Facts:
    """What the database says now about these executors."""
    with create_session() as session:
        rows = session.execute(
            select(TaskInstance.executor, func.count())
            .where(TaskInstance.executor.is_not(None), TaskInstance.state.in_(UNDONE))
            .group_by(TaskInstance.executor)
        ).all()
        jobs = session.execute(
            select(Job.id, Job.hostname, Job.latest_heartbeat).where(
                Job.job_type == "SchedulerJob", Job.state == "running"
            )
        ).all()
        launched = session.execute(
            select(TaskInstance.external_executor_id, TaskInstance.queued_by_job_id, TaskInstance.executor).where(
                TaskInstance.external_executor_id.is_not(None),
                TaskInstance.state.in_(("queued", "running", "restarting")),
            )
        ).all()
        broken = session.execute(select(ParseImportError.filename, ParseImportError.stacktrace)).all()
        dags = sorted(set(_dags(session)))
    # A row without a name belongs to its default executor, which may be a team's.
    words = set().union(*(name.words for name in names if name.ours), {None} if _default(names) else set())
    launched = [(one, job) for one, job, name in launched if name in words]
    threshold = conf.getfloat("scheduler", "scheduler_health_check_threshold")
    ages = {job: (host, _age(beat)) for job, host, beat in jobs}
    alive = {job for job, (_, age) in ages.items() if age < threshold}
    return Facts(
        by_executor=[(str(name), int(count)) for name, count in rows],
        dags=dags,
        broken=[str(file) for file, trace in broken if "UnknownExecutorException" in (trace or "")],
        schedulers=[ages[job] for job in sorted(alive)],
        running=len(launched),
        foreign=sum(str(one).startswith("arn:") for one, _ in launched),
        orphans=sum(job not in alive for _, job in launched),
        threshold=threshold,
        interval=conf.getfloat("scheduler", "orphaned_tasks_check_interval"),
    )


def _default(names: Sequence[Name]) -> bool:
    """Whether ours is the default (the first one named), for all or for a team."""
    teams = dict.fromkeys(name.team for name in names)
    return any(next(name for name in names if name.team == team).ours for team in teams)


class _Heard(logging.Handler):
    """Keeps warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"


def _age(beat: datetime | None) -> float:
    if beat is None:
        return float("inf")
    aware = beat if beat.tzinfo else beat.replace(tzinfo=UTC)
    return (datetime.now(UTC) - aware).total_seconds()


def _dags(session: Any) -> Iterator[tuple[str, str]]:
    """Executors that the newest version of each DAG names."""
    latest = select(SerializedDagModel.dag_id, func.max(SerializedDagModel.created_at).label("at"))
    newest = latest.group_by(SerializedDagModel.dag_id).subquery()
    same = (SerializedDagModel.dag_id == newest.c.dag_id) & (SerializedDagModel.created_at == newest.c.at)
    for found in session.scalars(select(SerializedDagModel).join(newest, same)):
        for executor in _executors(found.data):
            yield str(found.dag_id), executor


def _executors(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        named = tree.get("executor")
        if isinstance(named, str):
            yield named
        for value in tree.values():
            yield from _executors(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _executors(value)
