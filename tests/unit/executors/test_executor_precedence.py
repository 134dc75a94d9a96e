"""The precedence of every option: the section, a team, a queue, ``executor_config``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.executor_airflow import Conf, batch_conf, ecs_conf

from skylift.core.attempt import Attempt
from skylift.core.errors import Refused
from skylift.executors.executor_config.batch_request import job_name, submit_request
from skylift.executors.executor_config.ecs_request import check_options, run_task_request
from skylift.executors.in_container.payload import Payload
from skylift.executors.options.batch import BATCH_SECTION, JOB_DEFINITION, JOB_NAME, JOB_QUEUE, batch_options
from skylift.executors.options.ecs import ECS_SECTION, QUEUE_SETTINGS, RUN_TASK_KWARGS, ecs_options

pytestmark = pytest.mark.unit
ID = "00000000-0000-0000-0000-000000000001"
PAYLOAD = Payload((), {})
SOURCES = ("arguments", "option", "queue's arguments", "queue's option", "executor_config")
"""The later goes before the earlier."""


def network(name: str, value: Any) -> dict[str, Any]:
    return {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0"], name: value}}}


def strategy(provider: str) -> list[dict[str, Any]]:
    return [{"capacityProvider": provider, "weight": 1}]


ECS: dict[str, tuple[Any, Any]] = {
    # option: (its value for a source, RunTask's arguments of that value)
    "cluster": (lambda n: f"c{n}", lambda value: {"cluster": value}),
    "task_definition": (lambda n: f"t{n}", lambda value: {"taskDefinition": value}),
    "launch_type": (lambda n: ("FARGATE", "EC2", "EXTERNAL", "FARGATE", "EC2")[n], lambda value: {"launchType": value}),
    "capacity_provider_strategy": (
        lambda n: strategy(f"FARGATE_{n}"),
        lambda value: {"capacityProviderStrategy": value},
    ),
    "platform_version": (lambda n: f"1.{n}.0", lambda value: {"platformVersion": value}),
    "subnets": (lambda n: [f"subnet-{n}"], lambda value: network("subnets", value)),
    "security_groups": (lambda n: [f"sg-{n}"], lambda value: network("securityGroups", value)),
    "assign_public_ip": (
        lambda n: bool(n % 2),
        lambda value: network("assignPublicIp", "ENABLED" if value else "DISABLED"),
    ),
}
BATCH: dict[str, tuple[Any, Any]] = {
    "job_queue": (lambda n: f"q{n}", lambda value: {"jobQueue": value}),
    "job_definition": (lambda n: f"d{n}", lambda value: {"jobDefinition": value}),
    "job_name": (lambda n: f"n{n}", lambda value: {"jobName": value}),
}


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def listed(option: str, value: Any) -> str:
    return ",".join(value) if option in {"subnets", "security_groups"} else text(value)


def asked(
    option: str, sources: tuple[int, ...], table: Mapping[str, tuple[Any, Any]], kwargs: str
) -> tuple[dict[str, str], dict[str, Any]]:
    """Options of the section and an ``executor_config``, in which these sources say something of the option."""
    value, arguments = table[option]
    said = {SOURCES[n]: (value(n), arguments(value(n))) for n in sources}
    options, entry, executor_config = {}, {}, {}
    for source, (plain, made) in said.items():
        if source == "arguments":
            options[kwargs] = json.dumps(made)
        elif source == "option":
            options[option] = listed(option, plain)
        elif source == "queue's arguments":
            entry[kwargs] = made
        elif source == "queue's option":
            entry[option] = plain
        else:
            executor_config = made
    return options | ({"skylift_queues": json.dumps({"q": entry})} if entry else {}), executor_config


PAIRS = [(low, high) for high in range(len(SOURCES)) for low in range(high)]


@pytest.mark.parametrize(("low", "high"), PAIRS, ids=[f"{SOURCES[low]} < {SOURCES[high]}" for low, high in PAIRS])
@pytest.mark.parametrize("option", ECS)
def test_ecs_of_two_places_that_say_an_option_the_later_holds(option: str, low: int, high: int) -> None:
    if option == "assign_public_ip" and low % 2 == high % 2:
        low = low + 1 if low + 1 < high else low
    options, executor_config = asked(option, (low, high), ECS, RUN_TASK_KWARGS.name)
    if option == "assign_public_ip" and SOURCES[high] == "option" and not ECS[option][0](high):
        pytest.skip("an option that has its default's value cannot be told from one that is not set")
    if option in {"security_groups", "assign_public_ip"}:
        options.setdefault("subnets", "subnet-0")
    read = ecs_options(ecs_conf(**options)).of("q")
    check_options(read)
    request = run_task_request(read, Attempt(ID, 1, lambda: "{}", executor_config=executor_config), PAYLOAD, tags=False)
    value, arguments = ECS[option]
    (key,) = arguments(value(high))
    expected, found = arguments(value(high))[key], request[key]
    if key == "networkConfiguration":
        (name,) = {*expected["awsvpcConfiguration"]} - {"subnets"} or {"subnets"}
        expected, found = expected["awsvpcConfiguration"][name], found["awsvpcConfiguration"][name]
    assert found == expected
    assert not {"launchType", "capacityProviderStrategy"} <= {*request}, "one replaces the other"


def test_the_table_has_every_option_of_ecs_that_a_queue_may_have() -> None:
    assert {setting.name for setting in QUEUE_SETTINGS} == {*ECS, "container_name", "run_task_kwargs"}


@pytest.mark.parametrize(("low", "high"), PAIRS, ids=[f"{SOURCES[low]} < {SOURCES[high]}" for low, high in PAIRS])
@pytest.mark.parametrize("option", BATCH)
def test_batch_of_two_places_that_say_an_option_the_later_holds(option: str, low: int, high: int) -> None:
    options, executor_config = asked(option, (low, high), BATCH, "submit_job_kwargs")
    attempt = Attempt(ID, 1, lambda: "{}", executor_config=executor_config)
    read = batch_options(batch_conf(**options)).of("q")
    request = submit_request(read, [attempt], PAYLOAD, job_name(read, attempt), tags=False)
    value, arguments = BATCH[option]
    ((key, expected),) = arguments(value(high)).items()
    if key == "jobName":
        assert request[key].startswith(f"{expected}-")
    else:
        assert request[key] == expected


def test_the_table_has_every_option_of_batch_that_becomes_an_argument() -> None:
    assert {*BATCH} == {JOB_QUEUE.name, JOB_DEFINITION.name, JOB_NAME.name}


@pytest.mark.parametrize(("low", "high"), [pair for pair in PAIRS if pair[1] < 4])
def test_the_name_of_airflows_container_too(low: int, high: int) -> None:
    table = {"container_name": (lambda n: f"main{n}", lambda value: {"container_name": value})}
    options, _ = asked("container_name", (low, high), table, RUN_TASK_KWARGS.name)
    read = ecs_options(ecs_conf(**options)).of("q")
    assert read.container == f"main{high}"


@pytest.mark.parametrize("words", [{"launch_type": "EC2"}, {"run_task_kwargs": {"launchType": "EC2"}}])
def test_a_queue_on_ec2_gets_nothing_that_only_fargate_takes(words: dict[str, Any]) -> None:
    options = ecs_options(
        ecs_conf(
            launch_type="FARGATE",
            platform_version="1.4.0",
            subnets="subnet-1",
            assign_public_ip="True",
            skylift_queues=json.dumps({"q": words}),
        )
    )
    attempt = Attempt(ID, 1, lambda: "{}")
    request = run_task_request(options.of("q"), attempt, PAYLOAD, tags=False)
    assert request["launchType"] == "EC2"
    assert request["networkConfiguration"] == {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
    assert "platformVersion" not in request
    # And a task that goes back to Fargate has all of it again.
    back = Attempt(ID, 1, lambda: "{}", executor_config={"launchType": "FARGATE"})
    request = run_task_request(options.of("q"), back, PAYLOAD, tags=False)
    assert request["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "ENABLED"
    assert request["platformVersion"] == "1.4.0"


def test_an_empty_word_of_a_queue_takes_the_sections_value_away() -> None:
    words = {"launch_type": "", "subnets": [], "security_groups": "", "cluster": ""}
    options = ecs_options(
        ecs_conf(launch_type="EC2", subnets="s", security_groups="g", skylift_queues=json.dumps({"q": words}))
    ).of("q")
    assert options.cluster == ""
    assert options.request == {"taskDefinition": "t"}


def test_arguments_of_a_queue_are_merged_over_the_sections() -> None:
    options = batch_options(
        batch_conf(
            submit_job_kwargs='{"containerOverrides": {"vcpus": 1, "memory": 512}, "tags": {"a": "1"}}',
            skylift_queues='{"q": {"submit_job_kwargs": {"container_overrides": {"vcpus": 4}, "timeout": '
            '{"attempt_duration_seconds": 60}}}}',
        )
    ).of("q")
    assert options.request["containerOverrides"] == {"vcpus": 4, "memory": 512}
    assert options.request["tags"] == {"a": "1"}
    assert options.request["timeout"] == {"attemptDurationSeconds": 60}


def test_a_queue_of_job_definitions_with_several_containers_and_back() -> None:
    several = {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "main"}]}]}}
    queues = {
        "several": {"submit_job_kwargs": several},
        "one": {"submit_job_kwargs": {"containerOverrides": {"vcpus": 2}}},
    }
    options = batch_options(
        batch_conf(submit_job_kwargs='{"containerOverrides": {"vcpus": 1}}', skylift_queues=json.dumps(queues))
    )
    assert "containerOverrides" not in options.of("several").request
    assert options.of("several").container == "main"
    assert options.of("one").request["containerOverrides"] == {"vcpus": 2}


# Teams.


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets options of everybody and of team ``red`` by Airflow's environment variables; gives the team's conf."""
    base_executor = pytest.importorskip("airflow.executors.base_executor")
    if not hasattr(base_executor, "ExecutorConf"):
        pytest.skip("Airflow 3.1 has no teams")

    def set_up(section: str, everybody: dict[str, str], team: dict[str, str]) -> Any:
        for words, prefix in ((everybody, "AIRFLOW__"), (team, "AIRFLOW__RED___")):
            for name, value in words.items():
                its = "skylift" if name.startswith("skylift_") else section
                monkeypatch.setenv(f"{prefix}{its}__{name.removeprefix('skylift_')}".upper(), value)
        return base_executor.ExecutorConf(team_name="red")

    return set_up


ECS_FEW = {"cluster": "c", "container_name": "airflow", "task_definition": "t", "region_name": "us-east-1"}


def test_a_team_has_everybodys_value_of_what_it_does_not_set_itself(configured: Any) -> None:
    everybody = ECS_FEW | {
        "subnets": "subnet-1",
        "assign_public_ip": "True",
        "skylift_queues": '{"q": {"cluster": "c2"}}',
    }
    options = ecs_options(configured(ECS_SECTION, everybody, {"task_definition": "red", "assign_public_ip": "False"}))
    assert (options.cluster, options.container, options.region) == ("c", "airflow", "us-east-1")
    assert options.request["taskDefinition"] == "red"
    assert options.of("q").cluster == "c2"
    assert options.of("q").request["taskDefinition"] == "red"
    # What the team itself sets holds also where it is the default's value.
    network = options.request["networkConfiguration"]["awsvpcConfiguration"]
    assert network == {"subnets": ["subnet-1"], "assignPublicIp": "DISABLED"}


@pytest.mark.parametrize(
    ("low", "high"), [("run_task_kwargs", "task_definition"), ("task_definition", "run_task_kwargs")]
)
def test_what_a_team_says_in_either_way_goes_before_all_that_everybody_says(
    configured: Any, low: str, high: str
) -> None:
    def words(option: str, value: str) -> dict[str, str]:
        return {option: json.dumps({"taskDefinition": value}) if option == "run_task_kwargs" else value}

    options = ecs_options(configured(ECS_SECTION, ECS_FEW | words(low, "all"), words(high, "red")))
    assert options.request["taskDefinition"] == "red"


@pytest.mark.parametrize(
    ("everybody", "team", "expected"),
    [
        ({"launch_type": "EC2"}, {"capacity_provider_strategy": json.dumps(strategy("x"))}, {"launchType": None}),
        (
            {"capacity_provider_strategy": json.dumps(strategy("x"))},
            {"launch_type": "EC2"},
            {"capacityProviderStrategy": None},
        ),
        ({"aws_conn_id": "all"}, {"conn_id": "red"}, {"connection": "red"}),
        ({"region_name": "us-east-1"}, {"region": "eu-west-1"}, {"region": "eu-west-1"}),
    ],
)
def test_a_team_that_sets_one_of_two_names_gets_none_of_everybodys_other(
    configured: Any, everybody: dict[str, str], team: dict[str, str], expected: dict[str, Any]
) -> None:
    options = ecs_options(configured(ECS_SECTION, ECS_FEW | everybody, team))
    found = {**options.request, "connection": options.connection, "region": options.region}
    assert {key: found.get(key) for key in expected} == expected


def test_the_same_for_batch(configured: Any) -> None:
    everybody = {
        "job_queue": "q",
        "job_definition": "d",
        "submit_job_kwargs": '{"timeout": {"attemptDurationSeconds": 60}}',
    }
    options = batch_options(configured(BATCH_SECTION, everybody, {"submit_job_kwargs": '{"jobQueue": "red"}'}))
    assert options.request["jobQueue"] == "red"
    assert options.request["jobDefinition"] == "d"
    assert "timeout" not in options.request, "a team's arguments replace everybody's, as with any option"


@pytest.mark.parametrize(
    ("everybody", "team", "named"),
    [
        (
            {},
            {},
            r"task_definition of team 'red' \(AIRFLOW__RED___AWS_ECS_EXECUTOR__TASK_DEFINITION\) is not set",
        ),
        (
            {"task_definition": "t"},
            {"launch_type": "fargate"},
            r"launch_type of team 'red' \(AIRFLOW__RED___AWS_ECS_EXECUTOR__LAUNCH_TYPE\): .*write FARGATE",
        ),
        (
            {"task_definition": "t"},
            {"run_task_kwargs": '{"tags": null}'},
            r"run_task_kwargs of team 'red' \(AIRFLOW__RED___AWS_ECS_EXECUTOR__RUN_TASK_KWARGS\): tags is null",
        ),
        ({"task_definition": "t", "launch_type": "SPOT"}, {}, r"^\[aws_ecs_executor\] launch_type: 'SPOT'"),
        (
            {"task_definition": "t"},
            {"skylift_queues": "[]"},
            r"\[skylift\] queues of team 'red' \(AIRFLOW__RED___SKYLIFT__QUEUES\)",
        ),
    ],
)
def test_a_wrong_option_names_the_team_that_has_set_it(
    configured: Any, everybody: dict[str, str], team: dict[str, str], named: str
) -> None:
    with pytest.raises(Refused, match=named) as refused:
        ecs_options(configured(ECS_SECTION, {"container_name": "airflow"} | everybody, team))
    assert "\n" not in str(refused.value)


def test_where_airflow_has_no_teams_its_conf_is_everybodys() -> None:
    conf = Conf({(ECS_SECTION, name): value for name, value in ECS_FEW.items()})
    assert ecs_options(conf).team == ""
