"""A loop around one of the amazon provider's own executors, as a separate process; prints the result of each workload
as JSON.

Use: ``upstream_executor_driver.py ecs|batch WORKLOADS ANSWER``. Nothing of skylift is imported here.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow.executors.workloads import ExecuteTask
from airflow.executors.workloads.base import BundleInfo
from airflow.executors.workloads.task import TaskInstanceDTO

EXECUTORS = {
    "ecs": ("airflow.providers.amazon.aws.executors.ecs", "AwsEcsExecutor"),
    "batch": ("airflow.providers.amazon.aws.executors.batch.batch_executor", "AwsBatchExecutor"),
}
PARALLELISM = 100
SECONDS = 240.0
ROUND = 0.2
OVER = {"success", "failed"}


def workload(number: int) -> ExecuteTask:
    instance = TaskInstanceDTO(
        id=uuid4(),
        dag_version_id=uuid4(),
        dag_id="many",
        task_id=f"number_{number}",
        run_id="manual__1",
        try_number=1,
        pool_slots=1,
        priority_weight=1,
        queue="default",
        executor_config={},
    )
    return ExecuteTask(
        token="a.test.token",
        dag_rel_path=Path("many.py"),
        bundle_info=BundleInfo(name="dags"),
        log_path=None,
        ti=instance,
    )


def drive(executor: Any, workloads: list[ExecuteTask]) -> dict[str, Any]:
    """Runs everything from queueing to the last event, like a scheduler."""
    executor.job_id = 1
    executor.start()  # Raises when its health check does not pass.
    begun = time.monotonic()
    for one in workloads:
        executor.queue_workload(one, session=None)
    states: dict[str, list[str]] = {one.ti.task_id: [] for one in workloads}
    rounds, longest = 0, 0.0
    while not all(OVER & set(seen) for seen in states.values()):
        assert time.monotonic() - begun < SECONDS, f"{len(executor.running)} still run: {sorted(executor.running)[:5]}"
        started = time.monotonic()
        executor.heartbeat()
        longest = max(longest, time.monotonic() - started)
        rounds += 1
        for key, (state, _) in executor.get_event_buffer().items():
            states[key.task_id].append(str(state))
        time.sleep(ROUND)
    seconds = time.monotonic() - begun
    left = len(executor.running) + len(executor.active_workers)
    executor.end(heartbeat_interval=0)
    return {"states": states, "seconds": seconds, "rounds": rounds, "longest": longest, "left": left}


def main() -> None:
    answer, kind, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    module, name = EXECUTORS[kind]
    executor = getattr(importlib.import_module(module), name)(parallelism=PARALLELISM)
    answer.write_text(json.dumps(drive(executor, [workload(number) for number in range(count)])))


if __name__ == "__main__":
    main()
    # Airflow's own threads must not delay the end of a test.
    sys.stdout.flush()
    os._exit(0)
