"""On Batch and S3 of the local cloud, without Airflow: each array child finds its own workload, and ends and is stopped
separately."""

from __future__ import annotations

import json
import sysconfig
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.local import batch_cloud
from tests.local.ecs_cloud import Cloud
from tests.unit.executor_airflow import batch_conf

from skylift.aws.batch.jobs import BatchJobs
from skylift.core.attempt import Attempt, Observation, Phase, Verdict, verdict
from skylift.executors.batch_compute import BatchCompute
from skylift.executors.in_container.payload import Payloads
from skylift.executors.options.batch import batch_options

pytestmark = pytest.mark.local

ACTS = """
import json, sys, time
from skylift.executors.in_container import main as in_container

def main(document, s3, bucket, key):
    workload = json.loads(document)
    in_container.delete(s3, bucket, key)
    time.sleep(workload.get("sleeps", 0))
    sys.exit(workload["exits"])
"""
"""Instead of Airflow's supervisor."""


class Acting(Payloads):
    """The real payloads with another program, fetched by the real command."""

    def __init__(self, url: str, session: Any) -> None:
        super().__init__(url, session=session)
        self._programs = {False: ACTS.encode()}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    started = Cloud(tmp_path_factory.mktemp("cloud")).start()
    try:
        batch = started.client("batch")
        batch_cloud.prepare(batch)
        path = f"{sysconfig.get_path('purelib')}:{Path(__file__).parents[3] / 'src'}"
        batch_cloud.define(batch, "true", environment=[{"name": "PYTHONPATH", "value": path}])
        started.client("s3").create_bucket(Bucket="workloads")
        yield started
    finally:
        started.stop()


def compute(cloud: Cloud) -> BatchCompute:
    """As a new process has it."""
    session = SimpleNamespace(client=lambda service, **_more: cloud.client(service))
    options = batch_options(batch_conf(job_queue="q", job_definition="work"))
    payloads = Acting("s3://workloads/p", session=session)
    return BatchCompute(BatchJobs(cloud.client("batch")), options, payloads, together=True)


def attempts(*workloads: Mapping[str, Any]) -> list[Attempt]:
    def one(workload: Mapping[str, Any]) -> Attempt:
        labels = {"dag_id": "d", "task_id": "t"}
        return Attempt(str(uuid.uuid4()), 1, lambda: json.dumps(workload), labels=labels)

    return [one(workload) for workload in workloads]


def seen(made: BatchCompute, refs: Sequence[str], until: Callable[[list[Observation]], bool]) -> list[Observation]:
    deadline = time.monotonic() + 60
    while True:
        by_ref = {one.ref: one for one in made.observe(refs)}
        found = [by_ref[ref] for ref in refs]
        if until(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_children_stay_apart_and_a_new_process_finds_each(cloud: Cloud) -> None:
    made = compute(cloud)
    many = attempts({"exits": 0}, {"exits": 70}, {"exits": 72}, {"exits": 1}, {"exits": 0, "sleeps": 300})
    refs = [answer.ref for answer in made.submit(many)]
    assert len({ref.partition(":")[0] for ref in refs}) == 1, "one SubmitJob"
    found = seen(made, refs[:4], lambda all_: all(one.phase is Phase.STOPPED for one in all_))
    assert [one.exit_code for one in found] == [0, 70, 72, 1]
    assert [verdict(one) for one in found] == [Verdict.FINISHED, Verdict.FINISHED, Verdict.LOST, Verdict.DIED]

    # Another scheduler: the fifth runs on and is found, also by one that would submit it.
    other, running = compute(cloud), many[4]
    assert other.find(running) == [refs[4]]
    assert other.submit([replace(running, adopted=True)])[0].ref == refs[4]
    seen(other, [refs[4]], lambda all_: all_[0].phase is Phase.RUNNING)
    other.stop(refs[4], "because")
    (stopped,) = seen(other, [refs[4]], lambda all_: all_[0].phase is Phase.STOPPED)
    assert stopped.by_request
    assert "because" in stopped.reason

    # The one that never began goes again, alone, and both of its jobs are known.
    again = replace(many[2], number=2)
    assert made.group_key(again) is None
    (alone,) = made.submit([again])
    assert ":" not in alone.ref
    assert compute(cloud).find(again) == [refs[2], alone.ref]
    seen(made, [alone.ref], lambda all_: all_[0].exit_code == 72)
    left = [one["Key"] for one in cloud.client("s3").list_objects_v2(Bucket="workloads")["Contents"]]
    assert len(left) == 1, left
    assert left[0].startswith("p/arrays/"), "workloads are deleted by those that fetch them"


def test_two_hundred_workloads_are_put_and_submitted_in_a_moment(cloud: Cloud) -> None:
    made = compute(cloud)
    many = attempts(*({"exits": 0} for _ in range(200)))
    begun = time.monotonic()
    refs = [answer.ref for answer in made.submit(many)]
    assert time.monotonic() - begun < 20
    made.stop(refs[0].partition(":")[0], "enough")
    assert len(set(refs)) == 200
