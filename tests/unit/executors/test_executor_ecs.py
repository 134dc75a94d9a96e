"""ECS's side of the executor: options, RunTask's arguments, what DescribeTasks means, errors of botocore."""

from __future__ import annotations

import ast
import base64
import json
import zlib
from copy import deepcopy
from dataclasses import replace
from importlib.resources import files
from typing import Any

import botocore.exceptions
import botocore.session
import jsonschema
import pytest
from airflow.api_fastapi.auth.tokens import JWTGenerator
from botocore.validate import ParamValidator
from tests.unit.executor_airflow import ecs_conf, task_workload

from skylift.aws.ecs.tasks import EcsTasks, NoCapacity, NoCluster, Throttled
from skylift.core.attempt import Attempt, Phase, Verdict, verdict
from skylift.core.errors import Refused, Unavailable
from skylift.core.names import tag_value
from skylift.executors.ecs import EcsCompute, observation
from skylift.executors.executor_config.ecs_request import run_task_request
from skylift.executors.in_container import programs
from skylift.executors.in_container.payload import Payload, Payloads
from skylift.executors.options.ecs import ecs_options
from skylift.executors.provider import get_provider_info

pytestmark = pytest.mark.unit
PAYLOAD = Payload(("python", "-c", "x"), {"SKYLIFT_WORKLOAD": "s3://b/k"})
SHAPE = botocore.session.get_session().get_service_model("ecs").operation_model("RunTask").input_shape


class Ecs:
    """Stands where boto3's client would: answers what it is told, and keeps what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        def call(**request: Any) -> Any:
            self.asked.append(request)
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def refusal(code: str, text: str = "why", status: int = 400, **more: Any) -> botocore.exceptions.ClientError:
    answer = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    return botocore.exceptions.ClientError(answer, "RunTask")  # type: ignore[arg-type]


def attempt(**fields: Any) -> Attempt:
    return Attempt("00000000-0000-0000-0000-000000000001", 1, lambda: '{"token": "secret-token"}', **fields)


def request_of(conf: Any, executor_config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    request = run_task_request(
        ecs_options(conf), attempt(executor_config=executor_config or {}, **fields), PAYLOAD, tags=True
    )
    assert not ParamValidator().validate(request, SHAPE).has_errors()
    return request


def test_the_smallest_options_make_a_valid_request() -> None:
    request = request_of(ecs_conf(), labels={"dag_id": "a/b c", "run_id": "manual__2026-01-01T00:00:00+00:00"})
    assert request["clientToken"] == "00000000-0000-0000-0000-000000000001.1"
    assert request["startedBy"] == "00000000-0000-0000-0000-000000000001"
    assert "networkConfiguration" not in request
    assert "platformVersion" not in request
    (container,) = request["overrides"]["containerOverrides"]
    assert container["command"] == ["python", "-c", "x"]
    assert {"name": "SKYLIFT_WORKLOAD", "value": "s3://b/k"} in container["environment"]
    assert {"key": "dag_id", "value": "a/b c"} in request["tags"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"launch_type": "EC2", "platform_version": "1.4.0"}, {"launchType": "EC2"}),
        ({"platform_version": "1.4.0"}, {"platformVersion": "1.4.0"}),
        (
            {
                "capacity_provider_strategy": "[{'capacityProvider': 'my-asg', 'weight': 1}]",
                "platform_version": "1.4.0",
            },
            {"capacityProviderStrategy": [{"capacityProvider": "my-asg", "weight": 1}]},
        ),
        (
            {"subnets": "subnet-1, subnet-2", "security_groups": "sg-1", "assign_public_ip": "true"},
            {
                "networkConfiguration": {
                    "awsvpcConfiguration": {
                        "subnets": ["subnet-1", "subnet-2"],
                        "securityGroups": ["sg-1"],
                        "assignPublicIp": "ENABLED",
                    }
                }
            },
        ),
        (
            {"run_task_kwargs": '{"launchType": "EC2", "task_definition": "no", "propagateTags": "TASK_DEFINITION"}'},
            {"launchType": "EC2", "taskDefinition": "t", "propagateTags": "TASK_DEFINITION"},
        ),
        ({"run_task_kwargs": '{"launch_type": "EC2"}', "launch_type": "FARGATE"}, {"launchType": "FARGATE"}),
    ],
)
def test_options_become_arguments(options: dict[str, str], expected: dict[str, Any]) -> None:
    request = request_of(ecs_conf(**options))
    assert {key: request.get(key) for key in expected} == expected
    if ("EC2" in str(options) and "FARGATE" not in str(options)) or "my-asg" in str(options):
        assert "platformVersion" not in request


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"container_name": ""}, "container_name"),
        ({"task_definition": ""}, "task_definition"),
        ({"launch_type": "FARGATE", "capacity_provider_strategy": '[{"capacityProvider": "x"}]'}, "launch_type"),
        ({"capacity_provider_strategy": "FARGATE_SPOT"}, "capacity_provider_strategy"),
        ({"run_task_kwargs": "[]"}, "run_task_kwargs"),
        ({"max_run_task_attempts": "0"}, "max_run_task_attempts"),
        ({"assign_public_ip": "perhaps"}, "assign_public_ip"),
        ({"security_groups": "sg-1"}, "subnets"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, str], named: str) -> None:
    with pytest.raises(Refused, match=named) as refused:
        ecs_options(ecs_conf(**options))
    assert "\n" not in str(refused.value)


def test_executor_config_is_merged_and_never_changed() -> None:
    executor_config = {
        "overrides": {
            "cpu": "2048",
            "containerOverrides": [{"name": "airflow", "memory": 4096, "environment": [{"name": "A", "value": "1"}]}],
        },
        "tags": [{"key": "team", "value": "x"}, {"key": "dag_id", "value": "mine"}],
    }
    before = deepcopy(executor_config)
    conf = ecs_conf(run_task_kwargs='{"overrides": {"memory": "8192"}}')
    requests = [request_of(conf, executor_config, labels={"dag_id": "d", "task_id": "t"}) for _ in range(3)]
    assert executor_config == before
    assert requests[0] == requests[2], "an attempt leaves nothing behind for the next"
    overrides = requests[0]["overrides"]
    assert (overrides["cpu"], overrides["memory"]) == ("2048", "8192")
    (container,) = overrides["containerOverrides"]
    assert container["memory"] == 4096
    assert [pair["name"] for pair in container["environment"]] == ["A", "SKYLIFT_WORKLOAD"]
    assert requests[0]["tags"] == [*before["tags"], {"key": "task_id", "value": "t"}]


def test_a_sidecar_override_leaves_airflows_container_ours() -> None:
    request = request_of(ecs_conf(), {"overrides": {"containerOverrides": [{"name": "proxy", "command": ["x"]}]}})
    by_name = {one["name"]: one["command"] for one in request["overrides"]["containerOverrides"]}
    assert by_name == {"airflow": ["python", "-c", "x"], "proxy": ["x"]}


@pytest.mark.parametrize(
    "executor_config",
    [
        {"command": ["rm"]},
        {"name": "x"},
        ["not a dict"],
        {"overrides": {"containerOverrides": [{"command": ["rm"]}]}},
        {"overrides": {"containerOverrides": [{"memory": 1}, {"name": "airflow"}]}},
        {"overrides": {"containerOverrides": ["no dict"]}},
        {"overrides": {"containerOverrides": [{"memroy": 1}]}},
        {"task_definition": "x"},
        {"overrides": {"containerOverrides": [{"name": "airflow", "command": ["rm"]}]}},
    ],
)
def test_a_wrong_executor_config_is_refused_before_anything_is_asked(executor_config: Any) -> None:
    ecs = Ecs()
    compute = EcsCompute(EcsTasks(ecs), ecs_options(ecs_conf()), Payloads())
    (answer,) = compute.submit([attempt(executor_config=executor_config)])
    assert "executor_config" in answer.refused
    assert ecs.asked == []


def test_too_long_overrides_are_refused_with_the_way_out() -> None:
    long = Payload(("python", "-c", "x" * 9000), {})
    with pytest.raises(Refused, match="payload_url"):
        run_task_request(ecs_options(ecs_conf()), attempt(), long, tags=True)


@pytest.mark.parametrize("stay", [False, True])
def test_a_program_is_valid_and_needs_nothing_of_ours(stay: bool) -> None:
    text = programs.program("a.B", stay=stay).decode()
    compile(text, "in_container", "exec")
    assert not any(f"{how}skylift" in text for how in ("import ", "from ", "import_module('", "__import__('"))
    assert ("def stay(" in text) is stay
    assert text.endswith("\nEXECUTORS='a.B'\n")


@pytest.mark.parametrize(("stay", "array"), [(False, False), (True, False), (False, True)])
def test_the_command_that_fetches_a_program_is_short(stay: bool, array: bool) -> None:
    """What the amazon provider's takes at the least is its 100 characters, and a workload of 900."""
    *_, text = programs.fetching(12_345, stay=stay, array=array)
    compile(text, "command", "exec")
    assert len(text) < (520 if array else 330)


PROVIDERS = ("python", "-m", "airflow.sdk.execution_time.execute_workload", "--json-string")


def real_document(task_id: str) -> str:
    """A workload with a token as Airflow makes it."""
    generator = JWTGenerator(
        secret_key="x" * 64, valid_for=600, audience="urn:airflow.apache.org:task", issuer="airflow"
    )
    workload = task_workload(task_id)
    token = generator.generate({"sub": str(workload.ti.id), "scope": "workload"})
    return str(workload.model_copy(update={"token": token}).model_dump_json())


@pytest.mark.parametrize("task_id", ["t", "transform_the_orders", "x" * 250])
def test_whatever_fits_with_the_providers_command_fits_with_ours(task_id: str) -> None:
    document = real_document(task_id)
    provided = Payload((*PROVIDERS, document), {"AIRFLOW_IS_EXECUTOR_CONTAINER": "true"})
    one = replace(attempt(), document=lambda: document)
    ours = Payloads(executors="skylift.executors.ecs.AwsEcsExecutor,skylift.executors.batch.AwsBatchExecutor").prepare(
        one
    )
    forms = (ours.command, *ours.shorter)
    used = []
    for variables in range(61):
        pairs = [{"name": f"MY_SETTING_{number:03}", "value": "v" * 80} for number in range(variables)]
        executor_config = {"overrides": {"containerOverrides": [{"name": "airflow", "environment": pairs}]}}
        wanted = replace(one, executor_config=executor_config)
        try:
            run_task_request(ecs_options(ecs_conf()), wanted, provided, tags=True)
        except Refused:
            break
        request = run_task_request(ecs_options(ecs_conf()), wanted, ours, tags=True)
        (container,) = request["overrides"]["containerOverrides"]
        used.append(forms.index(tuple(container["command"])))
    assert len(used) > 45
    assert used == sorted(used), "the one that does most first"
    assert used[0] == 0
    assert used[45] == 1, "a stop is a failure there, too"


@pytest.mark.parametrize("form", [0, 1])
def test_an_inline_workload_comes_back_as_it_was(form: int) -> None:
    document = json.dumps({"token": "secret-token", "text": "'\\\"\n%s {x} \u00e4"})
    *_, word = programs.inline("a.B", document)[form]
    text = zlib.decompress(base64.b85decode(word)).decode()
    compile(text, "program", "exec")
    values = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    assert [document, document.encode()][1 - form] in values


class Bucket:
    """Stands where a boto3 session would, and where its S3 client would."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.made: list[tuple[str, str | None]] = []
        self.kept: dict[str, bytes] = {}

    def client(self, service: str, region_name: str | None, config: object) -> Bucket:
        self.made.append((service, region_name))
        return self

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        if self.error:
            raise self.error
        self.kept[f"{Bucket}/{Key}"] = Body


def test_by_reference_the_token_is_in_the_object_and_nowhere_else() -> None:
    bucket = Bucket()
    payload = Payloads("s3://bucket/some/prefix/", session=bucket).prepare(attempt())
    key = "some/prefix/00000000-0000-0000-0000-000000000001.1.json"
    assert list(bucket.kept) == [f"bucket/{key}"]
    size = len(programs.program(""))
    assert bucket.kept[f"bucket/{key}"] == programs.program("") + b'{"token": "secret-token"}'
    assert payload.command == programs.fetching(size)
    assert payload.environment["SKYLIFT_WORKLOAD"] == f"s3://bucket/{key}"
    assert "secret-token" not in repr(payload)


def test_only_a_container_that_may_be_handed_another_workload_stays() -> None:
    payloads = Payloads("s3://bucket/prefix", session=Bucket(), stay_seconds=60)
    stays = {queue: payloads.prepare(replace(attempt(), queue=queue)) for queue in ("default", "")}
    assert stays["default"].command == programs.fetching(len(programs.program("", stay=True)), stay=True)
    assert stays["default"].environment["SKYLIFT_WARM_SECONDS"] == "60"
    # A callback's: see order_of.
    assert stays[""].command == programs.fetching(len(programs.program("")))
    assert "SKYLIFT_WARM_SECONDS" not in stays[""].environment


def test_the_workload_is_put_with_the_credentials_and_the_region_of_run_task() -> None:
    bucket = Bucket()
    Payloads("s3://bucket/prefix", session=bucket, region="eu-west-1").prepare(attempt())
    assert bucket.made == [("s3", "eu-west-1")]
    assert bucket.kept


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (refusal("ExpiredToken"), "later"),
        (refusal("InvalidAccessKeyId", status=403), "later"),
        (botocore.exceptions.NoCredentialsError(), "later"),
        (refusal("SlowDown", status=503), "throttled"),
        (refusal("AccessDenied", status=403), "refused"),
        (refusal("NoSuchBucket", status=404), "refused"),
    ],
)
def test_a_workload_that_cannot_be_put_waits_unless_it_never_can(error: Exception, answer: str) -> None:
    ecs = Ecs()
    payloads = Payloads("s3://bucket/prefix", session=Bucket(error))
    (given,) = EcsCompute(EcsTasks(ecs), ecs_options(ecs_conf()), payloads).submit([attempt()])
    assert getattr(given, answer)
    assert ecs.asked == []


def test_tag_values_keep_to_the_alphabet() -> None:
    assert tag_value("a{b}|c+1:2/é" + "x" * 300) == ("a_b__c+1:2/é" + "x" * 300)[:256]
    assert tag_value("a b(c)*ü+1:2/3@x") == "a b_c__ü+1:2/3@x"


def test_the_author_may_ask_for_spot_where_the_options_say_fargate() -> None:
    strategy = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    request = request_of(ecs_conf(launch_type="FARGATE"), {"capacityProviderStrategy": strategy})
    assert request["capacityProviderStrategy"] == strategy
    assert "launchType" not in request


@pytest.mark.parametrize(
    ("clusters", "launch"),
    [
        ({"clusters": [{"status": "ACTIVE", "defaultCapacityProviderStrategy": [{"capacityProvider": "x"}]}]}, None),
        ({"clusters": [{"status": "ACTIVE", "defaultCapacityProviderStrategy": []}]}, "FARGATE"),
        (refusal("AccessDeniedException"), "FARGATE"),
    ],
)
def test_without_a_word_the_cluster_decides_and_else_fargate(clusters: Any, launch: str | None) -> None:
    ecs = Ecs(describe_clusters=clusters, run_task={"tasks": [{"taskArn": "arn:1"}]})
    compute = EcsCompute(EcsTasks(ecs, "c"), ecs_options(ecs_conf()), Payloads())
    compute.submit([attempt(), attempt()])
    assert [one.get("launchType") for one in ecs.asked] == [None, launch, launch], "the cluster is asked once"


def test_a_task_that_stops_while_we_look_for_it_is_found() -> None:
    class Stopping:
        """ListTasks while a task goes from RUNNING to STOPPED: whatever is asked second sees it as STOPPED."""

        calls = 0

        def get_paginator(self, name: str) -> Any:
            return self

        def paginate(self, desiredStatus: str, **request: Any) -> Any:
            self.calls += 1
            now = "RUNNING" if self.calls == 1 else "STOPPED"
            return [{"taskArns": ["arn:1"] if desiredStatus == now else []}]

    assert EcsTasks(Stopping()).started_by("x") == ["arn:1"]


def test_a_cluster_that_is_not_there_is_named() -> None:
    with pytest.raises(NoCluster, match="'c' does not exist"):
        EcsTasks(
            Ecs(describe_clusters={"clusters": [], "failures": [{"reason": "MISSING"}]}), "c"
        ).has_default_strategy()


def test_airflow_accepts_what_we_declare() -> None:
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    declared = get_provider_info()
    jsonschema.validate(declared, schema)
    assert {*declared["config"]} == {"skylift"}, "[aws_ecs_executor] is the amazon provider's to declare"


CASES = [
    (Ecs(run_task={"tasks": [{"taskArn": "arn:1"}]}), ("ref", "arn:1")),
    (Ecs(run_task=refusal("ConflictException", resourceIds=["arn:0"])), ("ref", "arn:0")),
    (Ecs(run_task=refusal("ThrottlingException")), ("later", "Throttling")),
    (Ecs(run_task=refusal("InvalidParameterException", "Rate exceeded (ErrorCode: Throttling)")), ("later", "Rate")),
    (Ecs(run_task=refusal("ServerException", status=500)), ("later", "ServerException")),
    (Ecs(run_task=refusal("ClientException", "Capacity is unavailable at this time")), ("later", "Capacity")),
    (Ecs(run_task=refusal("ClientException", "TaskDefinition not found")), ("refused", "TaskDefinition")),
    (Ecs(run_task=refusal("AccessDeniedException", "not authorized")), ("refused", "not authorized")),
    (Ecs(run_task={"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]}), ("later", "RESOURCE:MEMORY")),
    (Ecs(run_task={"tasks": [], "failures": []}), ("later", "no reason")),
    (Ecs(run_task={"tasks": [], "failures": [{"reason": "MISSING"}]}), ("refused", "MISSING")),
    (Ecs(run_task=botocore.exceptions.ReadTimeoutError(endpoint_url="x")), ("later", "Read timeout")),
    (Ecs(run_task=botocore.exceptions.ParamValidationError(report="bad")), ("refused", "bad")),
]


@pytest.mark.parametrize(("ecs", "answer"), CASES)
def test_every_answer_of_run_task_has_one_meaning(ecs: Ecs, answer: tuple[str, str]) -> None:
    compute = EcsCompute(EcsTasks(ecs, "c"), ecs_options(ecs_conf(launch_type="FARGATE")), Payloads())
    (given,) = compute.submit([attempt()])
    kind, text = answer
    assert text in getattr(given, kind)
    assert sum(map(bool, (given.ref, given.later, given.refused))) == 1
    assert ecs.asked[0]["cluster"] == "c"


def test_errors_of_the_other_calls_say_who_can_act() -> None:
    for error, kind in [
        (refusal("ThrottlingException"), Throttled),
        (refusal("ClientException", "RESOURCE:ENI"), NoCapacity),
        (refusal("AccessDeniedException"), Refused),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="x"), Unavailable),
        (botocore.exceptions.NoCredentialsError(), Unavailable),
    ]:
        with pytest.raises(kind):
            EcsTasks(Ecs(describe_tasks=error)).describe(["arn:1"])
        with pytest.raises(kind):
            EcsTasks(Ecs(stop_task=error)).stop("arn:1", "why")


def ecs_task(last: str = "STOPPED", code: int | None = None, **fields: Any) -> dict[str, Any]:
    main: dict[str, Any] = {"name": "airflow", "lastStatus": last, "reason": fields.pop("why", "")}
    main |= {"exitCode": code} if code is not None else {}
    return {"taskArn": "arn:1", "lastStatus": last, "containers": fields.pop("containers", [main]), **fields}


@pytest.mark.parametrize(
    ("task", "phase", "means", "text"),
    [
        (ecs_task("PROVISIONING"), Phase.WAITING, Verdict.UNDERWAY, ""),
        (ecs_task("RUNNING", startedAt=1), Phase.RUNNING, Verdict.UNDERWAY, ""),
        (
            ecs_task(code=0, startedAt=1, stopCode="EssentialContainerExited"),
            Phase.STOPPED,
            Verdict.FINISHED,
            "exit code 0",
        ),
        (ecs_task(code=137, startedAt=1, why="OutOfMemoryError: killed"), Phase.STOPPED, Verdict.DIED, "out of memory"),
        (ecs_task(startedAt=1, stopCode="SpotInterruption"), Phase.STOPPED, Verdict.DIED, "SpotInterruption"),
        (ecs_task(stopCode="SpotInterruption"), Phase.STOPPED, Verdict.LOST, "SpotInterruption"),
        (ecs_task(stopCode="UserInitiated"), Phase.STOPPED, Verdict.DIED, "UserInitiated"),
        (ecs_task(code=72, startedAt=1, stopCode="UserInitiated"), Phase.STOPPED, Verdict.DIED, "UserInitiated"),
        (ecs_task(code=72, startedAt=1, stopCode="SpotInterruption"), Phase.STOPPED, Verdict.LOST, "SpotInterruption"),
        (
            ecs_task(
                "DEPROVISIONING",
                startedAt=1,
                stopCode="UserInitiated",
                containers=[{"name": "airflow", "lastStatus": "STOPPED", "exitCode": 72}],
            ),
            Phase.STOPPED,
            Verdict.DIED,
            "UserInitiated",
        ),
        (
            ecs_task(containers=[], stopCode="TaskFailedToStart", stoppedReason="CannotPullContainerError: no"),
            Phase.STOPPED,
            Verdict.LOST,
            "CannotPullContainerError",
        ),
        (
            ecs_task(
                startedAt=1,
                containers=[
                    {"name": "airflow", "lastStatus": "STOPPED", "exitCode": 0},
                    {"name": "proxy", "lastStatus": "STOPPED", "exitCode": 143},
                ],
            ),
            Phase.STOPPED,
            Verdict.FINISHED,
            "",
        ),
    ],
)
def test_what_describe_tasks_shows_has_one_meaning(
    task: dict[str, Any], phase: Phase, means: Verdict, text: str
) -> None:
    known = EcsTasks(Ecs(describe_tasks={"tasks": [task]})).describe(["arn:1"])
    seen = observation("arn:1", known["arn:1"], "airflow")
    assert seen.phase is phase
    assert verdict(seen) is means
    assert text in seen.reason


def test_what_ecs_does_not_know_is_missing() -> None:
    answer = {"tasks": [], "failures": [{"reason": "MISSING"}]}
    compute = EcsCompute(EcsTasks(Ecs(describe_tasks=answer)), ecs_options(ecs_conf()), Payloads())
    assert [one.phase for one in compute.observe(["arn:1"])] == [Phase.MISSING]
