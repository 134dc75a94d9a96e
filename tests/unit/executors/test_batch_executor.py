"""Batch's side of the executor: options and their precedence, SubmitJob's arguments, names, what is refused and why."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from tests.unit.executor_airflow import batch_conf

from skylift.core.attempt import Attempt
from skylift.core.errors import Refused
from skylift.executors.executor_config.batch_request import (
    array_name,
    check_executor_config,
    job_name,
    names_of,
    submit_request,
    token_of,
)
from skylift.executors.executor_config.container import BatchContainer
from skylift.executors.in_container.payload import Payload
from skylift.executors.options.batch import BatchOptions, batch_options
from skylift.executors.provider import get_provider_info

pytestmark = pytest.mark.unit
PAYLOAD = Payload(("python", "-c", "x"), {"SKYLIFT_WORKLOAD": "s3://b/k"})
SHAPE = botocore.session.get_session().get_service_model("batch").operation_model("SubmitJob").input_shape
ID = "00000000-0000-0000-0000-000000000001"
ECS = '{"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "main"}, {"name": "side"}]}]}}'


def attempt(number: int = 1, **fields: Any) -> Attempt:
    return Attempt(ID, number, lambda: '{"token": "secret-token"}', **fields)


def request_of(conf: Any, executor_config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    options, one = batch_options(conf), attempt(executor_config=executor_config or {}, **fields)
    check_executor_config(one.executor_config, options.container)
    made: dict[str, Any] = submit_request(options, [one], PAYLOAD, job_name(options, one), tags=True)
    assert not ParamValidator().validate(made, SHAPE).has_errors()
    return made


def test_the_smallest_options_make_a_valid_request() -> None:
    request = request_of(batch_conf(), labels={"dag_id": "a/b c", "task_id": "t.x", "run_id": "manual__2026-01-01"})
    assert request == {
        "jobName": f"airflow-a-b-c-t-x-{ID}-1",
        "jobQueue": "jq",
        "jobDefinition": "jd",
        "containerOverrides": {
            "command": ["python", "-c", "x"],
            "environment": [{"name": "SKYLIFT_WORKLOAD", "value": "s3://b/k"}],
        },
        "retryStrategy": {"attempts": 1},
        "tags": {"dag_id": "a/b c", "task_id": "t.x", "run_id": "manual__2026-01-01"},
    }


def test_airflows_command_never_goes_to_a_container_that_nobody_named_airflows() -> None:
    side = {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "side", "environment": []}]}]}}
    with pytest.raises(Refused, match="nothing says in which of them Airflow runs"):
        request_of(batch_conf(), side)


@pytest.mark.parametrize("characters", [1000, 6000, 7000, 7590])
def test_what_batch_overrides_stays_within_what_ecs_takes(characters: int) -> None:
    """The longest command that fits is taken; with room for the variables that Batch adds."""
    commands = ("long", "x" * 5000), ("short", "x" * 500), ("least", "")
    options, one = (
        batch_options(batch_conf()),
        attempt(executor_config={"containerOverrides": {"environment": [{"name": "A", "value": "v" * characters}]}}),
    )
    payload = Payload(commands[0], {}, commands[1:])
    made = submit_request(options, [one], payload, job_name(options, one), tags=True)
    length = len(json.dumps(made["containerOverrides"], separators=(",", ":")))
    assert length <= 8192
    assert (
        made["containerOverrides"]["command"][0]
        == {1000: "long", 6000: "short", 7000: "short", 7590: "least"}[characters]
    )
    too_long = {"containerOverrides": {"environment": [{"name": "A", "value": "v" * 9000}]}}
    with pytest.raises(Refused, match="payload_url"):
        submit_request(options, [attempt(executor_config=too_long)], payload, job_name(options, one), tags=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"submit_job_kwargs": '{"job_queue": "no", "timeout": {"attempt_duration_seconds": 60}}'},
            {"jobQueue": "jq", "timeout": {"attemptDurationSeconds": 60}},
        ),
        ({"job_queue": "", "submit_job_kwargs": '{"jobQueue": "theirs"}'}, {"jobQueue": "theirs"}),
        ({"job_definition": "", "submit_job_kwargs": '{"job_definition": "theirs"}'}, {"jobDefinition": "theirs"}),
        ({"submit_job_kwargs": '{"Tags": [{"Key": "team", "Value": "x"}]}'}, {"tags": {"team": "x"}}),
        ({"submit_job_kwargs": '{"parameters": {"my_word": "1"}}'}, {"parameters": {"my_word": "1"}}),
        ({"submit_job_kwargs": '{"retry_strategy": {"attempts": 3}}'}, {"retryStrategy": {"attempts": 3}}),
        (
            {"submit_job_kwargs": '{"shareIdentifier": "a", "schedulingPriorityOverride": 5}'},
            {"shareIdentifier": "a", "schedulingPriorityOverride": 5},
        ),
        ({"submit_job_kwargs": '{"containerOverrides": {"command": [], "vcpus": 2}}'}, {}),
    ],
)
def test_options_become_arguments(options: dict[str, str], expected: dict[str, Any]) -> None:
    request = request_of(batch_conf(**options))
    assert {key: request.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"job_queue": ""}, r"\[aws_batch_executor\] job_queue"),
        ({"job_definition": ""}, r"\[aws_batch_executor\] job_definition"),
        ({"submit_job_kwargs": "[]"}, "submit_job_kwargs"),
        ({"submit_job_kwargs": "{"}, "submit_job_kwargs"),
        ({"submit_job_kwargs": '{"node_overrides": {}}'}, "nodeOverrides: multi-node"),
        ({"submit_job_kwargs": '{"eksPropertiesOverride": {}}'}, "EKS"),
        ({"submit_job_kwargs": '{"arrayProperties": {"size": 2}}'}, "batch_arrays"),
        ({"submit_job_kwargs": '{"containerOverrides": {"command": ["x"]}}'}, "command"),
        ({"submit_job_kwargs": '{"ecsPropertiesOverride": {"taskProperties": []}}'}, "'name'"),
        ({"max_submit_job_attempts": "0"}, "max_submit_job_attempts"),
        ({"check_health_on_startup": "perhaps"}, "check_health_on_startup"),
        ({"skylift_queues": '{"gpu": {"submit_job_kwargs": {"nodeOverrides": {}}}}'}, "queue 'gpu'"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, str], named: str) -> None:
    with pytest.raises(Refused, match=named) as refused:
        batch_options(batch_conf(**options))
    assert "\n" not in str(refused.value)


def test_executor_config_is_merged_and_never_changed() -> None:
    executor_config: dict[str, Any] = {
        "containerOverrides": {"memory": 4096, "environment": [{"name": "A", "value": "1"}]},
        "tags": {"team": "x", "dag_id": "mine"},
        "jobDefinition": "other",
    }
    before = deepcopy(executor_config)
    conf = batch_conf(submit_job_kwargs='{"containerOverrides": {"vcpus": 2}, "tags": {"cost": "1"}}')
    requests = [request_of(conf, executor_config, labels={"dag_id": "d", "task_id": "t"}) for _ in range(3)]
    assert executor_config == before
    assert requests[0] == requests[2], "an attempt leaves nothing behind for the next"
    request = requests[0]
    override = request["containerOverrides"]
    assert (override["memory"], override["vcpus"], request["jobDefinition"]) == (4096, 2, "other")
    assert [pair["name"] for pair in override["environment"]] == ["A", "SKYLIFT_WORKLOAD"]
    assert request["tags"] == {"cost": "1", "team": "x", "dag_id": "mine", "task_id": "t"}


@pytest.mark.parametrize(
    ("executor_config", "why"),
    [
        ("x", "must be a dict"),
        ({"command": ["x"]}, "'command'"),
        ({"name": "x"}, "'name'"),
        ({"containerOverrides": {"command": ["x"]}}, "containerOverrides.command"),
        ({"containerOverrides": []}, "containerOverrides is a list: expected an object with"),
        ({"tags": [{"Key": "a"}]}, "tags is a list: expected an object"),
        ({"nodeOverrides": {}}, "multi-node"),
        ({"eksPropertiesOverride": {}}, "EKS"),
        ({"arrayProperties": {"size": 3}}, "batch_arrays"),
        ({"ecsPropertiesOverride": {}}, "exactly one"),
        ({"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"command": ["x"]}]}]}}, "'name'"),
        (
            {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "main", "command": ["x"]}]}]}},
            "'main'",
        ),
    ],
)
def test_an_executor_config_that_cannot_work_is_refused_with_advice(executor_config: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        check_executor_config(executor_config, "main")


def test_several_containers_get_the_command_in_the_first_that_the_options_name() -> None:
    request = request_of(batch_conf(submit_job_kwargs=ECS))
    assert "containerOverrides" not in request
    main, side = request["ecsPropertiesOverride"]["taskProperties"][0]["containers"]
    assert (main["name"], main["command"], "command" in side) == ("main", ["python", "-c", "x"], False)
    # The author's list replaces the options'; Airflow's container is in it all the same.
    wanted = {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "side", "command": ["y"]}]}]}}
    containers = request_of(batch_conf(submit_job_kwargs=ECS), wanted)["ecsPropertiesOverride"]["taskProperties"][0]
    assert [one["command"] for one in containers["containers"]] == [["python", "-c", "x"], ["y"]]
    # An author may go from a definition with one container to one with several, and back.
    elsewhere = {
        "ecsPropertiesOverride": {
            "taskProperties": [{"containers": [{"name": "side"}, {"name": "air", "command": []}]}]
        }
    }
    request = request_of(batch_conf(submit_job_kwargs='{"containerOverrides": {}}'), elsewhere)
    assert "containerOverrides" not in request
    side, main = request["ecsPropertiesOverride"]["taskProperties"][0]["containers"]
    assert (main["name"], main["command"], side) == ("air", ["python", "-c", "x"], {"name": "side"})
    assert "ecsPropertiesOverride" not in request_of(
        batch_conf(submit_job_kwargs=ECS), {"containerOverrides": {"vcpus": 1}}
    )


def test_what_is_longer_than_batch_takes_is_refused_before_the_call() -> None:
    options, one = batch_options(batch_conf()), attempt()
    long = Payload(("python", "-c", "x", "y" * 31_000), {})
    with pytest.raises(Refused, match="payload_url"):
        submit_request(options, [one], long, "n", tags=True)


def test_queues_and_fallbacks_choose_the_job_queue() -> None:
    queues = {
        "gpu": {"job_queue": "gpu-q", "submit_job_kwargs": {"propagateTags": True}, "task_definition": "ecs-only"}
    }
    fallback = [{"job_queue": "on-demand"}, "FARGATE"]
    options = batch_options(
        batch_conf(skylift_queues=json.dumps(queues), skylift_capacity_fallback=json.dumps(fallback))
    )
    assert options.of("gpu").request["jobQueue"] == "gpu-q"
    assert options.of("gpu").request["propagateTags"] is True
    assert options.of("default").request["jobQueue"] == "jq"
    assert [options.after(shortages).request["jobQueue"] for shortages in range(3)] == ["jq", "on-demand", "jq"]
    assert options.places() == ["jq", "on-demand"]


def named(options: BatchOptions, **labels: str) -> str:
    return job_name(options, attempt(labels=labels))


def test_names_are_batch_s_and_carry_the_token() -> None:
    options = batch_options(batch_conf(job_name="prod"))
    long = named(options, dag_id="d" * 250, task_id="ü" * 250)
    assert len(long) <= 128
    assert long.isascii()
    assert named(options, callback_id="c") == f"prod-callback-{ID}-1"
    assert named(batch_options(batch_conf(job_name="")), dag_id="_d") == f"d-{ID}-1"
    for name in (long, named(options, dag_id="d", task_id="t")):
        assert token_of(name) == f"{ID}.1"
    many = [attempt(labels={"dag_id": "d", "task_id": task, "map_index": task}) for task in ("a", "b")]
    array = array_name(options, many, ID)
    assert array == f"prod-d-{ID}-array"
    assert token_of(array) == ""
    twelve = attempt(12, labels={"dag_id": "d" * 250, "task_id": "t"})
    assert job_name(options, twelve) == names_of(options, attempt(labels=twelve.labels)) + "12"
    assert len(job_name(options, twelve)) <= 128


def test_children_of_an_array_have_the_tags_that_they_have_in_common() -> None:
    many = [attempt(labels={"dag_id": "d", "task_id": "t", "map_index": str(index)}) for index in range(3)]
    request = submit_request(batch_options(batch_conf()), many, PAYLOAD, "n", tags=True)
    assert (request["tags"], request["arrayProperties"]) == ({"dag_id": "d", "task_id": "t"}, {"size": 3})
    assert not ParamValidator().validate(request, SHAPE).has_errors()


def test_the_provider_lists_the_executor() -> None:
    assert "skylift.executors.batch.AwsBatchExecutor" in get_provider_info()["executors"]


def test_a_batch_container_is_an_executor_config() -> None:
    executor_config = BatchContainer(
        vcpus=1, memory="4GiB", environment={"A": "1"}, job_queue="big", tags={"team": "x"}
    )
    request = request_of(batch_conf(), executor_config, labels={"dag_id": "d"})
    override = request["containerOverrides"]
    assert {one["type"]: one["value"] for one in override["resourceRequirements"]} == {"VCPU": "1", "MEMORY": "4096"}
    assert [pair["name"] for pair in override["environment"]] == ["A", "SKYLIFT_WORKLOAD"]
    assert (request["jobQueue"], request["tags"]) == ("big", {"team": "x", "dag_id": "d"})


def test_a_word_that_submit_job_does_not_have_is_named() -> None:
    with pytest.raises(Refused, match=r"executor_config: .*colour"):
        request_of(batch_conf(), {"colour": "blue"})
