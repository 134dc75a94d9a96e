"""The amazon provider's operators, sensors and Batch waiters, each run as a worker would run it; prints the results as
JSON.

Use: ``upstream_operator_driver.py ANSWER``. Nothing of skylift is imported here; the scenes run at the same time, in
threads.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
from airflow.providers.amazon.aws.hooks.batch_client import BatchClientHook
from airflow.providers.amazon.aws.hooks.batch_waiters import BatchWaitersHook
from airflow.providers.amazon.aws.hooks.ecs import EcsTaskStates
from airflow.providers.amazon.aws.operators.batch import BatchCreateComputeEnvironmentOperator, BatchOperator
from airflow.providers.amazon.aws.operators.ecs import (
    EcsCreateClusterOperator,
    EcsDeleteClusterOperator,
    EcsDeregisterTaskDefinitionOperator,
    EcsRegisterTaskDefinitionOperator,
    EcsRunTaskOperator,
)
from airflow.providers.amazon.aws.sensors.batch import BatchComputeEnvironmentSensor, BatchJobQueueSensor, BatchSensor
from airflow.providers.amazon.aws.sensors.ecs import EcsTaskStateSensor
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.amazon.aws.sensors.sqs import SqsSensor
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import BaseTrigger

NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
LOG_GROUP, LOG_PREFIX = "/test/ecs", "p"
PACE = {"poll_interval": 1, "max_retries": 100}


class Instance:
    """The parts of a task instance that these operators use."""

    dag_id, run_id, map_index, try_number = "d", "r", -1, 1

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        self.pushed[key] = value


def surroundings(operator: Any) -> dict[str, Any]:
    instance = Instance(operator.task_id)
    return {"ti": instance, "task_instance": instance, "task": operator}


def ended(operator: Any, context: dict[str, Any] | None = None) -> str:
    """The result of ``execute``, or how it failed."""
    try:
        return f"gave {operator.execute(context or surroundings(operator))}"
    except Exception as error:  # noqa: BLE001 - the test judges it
        return f"{type(error).__name__}: {error}"


def ecs(task_id: str, code: int = 0, *, logs: bool = False, **options: Any) -> EcsRunTaskOperator:
    shown = {"awslogs_group": LOG_GROUP, "awslogs_stream_prefix": LOG_PREFIX} if logs else {}
    environment = [{"name": "CODE", "value": str(code)}]
    given = {
        "cluster": "default",
        "task_definition": "shell",
        "launch_type": "FARGATE",
        "overrides": {"containerOverrides": [{"name": "main", "environment": environment}]},
        "network_configuration": NETWORK,
        "container_name": "main",
        "region_name": "us-east-1",
        "waiter_delay": 1,
        "awslogs_fetch_interval": timedelta(seconds=0.5),
    }
    return EcsRunTaskOperator(task_id=task_id, **{**given, **shown, **options})


def batch(task_id: str, *command: str, **options: Any) -> BatchOperator:
    overrides = {"command": list(command), "environment": [{"name": "WORD", "value": "override"}]}
    given = {"job_name": task_id, "job_queue": "q", "job_definition": "shell", "container_overrides": overrides}
    return BatchOperator(task_id=task_id, region_name="us-east-1", **{**given, **PACE, **options})


def waiters() -> BatchWaitersHook:
    """The provider's waiters, polling more often than by default."""
    config = BatchWaitersHook(region_name="us-east-1").default_config
    for one in config["waiters"].values():
        one["delay"] = 1
    return BatchWaitersHook(waiter_config=config, region_name="us-east-1")


def logs_and_xcom() -> dict[str, Any]:
    operator = ecs("logs", logs=True, do_xcom_push=True)
    context = surroundings(operator)
    return {"ended": ended(operator, context), "arn": context["ti"].pushed["ecs_task_arn"]}


def reattached() -> dict[str, Any]:
    """A first operator starts it and ends; a second one with the same key finds it, and is killed."""
    sleeper = {"overrides": {"containerOverrides": [{"name": "main", "command": ["sleep", "600"]}]}}
    first, second = (ecs("same", reattach=True, wait_for_completion=False, **sleeper) for _ in range(2))
    said = [ended(first), ended(second)]
    second.on_kill()
    waiter = boto3.client("ecs").get_waiter("tasks_stopped")
    waiter.wait(cluster="default", tasks=[second.arn], WaiterConfig={"Delay": 1})
    stopped = boto3.client("ecs").describe_tasks(cluster="default", tasks=[second.arn])["tasks"][0]
    return {
        "said": said,
        "same": first.arn == second.arn,
        "reason": stopped["stoppedReason"],
        "code": stopped["stopCode"],
    }


async def first_event(trigger: BaseTrigger) -> Any:
    """The trigger's first event, as the triggerer gets it."""
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger told nothing")


def asked_to_wait(operator: Any) -> TaskDeferred | None:
    """What the operator asks the triggerer to wait for; ``None`` if it ended without waiting."""
    try:
        operator.execute(surroundings(operator))
    except TaskDeferred as asked:
        return asked
    return None


def resumed(operator: Any, asked: TaskDeferred) -> dict[str, Any]:
    """Runs the trigger as the triggerer does, made anew from what was serialised, with aiobotocore; then the operator
    again."""
    path, fields = asked.trigger.serialize()
    event = asyncio.run(first_event(import_string(path)(**fields)))
    gave = getattr(operator, asked.method_name)(surroundings(operator), event=event, **(asked.kwargs or {}))
    return {"trigger": path.rpartition(".")[2], "gave": gave, "stream": fields.get("log_stream")}


def deferred(operator: Any) -> dict[str, Any]:
    asked = asked_to_wait(operator)
    return resumed(operator, asked) if asked else {"trigger": "it did not defer"}


def deferred_sensors() -> dict[str, Any]:
    """Each waits for what comes after it has deferred."""
    place = {"region_name": "us-east-1", "poke_interval": 1, "deferrable": True}
    s3, sqs, batch_client = boto3.client("s3"), boto3.client("sqs"), boto3.client("batch")
    s3.create_bucket(Bucket="awaited")
    queue = sqs.create_queue(QueueName="awaited")["QueueUrl"]
    where = {"jobName": "sensed", "jobQueue": "q", "jobDefinition": "shell"}
    job = batch_client.submit_job(**where, containerOverrides={"command": ["sleep", "10"]})["jobId"]
    sensors: list[Any] = [
        S3KeySensor(task_id="key", bucket_key="s3://awaited/a/*.csv", wildcard_match=True, **place),
        SqsSensor(task_id="message", sqs_queue=queue, **place),
        BatchSensor(task_id="job", job_id=job, **place),
    ]
    waits = [asked_to_wait(one) for one in sensors]
    s3.put_object(Bucket="awaited", Key="a/b.csv", Body=b"1")
    sqs.send_message(QueueUrl=queue, MessageBody="it is there")
    return {one.task_id: resumed(one, asked)["trigger"] for one, asked in zip(sensors, waits, strict=True) if asked}


def clusters() -> dict[str, Any]:
    """Operators for the cluster's and the task definition's life, with their own waiting; and a sensor."""
    region = {"region_name": "us-east-1"}
    pace = {"wait_for_completion": True, "waiter_delay": 1, "waiter_max_attempts": 20, **region}
    shell = ["sh", "-c", "exit 0"]
    container = [{"name": "main", "image": "test/python:1", "command": shell}]
    fargate = {"networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512"}
    made = EcsCreateClusterOperator(task_id="make", cluster_name="own", **pace)
    registered = EcsRegisterTaskDefinitionOperator(
        task_id="register", family="own", container_definitions=container, register_task_kwargs=fargate, **region
    )
    said = [ended(made), ended(registered)]
    ran = ecs("own", cluster="own", task_definition="own", overrides={})
    said.append(ended(ran))
    over = {"target_state": EcsTaskStates.STOPPED, "failure_states": {EcsTaskStates.NONE}}
    sensor = EcsTaskStateSensor(task_id="sensor", cluster="own", task=str(ran.arn), **over, **region)
    sensed = sensor.poke(surroundings(sensor))
    said.append(ended(EcsDeregisterTaskDefinitionOperator(task_id="out", task_definition="own:1", **region)))
    said.append(ended(EcsDeleteClusterOperator(task_id="delete", cluster_name="own", **pace)))
    return {"said": said, "sensed": sensed}


def array() -> dict[str, Any]:
    operator = batch("array", "sh", "-c", "exit 0", array_properties={"size": 5}, awslogs_enabled=True)
    said = ended(operator)
    listed = boto3.client("batch").list_jobs(arrayJobId=operator.job_id, jobStatus="SUCCEEDED")["jobSummaryList"]
    sensor = BatchSensor(task_id="sensor", job_id=str(operator.job_id), region_name="us-east-1")
    return {"ended": said, "children": len(listed), "sensed": sensor.poke(surroundings(sensor))}


def array_that_fails() -> str:
    return ended(
        batch("array_bad", "sh", "-c", "exit $((AWS_BATCH_JOB_ARRAY_INDEX == 2))", array_properties={"size": 4})
    )


def environment() -> dict[str, Any]:
    name = {"compute_environment_name": "made", "region_name": "us-east-1"}
    resources = {"type": "FARGATE", "maxvCpus": 4, "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]}
    operator = BatchCreateComputeEnvironmentOperator(
        task_id="made", environment_type="MANAGED", state="ENABLED", compute_resources=resources, **name
    )
    said = ended(operator)
    ready = BatchComputeEnvironmentSensor(task_id="ready", compute_environment="made", region_name="us-east-1")
    queue = BatchJobQueueSensor(task_id="queue", job_queue="q", region_name="us-east-1")
    # The provider's second waiter for Batch.
    hook = BatchClientHook(region_name="us-east-1")
    hook.get_waiter("compute_env_ready").wait(computeEnvironments=["made"], WaiterConfig={"Delay": 1})
    deadline = time.monotonic() + 20
    while not (sensed := ready.poke({}) and queue.poke({})) and time.monotonic() < deadline:
        time.sleep(0.1)
    return {"said": said, "sensed": sensed}


def batch_waiters() -> list[str]:
    """Every waiter of the provider on one job that ends well, and the last one on a job that does not."""
    client, ready = boto3.client("batch"), waiters()
    passed = []
    for script in ("sleep 2", "exit 3"):
        where = {"jobName": "waited", "jobQueue": "q", "jobDefinition": "shell"}
        job = client.submit_job(**where, containerOverrides={"command": ["sh", "-c", script]})["jobId"]
        for name in ready.list_waiters():
            try:
                ready.get_waiter(name).wait(jobs=[job])
                passed.append(f"{script}: {name}")
            except Exception as error:  # noqa: BLE001 - the test judges it
                passed.append(f"{script}: {name}: {error}")
    return sorted(passed)


SCENES: dict[str, Callable[[], Any]] = {
    "ecs_logs": logs_and_xcom,
    "ecs_failed_with_logs": lambda: ended(ecs("bad_logs", 3, logs=True)),
    "ecs_failed": lambda: ended(ecs("bad", 3)),
    "ecs_skipped": lambda: ended(ecs("skipped", 42, skip_on_exit_code=42)),
    "ecs_not_started": lambda: ended(ecs("not_started", task_definition="no-image")),
    "ecs_no_cluster": lambda: ended(ecs("no_cluster", cluster="nowhere")),
    "ecs_on_ec2": lambda: ended(ecs("on_ec2", task_definition="host", launch_type="EC2", network_configuration=None)),
    "ecs_reattached": reattached,
    "ecs_deferred": lambda: deferred(ecs("deferred", logs=True, deferrable=True)),
    "deferred_sensors": deferred_sensors,
    "ecs_clusters": clusters,
    "batch_waited": lambda: ended(
        batch("waited", "sh", "-c", "echo batch says $WORD; sleep 1", waiters=waiters(), awslogs_enabled=True)
    ),
    "batch_polled": lambda: ended(batch("polled", "sh", "-c", "exit 0")),
    "batch_failed": lambda: ended(batch("failed", "sh", "-c", "exit 7")),
    "batch_refused": lambda: ended(batch("refused", "true", job_queue="nowhere")),
    "batch_parameters": lambda: ended(
        batch("parameters", job_definition="word", container_overrides=None, parameters={"word": "parameter"})
    ),
    "batch_array": array,
    "batch_array_failed": array_that_fails,
    "batch_deferred": lambda: deferred(batch("deferred_batch", "sh", "-c", "sleep 4", deferrable=True)),
    "batch_environment": environment,
    "batch_waiters": batch_waiters,
}


def main() -> None:
    # The provider's own switches for how long it waits before it asks; 1 to 10 s by default.
    BatchClientHook.DEFAULT_DELAY_MIN, BatchClientHook.DEFAULT_DELAY_MAX = 0, 1
    with ThreadPoolExecutor(len(SCENES)) as pool:
        running = {name: pool.submit(scene) for name, scene in SCENES.items()}
        answer = {name: one.result() for name, one in running.items()}
    Path(sys.argv[1]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
