"""Why a Celery worker ended, told to the Airflow tasks that ran on it.

A worker that is killed takes Airflow's supervisors with it, so nobody else can say. The scheduler would notice only
that heartbeats are missing, after ``[scheduler] task_instance_heartbeat_timeout`` (300 s). The control plane sees the
worker's ECS task end. It writes the reason into the event log and the log of each try that ran there, and ends that
wait; ``retries`` apply as always.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from skylift.aws import output
from skylift.aws.ecs.tasks import DescribedTask
from skylift.control.airflow_database import MetadataDatabase, RunningTry
from skylift.control.parts.one_off import exit_code, failure_text
from skylift.control.store import Row
from skylift.core.clock import Clock
from skylift.core.errors import SkyliftError
from skylift.core.names import log_group, worker_host

log = logging.getLogger(__name__)

LOGGER = "skylift.worker"
"""What Airflow's UI shows as the source of the lines."""

MOST_KNOWN = 1000


class WorkerEnds:
    """Ended workers of one environment, each told once.

    Args:
        logs: boto3's ``logs`` client.
    """

    def __init__(self, logs: Any, clock: Clock) -> None:
        self._logs = logs
        self._clock = clock
        self._known: dict[str, None] = {}

    def unknown(self, arns: Sequence[str]) -> list[str]:
        """Those of the stopped ECS tasks that were not handled yet, at most 100."""
        return [arn for arn in arns if arn not in self._known][:100]

    def ended(self, row: Row, database: MetadataDatabase, task: DescribedTask) -> None:
        """Handles one ended worker. Raises ``Unavailable``: it is to be called again."""
        if task.last_status != "STOPPED":
            return  # it still warms down
        host = worker_host(task.arn)
        reason = reason_of(task)
        lost = database.lost(host, f"The Celery worker {host} on which it ran ended. {reason}")
        self._remember(task.arn)
        if not lost:
            return
        log.warning(
            "environment %s: worker %s ended with %d Airflow tasks on it. %s", row.name, host, len(lost), reason
        )
        if row.spec.logging["TaskLogs"].enabled and not database.own_template():
            for one in lost:
                self._write(log_group(row.name, "TaskLogs"), one, f"The Celery worker {host} ended. {reason}")

    def _remember(self, arn: str) -> None:
        self._known[arn] = None
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def _write(self, group: str, one: RunningTry, text: str) -> None:
        entry = json.dumps({"event": text, "level": "error", "logger": LOGGER})
        try:
            # Airflow's reader replaces colons in the same way: CloudWatch does not allow them in a stream's name.
            output.append(self._logs, group, one.log_path.replace(":", "_"), [(int(self._clock() * 1000), entry)])
        except SkyliftError as error:
            log.warning("%s cannot be told why it ended: %s", one.log_path, error)


def reason_of(task: DescribedTask) -> str:
    """Why it ended, in a sentence, and in ECS's own words."""
    words, code = failure_text(task, ()), exit_code(task)
    if "OutOfMemory" in words:
        cause = "It was killed because it used more memory than its ECS task has."
    elif task.stop_code in {"SpotInterruption", "TerminationNotice"} or "Spot" in words:
        cause = "AWS took back its Spot capacity."
    elif code == 137:
        cause = "It was killed (SIGKILL)."
    elif task.stop_code == "ServiceSchedulerInitiated":
        cause = "ECS ended it, to have fewer workers or to replace them, before its Airflow tasks were done."
    elif task.stop_code == "UserInitiated":
        cause = "Somebody stopped its ECS task."
    else:
        cause = "It ended by itself."
    return f"{cause} ECS: {words}"
