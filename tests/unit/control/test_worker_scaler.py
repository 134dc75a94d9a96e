"""The loop over Celery workers: it scales, replaces, tells why a worker ended, and costs nothing where there are none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.control_scenes import WITH_WORKERS, request, spec

from skylift.aws.ecs.services import DescribedService
from skylift.aws.ecs.tasks import DescribedTask, EcsContainer
from skylift.control.airflow_database import RunningTry
from skylift.control.api.validation import spec_of
from skylift.control.scaling import Work
from skylift.control.store import LastUpdate, Row
from skylift.control.worker_ends import WorkerEnds, reason_of
from skylift.control.workers import WorkerFleet, WorkerScaler
from skylift.core.environment import Generation, Status
from skylift.core.errors import Unavailable

pytestmark = pytest.mark.unit
DEFINITION = "arn:aws:ecs:us-east-1:0:task-definition/skylift-flight-worker:7"
FACTS = {"definition.worker": DEFINITION, "database.name": "airflow-flight"}


def row(replacement: str = "", workers: bool = True, **members: Any) -> Row:
    wanted = spec_of(request(MaxWorkers=4, **members), WITH_WORKERS) if workers else spec()
    now = datetime.now(UTC)
    last = LastUpdate("SUCCESS", 0.0, "UpdateEnvironment", replacement=replacement)
    return Row("flight", wanted, Generation(1), Status.AVAILABLE, now, now, last, FACTS)


def task(number: int, deployment: str = "new", status: str = "RUNNING", code: int | None = None) -> DescribedTask:
    arn = f"arn:aws:ecs:us-east-1:0:task/skylift/{number:032}"
    container = EcsContainer("airflow", status, code, "")
    return DescribedTask(arn, status, status, "EssentialContainerExited", "it ended", True, deployment, (container,))


@dataclass
class Aws:
    """ECS, SQS, S3, CloudWatch Logs and Airflow's database, as far as workers need them."""

    service: DescribedService | None
    tasks: list[DescribedTask] = field(default_factory=list)
    found: Work = field(default_factory=Work)
    queue: tuple[int, int] = (0, 0)
    lost_on: dict[str, list[RunningTry]] = field(default_factory=dict)
    failure: Exception | None = None
    calls: list[str] = field(default_factory=list)
    unprotected: list[str] = field(default_factory=list)
    written: list[tuple[str, str]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        self.calls.append("describe")
        if any(name.startswith("arn:") for name in names):
            return {one.arn: one for one in self.tasks if one.arn in names}
        return {self.service.name: self.service} if self.service else {}

    def scale(self, name: str, desired: int) -> None:
        assert self.service
        self.calls.append(f"scale {desired}")
        self.service = replace(self.service, desired=desired)

    def service_tasks(self, name: str) -> list[str]:
        return [one.arn for one in self.tasks if one.last_status == "RUNNING"]

    def stopped_tasks(self, name: str) -> list[str]:
        return [one.arn for one in self.tasks if one.last_status == "STOPPED"]

    def unprotect(self, arns: Sequence[str]) -> None:
        self.unprotected += arns

    def delete(self, name: str) -> None:
        self.calls.append(f"delete {name}")

    def count(self, name: str) -> tuple[int, int]:
        return self.queue

    def announce(self, environment: str, definition: str) -> None:
        self.calls.append(f"announce {definition}")

    def work(self, celery_first: bool) -> Work:
        if self.failure:
            raise self.failure
        self.calls.append(f"work {celery_first}")
        return self.found

    def lost(self, host: str, reason: str) -> list[RunningTry]:
        self.reasons.append(reason)
        return self.lost_on.pop(host, [])

    def own_template(self) -> bool:
        return False

    def prune(self, days: int) -> int:
        return 0

    def close(self) -> None:
        self.calls.append("close")

    def put_log_events(self, **request: Any) -> None:
        (event,) = request["logEvents"]
        self.written.append((request["logStreamName"], json.loads(event["message"])["event"]))


class Scene:
    def __init__(self, aws: Aws, one: Row) -> None:
        self.aws = aws
        self.now = 1000.0
        self.rows = [one]
        whole: Any = aws
        self.scaler = WorkerScaler(
            lambda: self.rows, whole, whole, whole, whole,
            lambda _: WorkerFleet(whole, WorkerEnds(aws, lambda: self.now)), WITH_WORKERS, lambda: self.now,
        )  # fmt: skip

    def looks(self, seconds: int) -> list[str]:
        """One look a second; what was changed."""
        self.aws.calls.clear()
        for _ in range(seconds):
            self.scaler.look()
            self.now += 1
        return [call for call in self.aws.calls if call.startswith(("scale", "delete", "announce", "close"))]


def service(desired: int = 1, **members: Any) -> DescribedService:
    base = DescribedService("skylift-flight-worker", "ACTIVE", DEFINITION, desired, desired, 0, 0, True, ())
    return replace(base, current=desired, deployment="new", **members)


def test_workers_come_at_once_and_go_after_two_minutes() -> None:
    scene = Scene(Aws(service()), row())
    assert scene.looks(3) == [f"announce {DEFINITION}"]
    scene.aws.found = Work(queued=12)
    assert scene.looks(2) == ["scale 3"]
    assert scene.scaler.work("flight") == (12, 0)
    scene.aws.found = Work()
    assert scene.looks(119) == []
    assert scene.looks(3) == ["scale 1"]


def test_what_only_the_queue_knows_counts() -> None:
    scene = Scene(Aws(service(0), queue=(1, 0)), row(AirflowConfigurationOptions={"skylift.min_workers": "0"}))
    assert "scale 1" in scene.looks(1)


def test_an_idle_environment_asks_ecs_seldom() -> None:
    scene = Scene(Aws(service()), row())
    scene.looks(60)
    assert scene.aws.calls.count("work True") == 60
    assert scene.aws.calls.count("describe") == 12


def test_an_environment_without_workers_is_not_asked() -> None:
    scene = Scene(Aws(service()), replace(row(workers=False), facts={}))
    assert scene.looks(10) == []
    assert scene.aws.calls == []


def test_workers_go_when_celery_does() -> None:
    scene = Scene(Aws(service()), row())
    scene.looks(1)
    scene.rows = [row(workers=False)]
    assert scene.looks(3) == ["close", "delete skylift-flight-worker"]


@pytest.mark.parametrize(
    "failure", [Unavailable("PostgreSQL is away"), KeyError("a mistake of ours")], ids=["silent", "broken"]
)
def test_a_look_that_fails_costs_only_itself_and_is_told_once(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(Aws(service(), failure=failure), row())
    scene.looks(5)
    assert len([one for one in caplog.records if "environment flight" in one.getMessage()]) == 1
    scene.aws.failure, scene.aws.found = None, Work(queued=6)
    assert "scale 2" in scene.looks(1)


@pytest.mark.parametrize(("strategy", "ended"), [("", 1), ("FORCED", 1), ("GRACEFUL", 0)])
def test_a_forced_replacement_lets_ecs_end_old_workers_that_are_busy(strategy: str, ended: int) -> None:
    aws = Aws(replace(service(), settled=False, running=2), [task(1, "old"), task(2)])
    Scene(aws, row(strategy)).looks(1)
    assert aws.unprotected == [task(1).arn][:ended]


def test_old_workers_stay_until_the_new_ones_run() -> None:
    aws = Aws(replace(service(), settled=False, running=1, current=0), [task(1, "old")])
    Scene(aws, row("FORCED")).looks(1)
    assert aws.unprotected == []


def test_every_try_that_ran_on_a_dead_worker_is_told_why() -> None:
    dead = task(7, status="STOPPED", code=137)
    tries = [RunningTry("d", "t", "r:1", -1, 1), RunningTry("d", "m", "r:1", 3, 2)]
    aws = Aws(service(), [dead], lost_on={f"worker-{7:032}": tries})
    Scene(aws, row()).looks(20)
    assert len(aws.reasons) == 1, "each worker once"
    assert [stream for stream, _ in aws.written] == [
        "dag_id=d/run_id=r_1/task_id=t/attempt=1.log",
        "dag_id=d/run_id=r_1/task_id=m/map_index=3/attempt=2.log",
    ]
    assert all("It was killed (SIGKILL). ECS: it ended; exit code 137" in text for _, text in aws.written)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"stopped_reason": "OutOfMemoryError: Container killed due to memory usage"}, "more memory than"),
        ({"stop_code": "SpotInterruption", "stopped_reason": "Your Spot Task was interrupted."}, "Spot capacity"),
        ({"stop_code": "ServiceSchedulerInitiated"}, "fewer workers or to replace"),
        ({"stop_code": "UserInitiated"}, "Somebody stopped"),
        ({}, "ended by itself"),
    ],
)
def test_the_reason_is_a_sentence_and_ecs_s_own_words(members: dict[str, str], words: str) -> None:
    one = replace(task(1, status="STOPPED", code=1), **members)
    assert words in reason_of(one)
    assert one.stopped_reason in reason_of(one)
