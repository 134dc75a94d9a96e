"""What Batch reports about a job and what it means: one table, with documents in the form of DescribeJobs."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.aws.batch.jobs import job_of
from skylift.core.attempt import SUPERSEDED, Observation, Phase, Verdict, verdict
from skylift.executors.batch_observation import log_stream, observation

pytestmark = pytest.mark.unit
ID = "00000000-0000-0000-0000-000000000001"
STARTED = {"startedAt": 1_700_000_000_000}
HOST_GONE = "Host EC2 (instance i-0123456789abcdef0) terminated."


def container(code: int | None = None, reason: str = "", **more: Any) -> dict[str, Any]:
    told = {"exitCode": code, "reason": reason, "logStreamName": "jd/default/1"}
    return {name: value for name, value in told.items() if value not in (None, "")} | more


def document(status: str, told: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    name = f"airflow-d-t-{ID}-1"
    return {"jobId": "job", "jobName": name, "status": status, "container": told or {}} | more


def told(code: int | None = None, reason: str = "", status: str = "", *, started: bool = True) -> dict[str, Any]:
    """One of Batch's own attempts that is over."""
    return {"container": container(code, reason), "statusReason": status} | (STARTED if started else {})


def seen(given: dict[str, Any], names: tuple[str, ...] = ()) -> Observation:
    return observation("job", job_of(given), names)


ENDED = "Essential container in task exited"
TABLE: list[tuple[str, dict[str, Any], Phase, Verdict, int | None]] = [
    *((state, document(state), Phase.WAITING, Verdict.UNDERWAY, None) for state in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING")),
    ("running", document("RUNNING", **STARTED), Phase.RUNNING, Verdict.UNDERWAY, None),
    ("done", document("SUCCEEDED", container(0), **STARTED), Phase.STOPPED, Verdict.FINISHED, 0),
    ("done, no exit code", document("SUCCEEDED", **STARTED), Phase.STOPPED, Verdict.FINISHED, 0),
    ("failed in Airflow's way", document("FAILED", container(70), **STARTED), Phase.STOPPED, Verdict.FINISHED, 70),
    ("not ours", document("FAILED", container(71), **STARTED), Phase.STOPPED, Verdict.FINISHED, 71),
    ("never began", document("FAILED", container(72), **STARTED), Phase.STOPPED, Verdict.LOST, 72),
    ("exit 1", document("FAILED", container(1), **STARTED), Phase.STOPPED, Verdict.DIED, 1),
    ("out of memory", document("FAILED", container(137, "OutOfMemoryError: Container killed"), **STARTED), Phase.STOPPED, Verdict.DIED, 137),
    ("no image", document("FAILED", container(None, "CannotPullContainerError: x"), statusReason="Task failed to "
                                                                                                 "start"), Phase.STOPPED, Verdict.LOST, None),
    ("no image, with a time", document("FAILED", container(None, "x"), statusReason="Task failed to start", **STARTED), Phase.STOPPED, Verdict.LOST, None),
    ("host gone before", document("FAILED", statusReason=HOST_GONE), Phase.STOPPED, Verdict.LOST, None),
    ("host gone after", document("FAILED", statusReason=HOST_GONE, **STARTED), Phase.STOPPED, Verdict.DIED, None),
    ("no container, no reason", document("FAILED"), Phase.STOPPED, Verdict.LOST, None),
    ("terminated while waiting", document("FAILED", statusReason="by me", isTerminated=True), Phase.STOPPED, Verdict.DIED, None),
    ("cancelled while waiting", document("FAILED", statusReason="by me", isCancelled=True), Phase.STOPPED, Verdict.DIED, None),
    ("terminated while running", document("FAILED", container(143), statusReason="by me", isTerminated=True, **STARTED), Phase.STOPPED, Verdict.DIED, 143),
    ("terminated, ended in order", document("FAILED", container(70), isTerminated=True, **STARTED), Phase.STOPPED, Verdict.FINISHED, 70),
    ("terminated by us for another", document("FAILED", statusReason=f"{SUPERSEDED}: token", isTerminated=True), Phase.STOPPED, Verdict.LOST, None),
    ("stuck, cancelled by the queue", document("FAILED", statusReason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", isCancelled=True), Phase.STOPPED, Verdict.LOST, None),
    ("too long", document("FAILED", container(137), statusReason="Job attempt duration exceeded timeout", **STARTED), Phase.STOPPED, Verdict.DIED, 137),
    # Batch's own tries: what began in one of them is not begun again in the next.
    ("second try waits", document("RUNNABLE", attempts=[told(1)], **STARTED), Phase.WAITING, Verdict.UNDERWAY, None),
    ("died, then refused", document("FAILED", container(71), attempts=[told(137), told(71)], **STARTED), Phase.STOPPED, Verdict.DIED, 137),
    ("died, then no workload", document("FAILED", container(72), attempts=[told(None, status=HOST_GONE), told(72)], **STARTED), Phase.STOPPED, Verdict.DIED, None),
    ("host gone before, then done", document("SUCCEEDED", container(0), attempts=[told(None, status=HOST_GONE, started=False), told(0)], **STARTED), Phase.STOPPED, Verdict.FINISHED, 0),
    ("began, then no image", document("FAILED", container(None, "x"), statusReason="Task failed to start", attempts=[told(137), told(None, started=False)], **STARTED), Phase.STOPPED, Verdict.DIED, 137),
    ("never began twice", document("FAILED", container(72), attempts=[told(72), told(72)], **STARTED), Phase.STOPPED, Verdict.LOST, 72),
]  # fmt: skip


@pytest.mark.parametrize(("given", "phase", "means", "code"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_table(given: dict[str, Any], phase: Phase, means: Verdict, code: int | None) -> None:
    observed = seen(given)
    assert (observed.phase, verdict(observed), observed.exit_code) == (phase, means, code), observed


@pytest.mark.parametrize("status", ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"])
@pytest.mark.parametrize("asked", ["isTerminated", "isCancelled", ""])
def test_who_asked_for_an_end_is_known_from_then_on(status: str, asked: str) -> None:
    observed = seen(document(status, **({asked: True} if asked else {})))
    assert observed.by_request == observed.outside == bool(asked)


def test_a_job_that_batch_does_not_show_is_missing_and_resolved_after_the_grace() -> None:
    missing = observation("job", None)
    assert verdict(missing, missing_for=299) is Verdict.UNDERWAY
    assert verdict(missing, missing_for=301) is Verdict.LOST
    assert verdict(missing, ever_began=True, missing_for=301) is Verdict.GONE


def test_only_airflow_s_container_counts() -> None:
    def several(main: int, side: int) -> dict[str, Any]:
        containers = [container(side, name="side"), container(main, name="main", logStreamName="jd/main/1")]
        return document("FAILED", ecsProperties={"taskProperties": [{"containers": containers}]}, **STARTED)

    assert verdict(seen(several(0, 143), ("main",))) is Verdict.FINISHED
    assert verdict(seen(several(1, 0), ("main",))) is Verdict.DIED
    assert log_stream(job_of(several(1, 0)), ("main",)) == "jd/main/1"


def test_want_of_capacity_is_told_apart_from_a_request() -> None:
    stuck = seen(document("FAILED", statusReason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - x", isCancelled=True))
    assert (stuck.shortage, stuck.by_request) == (True, False)
    assert seen(document("FAILED", statusReason=HOST_GONE)).shortage
    assert not seen(document("FAILED", statusReason=HOST_GONE, **STARTED)).shortage
    assert not seen(document("FAILED", statusReason="MISCONFIGURATION:x", isCancelled=True)).shortage


def test_the_reason_names_what_people_need() -> None:
    reason = seen(document("FAILED", container(137, "OutOfMemoryError: killed"), statusReason=ENDED, **STARTED)).reason
    for words in (ENDED, "OutOfMemoryError: killed", "exit code 137", "out of memory", "Batch job job"):
        assert words in reason
    assert "Spot" in seen(document("FAILED", statusReason=HOST_GONE, **STARTED)).reason
    assert "\n" not in reason


def test_versions_grow_with_every_change_and_names_tell_whose_it_is() -> None:
    life = [document(state) for state in ("SUBMITTED", "RUNNABLE", "STARTING", "RUNNING")]
    life += [document(state, attempts=[told(1)]) for state in ("RUNNABLE", "STARTING", "RUNNING")]
    life.append(document("FAILED", attempts=[told(1), told(1)]))
    versions = [seen(one).version for one in life]
    assert versions == sorted(set(versions))
    assert seen(life[0]).external_id == ID
    assert seen(document("RUNNING") | {"jobName": "somebody-else-s"}).external_id == ""


def test_the_parent_of_an_array_is_known_as_such() -> None:
    assert job_of(document("PENDING", arrayProperties={"size": 3, "statusSummary": {}})).is_array
    assert not job_of(document("RUNNING", arrayProperties={"index": 0, "size": 3})).is_array
    assert not job_of(document("RUNNING")).is_array
