"""What Airflow's scheduler hears when an attempt has ended: the pure decision.

In Airflow 3 the supervisor in the container tells Airflow's API how a task instance ended. An executor's event is only
a hint, for task instances about which nobody reported anything. ``SchedulerJobRunner.process_executor_events`` (3.3.2)
acts on an event only if the task instance, with the same try, is SCHEDULED, QUEUED, RUNNING or RESTARTING and is not
queued again. Then *both* success and failed lead to ``handle_failure`` (or, for RESTARTING and success, to a new
schedule). So one event too many fails work that is fine:

* A sensor that rescheduled itself is SCHEDULED again with the same try before we see that its container has ended
  (remote logs are uploaded after the state was reported): success would fail it. Therefore ``DONE`` gives no event.
* If a container was refused (``NOT_OURS``), another one runs the same task instance: any event would fail that one.
* A cleared task instance is RESTARTING until an event of success says that its container has ended. The supervisor
  stopped its process, so ``ENDED_BADLY`` gives success. For a task that failed this has no effect, because Airflow
  has FAILED or UP_FOR_RETRY by then.
* A container that died under a running task (out of memory, Spot) leaves it RUNNING: failed, with the reason.

Only the executor can say how callbacks ended. Connection tests report to Airflow's API themselves, and the scheduler
reads no event about them (3.3.2): a test that reported nothing fails when Airflow's own time limit has passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from skylift.core.attempt import SUPERSEDED, Exit, Observation, Verdict


class WorkloadKind(StrEnum):
    """The kinds of Airflow's workloads."""

    TASK = "task"
    CALLBACK = "callback"
    CONNECTION_TEST = "connection_test"


class Event(StrEnum):
    """What goes into the executor's event buffer."""

    NONE = "none"
    SUCCESS = "success"
    FAILED = "failed"


class Standing(StrEnum):
    """The state in Airflow's database of the task instance whose container has ended."""

    UNKNOWN = ""
    """It could not be asked, or does not say to which launch it belongs."""
    QUEUED = "queued"
    """By this launch, so nothing began."""
    RUNNING = "running"
    """By this launch, of which nothing runs any longer."""
    RESTARTING = "restarting"
    """Cleared while it ran."""
    ELSEWHERE = "elsewhere"
    """It has ended, or belongs to another launch, or is gone: Airflow knows everything."""


def corrected(means: Verdict, seen: Observation, stands: Standing, *, alone: bool) -> Verdict:
    """The verdict on a stopped container, corrected by what Airflow's database says of its task instance.

    Args:
        means: the verdict from the container's exit code.
        alone: no other container of this launch can be alive.
    """
    if stands is Standing.QUEUED:
        # Repeating what somebody stopped on purpose would undo their request.
        return Verdict.DIED if seen.by_request and SUPERSEDED not in seen.reason else Verdict.LOST
    if stands is Standing.RUNNING:
        others = seen.exit_code == Exit.NOT_OURS and not alone
        return Verdict.FINISHED if others else Verdict.DIED
    return means


@dataclass(frozen=True)
class Settlement:
    """What to do with an attempt.

    Attributes:
        repeat: launch the next attempt.
        event: what the scheduler hears; only if nothing is repeated.
        record: whether the reason belongs in the task instance's event log.
    """

    repeat: bool = False
    event: Event = Event.NONE
    record: bool = False


def settle(
    verdict: Verdict,
    exit_code: int | None,
    kind: WorkloadKind,
    *,
    number: int,
    most: int,
    outside: bool = False,
    stands: Standing = Standing.UNKNOWN,
) -> Settlement:
    """The settlement of an attempt that has ended (``verdict`` is not ``UNDERWAY``).

    Args:
        verdict: see ``skylift.core.attempt``.
        exit_code: of the container with Airflow in it, if there is one.
        kind: tasks and callbacks differ in who reports their end.
        number: of this attempt, from 1.
        most: most attempts in total.
        outside: see ``Observation``.
        stands: its state in Airflow's database.
    """
    if stands is Standing.ELSEWHERE:
        told = exit_code in {Exit.DONE, Exit.NOT_OURS}
        return Settlement(record=not told and (verdict is Verdict.DIED or outside or exit_code == Exit.STOPPED_OUTSIDE))
    if stands is Standing.RESTARTING:
        return Settlement(event=Event.SUCCESS, record=outside)
    if verdict is Verdict.LOST:
        if number < most:
            return Settlement(repeat=True, record=True)
        return Settlement(event=Event.FAILED, record=True)
    if verdict is Verdict.DIED:
        return Settlement(event=Event.FAILED, record=True)
    if kind is WorkloadKind.CALLBACK:
        ended = Event.SUCCESS if verdict is Verdict.FINISHED and exit_code == Exit.DONE else Event.FAILED
        return Settlement(event=ended)
    if verdict is Verdict.GONE:
        # Airflow's own heartbeat decides: the container may have ended properly long ago.
        return Settlement(record=True)
    if exit_code == Exit.STOPPED_OUTSIDE:
        return Settlement(record=True)
    if exit_code == Exit.ENDED_BADLY:
        # Airflow knows that its task was stopped, but not by whom.
        return Settlement(event=Event.SUCCESS, record=outside)
    return Settlement()
