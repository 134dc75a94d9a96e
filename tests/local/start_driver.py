"""A scheduler's loop around the real executor, for containers that are killed while they start; prints JSON.

Arguments: the file for the answer, the executor, the ids of the Airflow tasks to queue; those after ``--`` are queued
when the others are over.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from airflow.executors.workloads import ExecuteTask
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import select, update
from tests.local.executor_driver import JOB, instance, loop, started, state


def main() -> dict[str, Any]:
    first, second = " ".join(sys.argv[3:]).split("--")
    executor = started()
    for names in (first.split(), second.split()):
        with create_session() as session:
            session.execute(update(TaskInstance).values(queued_by_job_id=JOB))
            for task_id in names:
                workload = ExecuteTask.make(instance(session, task_id), generator=executor.jwt_generator)
                executor.queue_workload(workload, session=session)
        loop(executor, lambda: not executor.running and not executor.queued_tasks, 900)
    answer = {}
    with create_session() as session:
        for task_id in (*first.split(), *second.split()):
            lines = [
                f"{line.event}: {line.extra}" for line in session.scalars(select(Log).where(Log.task_id == task_id))
            ]
            answer[task_id] = {"state": state(task_id), "log": lines}
    executor.end()
    return answer


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(main()))
    # Airflow's own threads must not delay the end of a test.
    sys.stdout.flush()
    os._exit(0)
