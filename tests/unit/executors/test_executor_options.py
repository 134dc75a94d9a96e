"""Every documented option compared with the amazon provider; queues; fallbacks; arguments are never modified."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.configuration import (
    AirflowConfigParser,
    conf,
    create_default_config_parser,
    retrieve_configuration_description,
)
from airflow.providers.amazon.aws.executors.ecs import ecs_executor_config
from airflow.providers_manager import ProvidersManager
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from tests.unit.executor_airflow import ecs_conf

from skylift.aws.ecs.tasks import EcsTasks
from skylift.aws.shapes import mistakes
from skylift.core.attempt import Attempt
from skylift.core.errors import Refused
from skylift.executors.ecs import AwsEcsExecutor, EcsCompute
from skylift.executors.executor_config.ecs_request import check_options, run_task_request
from skylift.executors.in_container.payload import Payload, Payloads
from skylift.executors.options import settings
from skylift.executors.options.ecs import ECS_SECTION, ECS_SETTINGS, QUEUE_SETTINGS, ecs_options
from skylift.executors.options.queues import FALLBACK_WORDS, QUEUE_WORDS, merged
from skylift.executors.options.settings import OWN_SECTION
from skylift.executors.provider import get_provider_info

pytestmark = pytest.mark.unit
PAYLOAD = Payload((), {})
FEW = {
    "container_name": "airflow",
    "task_definition": "t",
    "cluster": "c",
    "launch_type": "FARGATE",
    "subnets": "subnet-1",
}


def ours(read_from: Any, **fields: Any) -> dict[str, Any]:
    attempt = Attempt("00000000-0000-0000-0000-000000000001", 1, lambda: "{}", **fields)
    options = ecs_options(read_from)
    check_options(options)
    request = run_task_request(options.of(attempt.queue), attempt, PAYLOAD, tags=False)
    assert mistakes("ecs", "RunTask", request) == ""
    for mine in ("startedBy", "clientToken"):
        request.pop(mine)
    for override in request["overrides"]["containerOverrides"]:
        for nothing in ("command", "environment"):
            if override.get(nothing) == []:
                override.pop(nothing)
    return request


def theirs(read_from: Any) -> dict[str, Any]:
    """What the amazon provider's executor makes, without the empty command that stands for ours, and ``count``."""
    request = ecs_executor_config.build_task_kwargs(read_from)
    request.pop("count")
    for override in request["overrides"]["containerOverrides"]:
        override.pop("command", None)
    return request


def network(**members: Any) -> dict[str, Any]:
    return {"awsvpcConfiguration": {"subnets": ["subnet-1"], **members}}


BASE = {
    "cluster": "c",
    "taskDefinition": "t",
    "launchType": "FARGATE",
    "overrides": {"containerOverrides": [{"name": "airflow"}]},
    "networkConfiguration": network(assignPublicIp="DISABLED"),
}
STRATEGY = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
ASG = [{"capacityProvider": "my-asg", "weight": 1}]

TABLE: list[tuple[dict[str, str | None], dict[str, Any]]] = [
    ({}, {}),
    ({"cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/x"}, {"cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/x"}),
    ({"container_name": "other"}, {"overrides": {"containerOverrides": [{"name": "other"}]}}),
    ({"task_definition": "t:7"}, {"taskDefinition": "t:7"}),
    ({"launch_type": "FARGATE"}, {"launchType": "FARGATE"}),
    ({"launch_type": "EC2"}, {"launchType": "EC2", "networkConfiguration": network()}),
    ({"platform_version": "1.4.0"}, {"platformVersion": "1.4.0"}),
    ({"subnets": "subnet-1,subnet-2"}, {"networkConfiguration": network(subnets=["subnet-1", "subnet-2"], assignPublicIp="DISABLED")}),
    ({"security_groups": "sg-1,sg-2"}, {"networkConfiguration": network(securityGroups=["sg-1", "sg-2"], assignPublicIp="DISABLED")}),
    ({"assign_public_ip": "True"}, {"networkConfiguration": network(assignPublicIp="ENABLED")}),
    ({"assign_public_ip": "False"}, {}),
    ({"run_task_kwargs": '{"enable_execute_command": true}'}, {"enableExecuteCommand": True}),
    ({"run_task_kwargs": '{"propagateTags": "TASK_DEFINITION"}'}, {"propagateTags": "TASK_DEFINITION"}),
    ({"run_task_kwargs": '{"enableECSManagedTags": true, "group": "g"}'}, {"enableECSManagedTags": True, "group": "g"}),
    ({"run_task_kwargs": '{"tags": [{"key": "a_b", "value": "c_d"}]}'}, {"tags": [{"key": "a_b", "value": "c_d"}]}),
    ({"run_task_kwargs": '{"overrides": {"cpu": "1024", "memory": "2048"}}'}, {"overrides": {"cpu": "1024", "memory": "2048", "containerOverrides": [{"name": "airflow"}]}}),
    (
        {"run_task_kwargs": '{"overrides": {"containerOverrides": [{"memory": 512}, {"name": "proxy", "memory": '
                            '64}]}}'},
        {"overrides": {"containerOverrides": [{"memory": 512, "name": "airflow"}, {"name": "proxy", "memory": 64}]}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), TABLE, ids=lambda one: json.dumps(one)[:60])
def test_each_option_is_what_it_is_for_the_amazon_providers_executor(
    options: dict[str, str], expected: dict[str, Any]
) -> None:
    asked = option_conf(FEW | options)
    request = ours(asked)
    assert request == BASE | expected
    provider = theirs(asked)
    # The one difference everywhere: its default LATEST is ECS's own, and we do not send it (W26: EC2 refuses it).
    if provider.get("platformVersion") == "LATEST":
        del provider["platformVersion"]
    assert request == provider


def option_conf(options: dict[str, Any]) -> AirflowConfigParser:
    """Airflow's own parser, with these options as if in the file, and the amazon provider's defaults below."""
    parser = AirflowConfigParser()
    parser._default_values = create_default_config_parser(retrieve_configuration_description(include_providers=True))
    parser.read_dict({ECS_SECTION: {name: value for name, value in options.items() if value is not None}})
    return parser


DIFFERENT = [
    (
        "W25: the strategy is a string to the provider, which boto rejects",
        {"launch_type": None, "capacity_provider_strategy": json.dumps(STRATEGY)},
        {"launchType": None, "capacityProviderStrategy": STRATEGY},
        lambda provider: "capacityProviderStrategy is text" in mistakes("ecs", "RunTask", provider),
    ),
    (
        "W26: an EC2 capacity provider takes no platform version, and no public address",
        {"launch_type": None, "run_task_kwargs": json.dumps({"capacity_provider_strategy": ASG})},
        {"launchType": None, "capacityProviderStrategy": ASG, "networkConfiguration": network()},
        lambda provider: provider["platformVersion"] == "LATEST",
    ),
    (
        "W28: true in any spelling of Airflow's is true",
        {"assign_public_ip": "true"},
        {"networkConfiguration": network(assignPublicIp="ENABLED")},
        lambda provider: provider["networkConfiguration"] == network(assignPublicIp="DISABLED"),
    ),
    (
        "blanks in lists do not count",
        {"subnets": "subnet-1, subnet-2"},
        {"networkConfiguration": network(subnets=["subnet-1", "subnet-2"], assignPublicIp="DISABLED")},
        lambda provider: provider["networkConfiguration"]["awsvpcConfiguration"]["subnets"][1] == " subnet-2",
    ),
    (
        "documented: explicit options go before RUN_TASK_KWARGS; the provider has it the other way round",
        {"run_task_kwargs": '{"launch_type": "EC2", "task_definition": "no"}'},
        {},
        lambda provider: (provider["launchType"], provider["taskDefinition"]) == ("EC2", "no"),
    ),
    (
        "without launch type and strategy, the cluster decides; W27: the provider asks the default connection's "
        "cluster",
        {"launch_type": None, "cluster": None},
        {"launchType": None, "cluster": None},
        lambda provider: "launchType" not in provider,
    ),
]


@pytest.mark.parametrize(
    ("why", "options", "expected", "provider_is"), DIFFERENT, ids=[one[0][:30] for one in DIFFERENT]
)
def test_where_we_differ_from_the_amazon_providers_executor(
    why: str, options: dict[str, Any], expected: dict[str, Any], provider_is: Any
) -> None:
    asked = option_conf(FEW | options)
    assert ours(asked) == {key: value for key, value in (BASE | expected).items() if value is not None}, why
    assert provider_is(theirs(asked)), "the provider is as we say"


def test_every_option_can_be_set_by_an_environment_variable_and_in_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = {
        "cluster": "c9",
        "container_name": "n9",
        "region_name": "r9",
        "region": "r8",
        "conn_id": "i9",
        "aws_conn_id": "i8",
        "task_definition": "t9",
        "launch_type": "FARGATE",
        "platform_version": "1.3.0",
        "security_groups": "sg-9",
        "subnets": "subnet-9",
        "assign_public_ip": "yes",
        "run_task_kwargs": '{"group": "g9"}',
        "max_run_task_attempts": "9",
        "check_health_on_startup": "no",
    }
    assert {setting.name for setting in ECS_SETTINGS} == {*values, "capacity_provider_strategy"}
    file = tmp_path / "airflow.cfg"
    file.write_text(f"[{ECS_SECTION}]\n" + "\n".join(f"{name} = {value}" for name, value in values.items()))
    from_file = AirflowConfigParser()
    from_file.read(file)
    in_file = ecs_options(from_file)
    for name, value in values.items():
        monkeypatch.setenv(f"AIRFLOW__AWS_ECS_EXECUTOR__{name.upper()}", value)
    in_environment = ecs_options(conf)
    assert in_file == in_environment
    assert (in_file.cluster, in_file.container, in_file.region, in_file.connection) == ("c9", "n9", "r9", "i8")
    assert (in_file.most_attempts, in_file.check_health) == (9, False)
    assert in_file.request == {
        "taskDefinition": "t9",
        "launchType": "FARGATE",
        "platformVersion": "1.3.0",
        "group": "g9",
        "networkConfiguration": {
            "awsvpcConfiguration": {"subnets": ["subnet-9"], "securityGroups": ["sg-9"], "assignPublicIp": "ENABLED"}
        },
    }


def test_a_team_has_its_own_options_region_and_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.executors.base_executor import ExecutorConf  # lazy: since 3.2

    for name, value in FEW.items():
        monkeypatch.setenv(f"AIRFLOW__AWS_ECS_EXECUTOR__{name.upper()}", value)
        monkeypatch.setenv(f"AIRFLOW__RED___AWS_ECS_EXECUTOR__{name.upper()}", value)
    monkeypatch.setenv("AIRFLOW__RED___AWS_ECS_EXECUTOR__REGION_NAME", "eu-west-1")
    monkeypatch.setenv("AIRFLOW__RED___AWS_ECS_EXECUTOR__CONN_ID", "red_aws")
    monkeypatch.setenv("AIRFLOW__RED___SKYLIFT__QUEUES", '{"gpu": {"task_definition": "red-gpu"}}')
    red, everybody = ecs_options(ExecutorConf(team_name="red")), ecs_options(conf)
    assert (red.region, red.connection) == ("eu-west-1", "red_aws")
    assert everybody.connection == "aws_default"
    assert red.of("gpu").request["taskDefinition"] == "red-gpu"
    assert everybody.of("gpu").request["taskDefinition"] == "t"


def test_two_providers_that_declare_one_section_clash_so_we_leave_it_to_the_amazon_provider() -> None:
    assert {*get_provider_info()["config"]} == {OWN_SECTION}
    options = {setting.name for setting in ECS_SETTINGS}
    manager = ProvidersManager()
    theirs_declared = {*dict(manager.provider_configs)["apache-airflow-providers-amazon"][ECS_SECTION]["options"]}
    assert theirs_declared < options, "every option that the provider declares, we read"
    described = retrieve_configuration_description(include_airflow=False)
    assert {*described[ECS_SECTION]["options"]} == theirs_declared
    assert {*described[OWN_SECTION]["options"]} == {setting.name for setting in settings.OWN_SETTINGS}
    # The claim: Airflow takes the sections provider by provider, and a later one's replaces the whole of an earlier
    # one's.
    manager._provider_configs["skylift"][ECS_SECTION] = {"description": "", "options": {"region": {}}}
    try:
        assert {*retrieve_configuration_description(include_airflow=False)[ECS_SECTION]["options"]} == {"region"}
    finally:
        del manager._provider_configs["skylift"][ECS_SECTION]


def test_our_tags_make_room_for_the_authors() -> None:
    given = [{"key": f"k{number}", "value": "v"} for number in range(48)]
    labels = {"dag_id": "d|", "task_id": "t", "run_id": "r", "map_index": "-1", "try_number": "1"}
    attempt = Attempt("id", 1, lambda: "{}", executor_config={"tags": given}, labels=labels)
    tags = run_task_request(ecs_options(ecs_conf()), attempt, PAYLOAD, tags=True)["tags"]
    assert tags == [*given, {"key": "dag_id", "value": "d_"}, {"key": "task_id", "value": "t"}]
    assert "tags" not in run_task_request(
        ecs_options(ecs_conf()), replace(attempt, executor_config={}), PAYLOAD, tags=False
    )


# Queues.

QUEUES = {
    "gpu": {
        "task_definition": "gpu",
        "launch_type": "EC2",
        "container_name": "main",
        "cluster": "c2",
        "job_queue": "g",
    },
    "spot": {"capacity_provider_strategy": STRATEGY, "subnets": ["subnet-8", "subnet-9"], "assign_public_ip": True},
    "big": {"run_task_kwargs": {"overrides": {"cpu": "4096"}}},
    "only-batch": {"job_queue": "b"},
}


def queue_conf(**options: str) -> Any:
    given = {"launch_type": "FARGATE", "subnets": "subnet-1", "skylift_queues": json.dumps(QUEUES)} | options
    return ecs_conf(**given)


def test_a_queue_has_its_own_place() -> None:
    request = ours(queue_conf(), queue="gpu")
    assert request == {
        "cluster": "c2",
        "taskDefinition": "gpu",
        "launchType": "EC2",
        "overrides": {"containerOverrides": [{"name": "main"}]},
        "networkConfiguration": network(),
    }
    spot = ours(queue_conf(), queue="spot")
    assert spot["capacityProviderStrategy"] == STRATEGY
    assert "launchType" not in spot
    assert spot["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["subnet-8", "subnet-9"],
        "assignPublicIp": "ENABLED",
    }


@pytest.mark.parametrize("queue", ["", "default", "unknown", "only-batch"])
def test_any_other_queue_has_the_sections_own_values(queue: str) -> None:
    assert ours(queue_conf(), queue=queue) == ours(ecs_conf(launch_type="FARGATE", subnets="subnet-1"))


def test_the_arguments_of_a_queue_go_over_the_sections() -> None:
    request = ours(queue_conf(run_task_kwargs='{"overrides": {"memory": "8192"}, "group": "g"}'), queue="big")
    assert request["overrides"] | {"containerOverrides": 0} == {
        "cpu": "4096",
        "memory": "8192",
        "containerOverrides": 0,
    }
    assert request["group"] == "g"


@pytest.mark.parametrize(
    ("queues", "named"),
    [
        ("[]", "JSON object"),
        ('{"gpu": 1}', "queue 'gpu'"),
        ('{"gpu": {"task_def": "x"}}', "'task_def' is none of"),
        ('{"gpu": {"region_name": "x"}}', "'region_name' is none of"),
        ('{"gpu": {"launch_type": "EC2", "capacity_provider_strategy": [{"capacityProvider": "x"}]}}', "exclude"),
        (
            '{"gpu": {"capacity_provider_strategy": [{"provider": "x"}]}}',
            "queue 'gpu': capacity_provider_strategy: Missing",
        ),
        ('{"gpu": {"assign_public_ip": "perhaps"}}', "queue 'gpu'.*assign_public_ip"),
        ('{"gpu": {"capacity_fallback": "SPOT"}}', "capacity_fallback"),
    ],
)
def test_a_wrong_map_stops_the_start_with_one_line(queues: str, named: str) -> None:
    with pytest.raises(Refused, match=named) as refused:
        check_options(ecs_options(ecs_conf(skylift_queues=queues)))
    assert "[skylift] queues" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_words_of_the_map_are_options_of_the_sections() -> None:
    assert {setting.name for setting in QUEUE_SETTINGS} <= {*QUEUE_WORDS}
    assert {*FALLBACK_WORDS} <= {*QUEUE_WORDS}


# Capacity.

FALLBACK = json.dumps(
    ["FARGATE_SPOT", "FARGATE", {"subnets": ["subnet-7"], "launch_type": "FARGATE"}, {"job_queue": "q"}]
)


def placed(shortages: int, **fields: Any) -> tuple[Any, ...]:
    asked = ecs_conf(
        capacity_provider_strategy='[{"capacityProvider": "asg"}]',
        subnets="subnet-1",
        skylift_capacity_fallback=FALLBACK,
    )
    request = ours(asked, shortages=shortages, **fields)
    provider = [one["capacityProvider"] for one in request.get("capacityProviderStrategy", [])]
    return request.get("launchType"), provider, request["networkConfiguration"]["awsvpcConfiguration"]["subnets"]


def test_each_shortage_tries_the_next_place_and_then_the_first_again() -> None:
    turns = [placed(shortages) for shortages in range(5)]
    assert turns == [
        (None, ["asg"], ["subnet-1"]),
        (None, ["FARGATE_SPOT"], ["subnet-1"]),
        ("FARGATE", [], ["subnet-1"]),
        ("FARGATE", [], ["subnet-7"]),
        (None, ["asg"], ["subnet-1"]),
    ]


def test_a_fallback_goes_before_what_the_author_wanted() -> None:
    spot = {"capacityProviderStrategy": STRATEGY}
    assert placed(0, executor_config=spot)[1] == ["FARGATE_SPOT"]
    assert placed(2, executor_config=spot)[:2] == ("FARGATE", [])


def test_a_queue_has_fallbacks_of_its_own() -> None:
    queues = {"gpu": {"task_definition": "gpu", "capacity_fallback": []}}
    asked = ecs_conf(launch_type="EC2", skylift_queues=json.dumps(queues), skylift_capacity_fallback='["FARGATE"]')
    assert ours(asked, shortages=1)["launchType"] == "FARGATE"
    assert ours(asked, shortages=1, queue="gpu")["launchType"] == "EC2"


@pytest.mark.parametrize("text", ['"FARGATE"', '[{"cluster": "x"}]', "[1]", '[[{"provider": "x"}]]'])
def test_a_wrong_list_of_fallbacks_stops_the_start(text: str) -> None:
    with pytest.raises(Refused, match=r"\[skylift\] capacity_fallback") as refused:
        check_options(ecs_options(ecs_conf(skylift_capacity_fallback=text)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("option", "text"),
    [("warm_sharing", "team"), ("array_linger_seconds", "0"), ("capacity_fallback", "{}"), ("last_lines", "many")],
)
def test_a_wrong_option_of_ours_stops_the_start_also_where_nobody_needs_it(
    option: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW__SKYLIFT__{option.upper()}", text)
    with pytest.raises(Refused, match=rf"^\[skylift\] {option}: "):
        AwsEcsExecutor().start()


# Merging.

TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
    max_leaves=12,
)
# A machine may be busy: how many examples there are bounds the test, not how long one takes.
BOUNDED = settings_of_hypothesis(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DICTS = st.dictionaries(st.text(max_size=2), TREES, max_size=4)


def shared(one: Any, other: Any) -> bool:
    """Whether two trees have a dict or list in common, so that a change of one would change the other."""

    def parts(tree: Any) -> set[int]:
        inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
        own = {id(tree)} if isinstance(tree, dict | list) else set()
        return own.union(*map(parts, inner))

    return bool(parts(one) & parts(other))


@BOUNDED
@given(DICTS, DICTS)
def test_a_merge_changes_nothing_and_shares_nothing(base: dict[str, Any], over: dict[str, Any]) -> None:
    before = deepcopy((base, over))
    result = merged(base, over)
    assert (base, over) == before
    assert not shared(result, base)
    assert not shared(result, over)
    assert {*result} == {*base} | {*over}
    for key, value in over.items():
        if not isinstance(value, dict):
            assert result[key] == value
        elif isinstance(base.get(key), dict):
            assert result[key] == merged(base[key], value)
    assert merged(result, over) == result, "a second attempt makes the same of it"


@BOUNDED
@given(DICTS)
def test_whatever_an_executor_config_holds_it_is_answered_and_left_as_it_is(executor_config: dict[str, Any]) -> None:
    before = deepcopy(executor_config)
    options = ecs_options(ecs_conf(launch_type="FARGATE"))
    compute = EcsCompute(EcsTasks(None), options, Payloads())
    attempt = Attempt(
        "00000000-0000-0000-0000-000000000001", 1, lambda: "{}", executor_config=executor_config or {"": 1}
    )
    (answer,) = compute.submit([attempt])
    assert answer.refused.startswith("executor_config"), "no such key is an argument of RunTask"
    assert executor_config == before
