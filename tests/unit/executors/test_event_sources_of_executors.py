"""The queue of events that an executor reads: its region, its events, and what they mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.executor_airflow import Conf, batch_conf, ecs_conf

from skylift.core.attempt import Phase
from skylift.executors.batch import AwsBatchExecutor
from skylift.executors.ecs import AwsEcsExecutor
from skylift.executors.events.sqs import ANOTHERS, BATCH_JOB, ECS_TASK, NOBODYS, SqsSource, source_of

pytestmark = pytest.mark.unit
QUEUES = {
    "name": "us-east-1",
    "arn:aws:sqs:eu-west-1:000000000000:name": "eu-west-1",
    "https://sqs.ap-south-1.amazonaws.com/000000000000/name": "ap-south-1",
}


def source(kind: type[Any], conf: Conf) -> Any:
    made = kind(parallelism=1)
    made.conf = conf
    return made.make_source()


EXECUTORS = [(AwsEcsExecutor, ecs_conf), (AwsBatchExecutor, batch_conf)]


@pytest.mark.parametrize(("kind", "conf"), EXECUTORS)
@pytest.mark.parametrize(("queue", "region"), QUEUES.items())
def test_the_queues_own_region_goes_before_the_executors(kind: type[Any], conf: Any, queue: str, region: str) -> None:
    made = source(kind, conf(conn_id="", skylift_events_queue=queue))
    assert isinstance(made, SqsSource)
    client = made._messages._sqs
    assert (client.meta.service_model.service_name, client.meta.region_name) == ("sqs", region)
    assert client.meta.config.read_timeout > 20, "longer than one waits for messages"
    assert client.meta.config.retries["total_max_attempts"] == 2


@pytest.mark.parametrize(("kind", "conf"), EXECUTORS)
def test_without_a_queue_there_is_none(kind: type[Any], conf: Any) -> None:
    assert source(kind, conf(conn_id="")) is None
    assert source_of("", {}, session=None, region="us-east-1") is None


def event(kind: str, **detail: Any) -> str:
    return json.dumps({"detail-type": kind, "detail": detail})


JOB = {"jobId": "j", "jobName": "airflow-x.1", "jobQueue": "arn:q", "status": "RUNNABLE"}


def test_batch_hears_of_jobs_and_not_of_arrays() -> None:
    made = source(AwsBatchExecutor, batch_conf(conn_id="", skylift_events_queue="q"))
    seen = made._understood(event(BATCH_JOB, **JOB))
    assert (seen.ref, seen.phase) == ("j", Phase.WAITING)
    assert made._understood(event(BATCH_JOB, **JOB, arrayProperties={"size": 3})) == NOBODYS
    assert made._understood(event(ECS_TASK, taskArn="t")) == ANOTHERS, "the other executor may read the same queue"
    assert made._understood(event("ECS Service Action")) == NOBODYS
    assert made._understood("no JSON") == NOBODYS
    assert (made.counts.ignored, made.counts.poison) == (2, 1)


def test_ecs_hears_of_ecs_tasks() -> None:
    made = source(AwsEcsExecutor, ecs_conf(conn_id="", skylift_events_queue="q"))
    container = {"name": "airflow", "lastStatus": "RUNNING"}
    task = {"taskArn": "arn:t", "lastStatus": "RUNNING", "desiredStatus": "RUNNING", "startedBy": "x", "version": 3}
    seen = made._understood(event(ECS_TASK, **task, containers=[container]))
    assert (seen.ref, seen.phase) == ("arn:t", Phase.RUNNING)
    assert made._understood(event(BATCH_JOB, **JOB)) == ANOTHERS
