"""``Container`` and ``BatchContainer``: checked when the DAG is parsed, plain dicts afterwards, arguments that AWS
takes."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.serialization import serialized_objects
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.executor_airflow import ecs_conf, task_workload

from skylift.aws.shapes import mistakes
from skylift.core.attempt import Attempt
from skylift.core.errors import Refused
from skylift.executors import BatchContainer, Container
from skylift.executors.executor_config.ecs_request import check_options, run_task_request
from skylift.executors.executor_config.sizes import FARGATE
from skylift.executors.in_container.payload import Payload
from skylift.executors.options.ecs import ecs_options

pytestmark = pytest.mark.unit
PAYLOAD = Payload(("python", "-c", "x"), {"AIRFLOW_IS_EXECUTOR_CONTAINER": "true"})

FULL = {
    "cpu": 1,
    "memory": "4GiB",
    "spot": True,
    "task_definition": "airflow:7",
    "cluster": "c2",
    "environment": {"A": "1"},
    "ephemeral_storage": "50GiB",
    "subnets": ["subnet-1"],
    "security_groups": ["sg-1"],
    "assign_public_ip": False,
    "platform_version": "1.4.0",
    "task_role": "arn:aws:iam::123456789012:role/t",
    "execution_role": "arn:aws:iam::123456789012:role/e",
    "tags": {"team": "a b"},
}


def request_of(executor_config: Any, **options: str) -> dict[str, Any]:
    attempt = Attempt("00000000-0000-0000-0000-000000000001", 1, lambda: "{}", executor_config=executor_config)
    request = run_task_request(ecs_options(ecs_conf(**options)), attempt, PAYLOAD, tags=True)
    assert mistakes("ecs", "RunTask", request) == ""
    return request


def test_every_field_reaches_run_task() -> None:
    request = request_of(Container(**FULL), launch_type="FARGATE", subnets="subnet-9", assign_public_ip="true")
    container = {
        "name": "airflow",
        "memory": 4096,
        "command": ["python", "-c", "x"],
        "environment": [{"name": "A", "value": "1"}, {"name": "AIRFLOW_IS_EXECUTOR_CONTAINER", "value": "true"}],
    }
    assert request == {
        "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
        "taskDefinition": "airflow:7",
        "cluster": "c2",
        "platformVersion": "1.4.0",
        "overrides": {
            "cpu": "1024",
            "memory": "4096",
            "ephemeralStorage": {"sizeInGiB": 50},
            "taskRoleArn": FULL["task_role"],
            "executionRoleArn": FULL["execution_role"],
            "containerOverrides": [container],
        },
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": ["subnet-1"],
                "securityGroups": ["sg-1"],
                "assignPublicIp": "DISABLED",
            }
        },
        "tags": [{"key": "team", "value": "a b"}],
        "startedBy": "00000000-0000-0000-0000-000000000001",
        "clientToken": "00000000-0000-0000-0000-000000000001.1",
    }


def test_a_gpu_goes_to_ec2_and_takes_what_only_fargate_has_along() -> None:
    executor_config = Container(gpu=2, memory="60GiB", capacity_provider={"gpu-asg": 1, "gpu-asg-2": 3})
    request = request_of(executor_config, launch_type="FARGATE", platform_version="1.4.0", subnets="subnet-1")
    (container,) = request["overrides"]["containerOverrides"]
    assert container["resourceRequirements"] == [{"type": "GPU", "value": "2"}]
    assert [one["weight"] for one in request["capacityProviderStrategy"]] == [1, 3]
    assert not {"launchType", "platformVersion"} & {*request}
    assert request["networkConfiguration"] == {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}


def test_on_demand_can_be_asked_for_where_the_options_say_spot() -> None:
    request = request_of(Container(spot=False), capacity_provider_strategy='[{"capacityProvider": "FARGATE_SPOT"}]')
    assert request["launchType"] == "FARGATE"
    assert "capacityProviderStrategy" not in request


WRONG = [
    ({"cpu": 1, "memory": "16GiB"}, "memory", "with cpu=1, Fargate has 2GiB to 8GiB in steps of 1GiB"),
    ({"cpu": 3}, "cpu", "0.25, 0.5, 1, 2, 4, 8, 16 vCPUs"),
    ({"cpu": 1024}, "cpu", "not in CPU units"),
    ({"cpu": "1"}, "cpu", "number of vCPUs"),
    ({"memory": "4GB"}, "memory", '"4GiB"'),
    ({"memory": "0.3MiB"}, "memory", "whole MiB"),
    ({"memory": "2GiB", "container_memory": "3GiB"}, "container_memory", "more than memory"),
    ({"gpu": 1, "spot": True}, "gpu", "Fargate has no GPUs"),
    ({"gpu": 0}, "gpu", "at least 1"),
    ({"spot": True, "launch_type": "EC2"}, "spot and launch_type", "exclude"),
    ({"launch_type": "FARGATE_SPOT"}, "launch_type", "FARGATE, EC2"),
    ({"capacity_provider": {"asg": 2000}}, "capacity_provider", "0 to 1000"),
    ({"task_definition": "a b"}, "task_definition", "name:revision"),
    ({"cluster": "a b"}, "cluster", "ARN"),
    ({"environment": {"A": 1}}, "environment", "expected text"),
    ({"environment": {"A=B": "1"}}, "environment", "no name"),
    ({"ephemeral_storage": "20GiB"}, "ephemeral_storage", '"21GiB" to "200GiB"'),
    ({"subnets": "subnet-1"}, "subnets", "expected a list"),
    ({"security_groups": ["subnet-1"]}, "security_groups", "sg-"),
    ({"tags": {"aws:x": "y"}}, "tags", "aws:"),
    ({"tags": {"x": "y;"}}, "tags", "letters"),
    ({"tags": {str(n): "y" for n in range(51)}}, "tags", "50"),
]


@pytest.mark.parametrize(("fields", "field", "allowed"), WRONG)
def test_a_wrong_field_is_named_with_what_is_allowed(fields: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(Refused) as refused:
        Container(**fields)
    text = str(refused.value)
    assert text.startswith(f"Container: {field}")
    assert allowed in text
    assert "\n" not in text


EDGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"capacity_provider": {"a": 1000}}, {"capacity_provider": {"a": 1001}}),
    ({"capacity_provider": {"a": 0}}, {"capacity_provider": {"a": -1}}),
    ({"capacity_provider": {"a": 1}}, {"capacity_provider": {"a": True}}),
    ({"tags": {str(n): "y" for n in range(50)}}, {"tags": {str(n): "y" for n in range(51)}}),
    ({"tags": {"k" * 128: ""}}, {"tags": {"k" * 129: ""}}),
    ({"tags": {"k": "v" * 256}}, {"tags": {"k": "v" * 257}}),
    ({"tags": {"k": ""}}, {"tags": {"": "v"}}),
    ({"ephemeral_storage": "21GiB"}, {"ephemeral_storage": "20GiB"}),
    ({"ephemeral_storage": "200GiB"}, {"ephemeral_storage": "201GiB"}),
    ({"ephemeral_storage": "21504MiB"}, {"ephemeral_storage": "21505MiB"}),
    ({"memory": "2GiB", "container_memory": "2GiB"}, {"memory": "2GiB", "container_memory": "2049MiB"}),
    ({"task_definition": "a:1"}, {"task_definition": "a:"}),
    ({"task_definition": "a" * 255}, {"task_definition": "a" * 256}),
    ({"cluster": "c"}, {"cluster": "c:1"}),
    ({"environment": {"A": ""}}, {"environment": {"": "1"}}),
    ({"gpu": 1}, {"gpu": True}),
    ({"subnets": ["subnet-1"]}, {"subnets": ["subnet-1", 7]}),
]


@pytest.mark.parametrize(("fits", "does_not"), EDGES)
def test_what_just_fits_is_taken(fits: dict[str, Any], does_not: dict[str, Any]) -> None:
    assert Container(**fits) == json.loads(json.dumps(Container(**fits))) != {}
    with pytest.raises(Refused, match=f"^Container: {next(reversed(does_not))}"):
        Container(**does_not)


def test_a_field_that_there_is_not_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match="memroy"):
        Container(memroy="4GiB")  # type: ignore[call-arg]


@given(st.sampled_from(sorted(FARGATE)), st.integers(1, 130 * 1024))
def test_fargate_pairs_are_taken_if_and_only_if_fargate_has_them(units: int, memory: int) -> None:
    if memory in FARGATE[units]:
        assert request_of(Container(cpu=units / 1024, memory=memory))["overrides"]["memory"] == str(memory)
    else:
        with pytest.raises(Refused, match="memory"):
            Container(cpu=units / 1024, memory=memory)
    assert Container(cpu=units / 1024, memory=memory + 6, launch_type="EC2")["overrides"]["cpu"] == str(units)


def test_it_is_a_plain_dict_wherever_it_is_kept() -> None:
    made = Container(**FULL)
    for kept in (pickle.loads(pickle.dumps(made)), deepcopy(made), json.loads(json.dumps(made))):
        assert type(kept) is dict
        assert kept == made


def test_airflow_serialises_and_queues_it() -> None:
    with DAG("d") as dag:

        @task(executor_config=Container(cpu=1, memory="4GiB"))
        def work() -> None: ...

        work()
    # The name since 3.2, and the one before.
    serialization = getattr(serialized_objects, "DagSerialization", None) or serialized_objects.SerializedDAG
    document = json.loads(json.dumps(serialization.to_dict(dag)))
    read = serialization.from_dict(document).get_task("work").executor_config
    assert read == {
        "overrides": {"cpu": "1024", "memory": "4096", "containerOverrides": [{"memory": 4096}]},
    }
    queued = task_workload(executor_config=read).model_dump_json()
    assert "Container" not in json.dumps(document["dag"]["tasks"][0]["__var"]["executor_config"]).replace(
        "containerOverrides", ""
    )
    # Airflow keeps executor_config out of what the container gets.
    assert "4096" not in queued


def test_the_amazon_providers_executor_understands_it_where_the_container_is_named() -> None:
    from airflow.providers.amazon.aws.executors.ecs.ecs_executor import AwsEcsExecutor  # lazy: slow to import

    executor = object.__new__(AwsEcsExecutor)
    executor.container_name = "airflow"
    executor.run_task_kwargs = {
        "taskDefinition": "t",
        "count": 1,
        "overrides": {"containerOverrides": [{"name": "airflow", "command": []}]},
    }
    executor_config = Container(cpu=1, memory="4GiB", environment={"A": "1"}, spot=True, container_name="airflow")
    request = executor._run_task_kwargs(None, ["run"], None, deepcopy(executor_config))
    assert mistakes("ecs", "RunTask", request) == ""
    assert request["overrides"]["memory"] == "4096"
    assert request["overrides"]["containerOverrides"][0]["command"] == ["run"]


def blocks(language: str) -> list[str]:
    page = (Path(__file__).parents[3] / "docs" / "executors.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_pages_dag_is_parsed_and_every_executor_config_in_it_is_one() -> None:
    dag_file, wrong = blocks("python")
    made: dict[str, Any] = {}
    exec(compile(dag_file, "docs/executors.md", "exec"), made)
    tasks = {one.task_id: one for one in made["sizes"]().tasks}
    for name in ("much", "on_a_gpu", "raw"):
        assert request_of(tasks[name].executor_config, launch_type="FARGATE")["overrides"]
    assert (
        mistakes("batch", "SubmitJob", {"jobName": "x", "jobDefinition": "y", **tasks["at_night"].executor_config})
        == ""
    )
    with pytest.raises(Refused) as refused:
        exec(compile(wrong, "docs/executors.md", "exec"), made)
    told = " ".join(line.strip("# ") for line in wrong.splitlines() if line.startswith("#"))
    assert told == f"skylift.core.errors.Refused: {refused.value}"


def test_the_pages_map_and_list_are_options() -> None:
    queues, fallback = blocks("json")
    options = ecs_options(ecs_conf(skylift_queues=queues, skylift_capacity_fallback=fallback, subnets="subnet-9"))
    check_options(options)
    assert {*options.queues} == {"gpu", "big", "far"}
    assert len(options.fallbacks) == 3, "the fourth is Batch's"


def test_importing_it_pulls_neither_airflow_nor_boto() -> None:
    code = (
        "import skylift.executors, sys; print([m for m in sys.modules if m.partition('.')[0] in {'airflow', "
        "'boto3', 'botocore'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_every_field_reaches_submit_job() -> None:
    executor_config = BatchContainer(
        vcpus=2,
        memory="8GiB",
        gpu=1,
        job_queue="gpu",
        job_definition="airflow:3",
        attempts=2,
        timeout=3600,
        environment={"A": "1"},
        parameters={"p": "1"},
        share_identifier="team",
        scheduling_priority=0,
        tags={"team": "x"},
    )
    assert executor_config == {
        "jobQueue": "gpu",
        "jobDefinition": "airflow:3",
        "containerOverrides": {
            "resourceRequirements": [
                {"type": "VCPU", "value": "2"},
                {"type": "MEMORY", "value": "8192"},
                {"type": "GPU", "value": "1"},
            ],
            "environment": [{"name": "A", "value": "1"}],
        },
        "retryStrategy": {"attempts": 2},
        "timeout": {"attemptDurationSeconds": 3600},
        "parameters": {"p": "1"},
        "shareIdentifier": "team",
        "schedulingPriorityOverride": 0,
        "tags": {"team": "x"},
    }
    assert mistakes("batch", "SubmitJob", {"jobName": "x", **executor_config}) == ""
    assert type(pickle.loads(pickle.dumps(executor_config))) is dict


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"vcpus": 0.5, "memory": "16GiB"}, "memory", "with vcpus=0.5, Fargate has 1GiB"),
        ({"vcpus": 0.7}, "vcpus", "0.25"),
        ({"vcpus": 0}, "vcpus", "number"),
        ({"vcpus": 0.5, "gpu": 1}, "vcpus", "whole"),
        ({"memory": 3}, "memory", "at least 4"),
        ({"attempts": 11}, "attempts", "1 to 10"),
        ({"timeout": 59}, "timeout", "at least 60"),
        ({"scheduling_priority": 10_000}, "scheduling_priority", "0 to 9999"),
        ({"job_queue": "a b"}, "job_queue", "ARN"),
    ],
)
def test_a_wrong_field_of_a_batch_job_is_named(fields: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(Refused) as refused:
        BatchContainer(**fields)
    assert str(refused.value).startswith(f"BatchContainer: {field}")
    assert allowed in str(refused.value)
