"""Eight ways in which a container ends, each told in the event's info, the event log and the log that
the UI reads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.executor_airflow import task_workload

from skylift.core.attempt import Compute
from skylift.executors.executor import SkyliftExecutor
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.timing import Timing

pytestmark = pytest.mark.unit

MORE = (
    "Killed for memory: the container went over its memory limit of 512 MiB.\nLast lines of the container's log "
    "(g):\nate 7"
)
LOGS = Path(os.environ["AIRFLOW_HOME"], "logs")


class OneTry(SkyliftExecutor):
    """Our executor on the fake compute; it makes one attempt."""

    def __init__(self, compute: Compute) -> None:
        super().__init__(parallelism=8)
        self.given = compute

    def timing(self) -> Timing:
        return replace(super().timing(), young=0.05)

    def make_compute(self) -> Compute:
        return self.given

    def most_attempts(self) -> int:
        return 1


def killed(compute: FakeCompute, ref: str) -> None:
    compute.explanations[ref] = MORE
    compute.exit(
        ref, 137, "EssentialContainerExited; container main: OutOfMemoryError: Container killed; exit code 137"
    )


ROWS: dict[str, tuple[Callable[[FakeCompute, str], None], tuple[str, ...]]] = {
    "memory": (killed, ("OutOfMemoryError", "exit code 137", "memory limit of 512 MiB")),
    "image": (
        lambda compute, ref: compute.fail_to_start(ref, "TaskFailedToStart (CannotPullContainerError: x not found)"),
        ("TaskFailedToStart", "CannotPullContainerError"),
    ),
    "capacity": (
        # What ECS says half an hour after it found no place: no container at all.
        lambda compute, ref: compute.fail_to_start(ref, "TaskFailedToStart (Timeout waiting for placement)"),
        ("TaskFailedToStart", "Timeout waiting for placement"),
    ),
    "spot": (
        lambda compute, ref: compute.exit(
            ref, 137, "SpotInterruption (Your Spot Task was interrupted.); exit code 137"
        ),
        ("SpotInterruption", "exit code 137"),
    ),
    "exit 1": (
        lambda compute, ref: compute.exit(ref, 1, "EssentialContainerExited; exit code 1"),
        ("EssentialContainerExited", "exit code 1"),
    ),
    "person": (
        lambda compute, ref: compute.stop(ref, "UserInitiated (somebody was at the console)"),
        ("UserInitiated", "somebody was at the console"),
    ),
    "secret": (
        lambda compute, ref: compute.fail_to_start(ref, "TaskFailedToStart (ResourceInitializationError: no secret)"),
        ("TaskFailedToStart", "ResourceInitializationError"),
    ),
    "host": (
        lambda compute, ref: compute.vanish(ref, "InfrastructureHealth (Host EC2 instance terminated)"),
        ("InfrastructureHealth", "Host EC2 instance terminated"),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_reason_is_where_people_look(row: str) -> None:
    act, words = ROWS[row]
    compute = FakeCompute()
    executor = OneTry(compute)
    executor.start()
    log_path = f"dag_id=d/run_id=r/task_id={row}/attempt=1.log"
    workload = task_workload(row).model_copy(update={"log_path": log_path})
    key = workload.ti.key
    try:
        executor.queue_workload(workload, session=None)
        until(compute.alive, executor)
        (ref,) = compute.alive()
        act(compute, ref)
        events = []

        def over() -> bool:
            events.extend(executor._task_event_logs)
            executor._task_event_logs.clear()
            return key in executor.event_buffer

        until(over, executor)
    finally:
        executor.end()
    state, told = executor.event_buffer[key]
    assert str(state) == "failed"
    assert all(word in told for word in words), told
    assert "\n" not in told
    recorded = [one for one in events if one.event == "executor: ended"]
    assert [one.task_id for one in recorded] == [row]
    assert all(word in recorded[0].extra for word in words), recorded[0].extra
    # Without a remote log: the file that FileTaskHandler reads beside the log's own.
    shown = (LOGS / f"{log_path}.executor.log").read_text()
    assert all(word in shown for word in words), shown
    assert ("ate 7" in shown) is ("ate 7" in recorded[0].extra) is (row == "memory")
    assert "ate 7" not in told


def until(condition: Callable[[], Any], executor: OneTry, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        executor.heartbeat()
        time.sleep(0.02)
