"""What ``skylift fargate up`` is asked for: options, ecs-cli's two files, prices, and what AWS's words mean."""

from __future__ import annotations

import re
from typing import Any

import pytest

from skylift.aws.iam_policies import PolicyScope
from skylift.core.errors import Refused, Unavailable
from skylift.deploy.fargate import advice, roles, service
from skylift.deploy.fargate.compose import from_compose, from_params, mebibytes
from skylift.deploy.fargate.deployer_policy import deployer_policy
from skylift.deploy.fargate.down import Removing
from skylift.deploy.fargate.prices import price, so_far
from skylift.deploy.fargate.wanted import AirflowWanted, Named, tagged

pytestmark = pytest.mark.unit
HERE = Named("demo", "123456789012", "us-east-1")


def wanted(**more: Any) -> AirflowWanted:
    return AirflowWanted(**{"name": "demo", "image": "i", "allow": "203.0.113.7/32", **more})


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"name": "Demo"}, "lower-case"),
        ({"name": "a" * 21}, "1 to 20"),
        ({"cpu": 300}, "256, 512, 1024"),
        ({"cpu": 256, "memory": 4096}, "512 to 2048"),
        ({"cidr": "10.0.0.1/24"}, "host bits"),
        ({"cidr": "10.0.0.0/30"}, "/16 to /27"),
        ({"allow": "everybody"}, "--allow everybody"),
    ],
)
def test_what_is_not_possible_is_said_before_anything_is_made(said: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        wanted(**said)


def test_the_tutorials_files() -> None:
    compose = {
        "version": "3",
        "services": {
            "airflow": {
                "image": "apache/airflow:3.3.2",
                "ports": ["8080:8080"],
                "environment": ["A=1", "B=x=y"],
                "logging": {
                    "driver": "awslogs",
                    "options": {
                        "awslogs-group": "airflow",
                        "awslogs-region": "us-west-1",
                        "awslogs-stream-prefix": "airflow",
                    },
                },
            }
        },
    }
    assert from_compose(compose, "us-west-1") == {"image": "apache/airflow:3.3.2", "variables": {"A": "1", "B": "x=y"}}
    params = {
        "version": 1,
        "task_definition": {
            "task_execution_role": "ecsTaskExecutionRole",
            "ecs_network_mode": "awsvpc",
            "task_size": {"mem_limit": "0.5GB", "cpu_limit": 256},
        },
        "run_params": {
            "network_configuration": {
                "awsvpc_configuration": {
                    "subnets": ["subnet-0a", "subnet-0b"],
                    "security_groups": ["sg-0c"],
                    "assign_public_ip": "ENABLED",
                }
            }
        },
    }
    assert from_params(params) == {
        "execution_role": "ecsTaskExecutionRole",
        "cpu": 256,
        "memory": 512,
        "subnets": ("subnet-0a", "subnet-0b"),
        "security_groups": ("sg-0c",),
        "public": True,
    }


def compose_of(**service: Any) -> dict[str, Any]:
    return {"services": {"airflow": service}}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"services": {"a": {}, "b": {}}}, "2 services"),
        (compose_of(image="puckel/docker-airflow"), "1.10"),
        (compose_of(ports=["80:8080"]), "cannot be mapped"),
        (compose_of(ports=["5432:5432"]), "5432:5432"),
        (compose_of(volumes=["./dags:/dags"]), "volumes is not served"),
        (compose_of(environment={"AWS_SECRET_ACCESS_KEY": "x"}), "task role"),
        (compose_of(environment=["HOME"]), "HOME has no value"),
        (compose_of(logging={"driver": "syslog"}), "syslog"),
        (compose_of(logging={"options": {"awslogs-region": "eu-west-1"}}), "eu-west-1"),
        ({"services": []}, "expected names"),
        ("text", "docker-compose.yml"),
    ],
)
def test_what_a_compose_file_says_beyond_is_refused_by_name(said: Any, words: str) -> None:
    with pytest.raises(Refused, match=words):
        from_compose(said, "us-east-1")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"run_params": {"service_discovery": {}}}, "service_discovery"),
        ({"task_definition": {"ecs_network_mode": "bridge"}}, "awsvpc"),
        ({"task_definition": {"services": {"a": {"cpu_shares": 1}}}}, "services"),
        ({"task_definition": {"task_size": {"mem_limit": "much"}}}, "2GB"),
        (
            {"run_params": {"network_configuration": {"awsvpc_configuration": {"subnets": ["YOUR SUBNET ID 1"]}}}},
            "Put in yours",
        ),
    ],
)
def test_what_a_params_file_says_beyond_is_refused_by_name(said: Any, words: str) -> None:
    with pytest.raises(Refused, match=words):
        from_params(said)


def test_sizes() -> None:
    assert [mebibytes(one, "") for one in ("0.5GB", "512m", 536870912, "2g", "1024 MB")] == [512, 512, 512, 2048, 1024]


def test_a_price_is_a_sum_with_a_date_or_none() -> None:
    found = price("us-east-1", 512, 2048, arm=True)
    assert found is not None
    assert found.hour == pytest.approx(0.5 * 0.03238 + 2 * 0.00356 + 0.005 + 0.4 / 730)
    assert found.date in found.words()
    assert price("eu-nowhere-1", 512, 2048) is None
    assert so_far(None, 100) == "unknown"
    assert so_far(found, 1) == so_far(found, 60), "Fargate counts a minute at least"


def test_a_definition_has_no_password_and_asks_airflow_for_its_health() -> None:
    made = service.definition(wanted(variables={"X": "1"}), HERE, ("execution", "task"), "arn:secret")
    container = made["containerDefinitions"][0]
    assert container["secrets"] == [{"name": "SKYLIFT_ALONE_PASSWORD", "valueFrom": "arn:secret"}]
    assert {"name": "X", "value": "1"} in container["environment"]
    assert "monitor/health" in container["healthCheck"]["command"][-1]
    longest = sum(float(one) for one in re.findall(r"timeout=(\d+)", service.HEALTH)) * 2
    assert longest < container["healthCheck"]["timeout"] <= 60, "two questions, and ECS allows 60 s"
    assert len(str(made)) < 60_000, "ECS takes 64 KB"
    compile(container["command"][-1], "program", "exec")


def test_another_order_is_a_difference_only_where_order_means_something() -> None:
    asked: dict[str, Any] = {
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["b", "a"], "securityGroups": ["d", "c"]}},
        "containers": [
            {"environment": [{"name": "X", "value": "1"}, {"name": "A", "value": "2"}], "command": ["p", "q"]}
        ],
    }
    answer: dict[str, Any] = {
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["a", "b"], "securityGroups": ["c", "d"]}},
        "containers": [
            {"environment": [{"name": "A", "value": "2"}, {"name": "X", "value": "1"}], "command": ["p", "q"]}
        ],
        "status": "ACTIVE",
    }
    assert service.contains(answer, asked)
    for name, other in (("subnets", ["a", "c"]), ("subnets", ["a"]), ("securityGroups", ["c"])):
        network = {**answer["networkConfiguration"]["awsvpcConfiguration"], name: other}
        assert not service.contains({**answer, "networkConfiguration": {"awsvpcConfiguration": network}}, asked)
    for changed in (
        {"command": ["q", "p"]},
        {"environment": [{"name": "A", "value": "2"}, {"name": "X", "value": "2"}]},
    ):
        assert not service.contains({**answer, "containers": [{**answer["containers"][0], **changed}]}, asked)


def test_roles_allow_only_what_is_named() -> None:
    assert roles.repository_of("apache/airflow:3.3.2", "us-east-1") == ""
    found = roles.repository_of("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/airflow:1", "us-east-1")
    assert found == "arn:aws:ecr:eu-west-1:123456789012:repository/team/airflow"
    policies = (roles.execution_policy(HERE, "arn:secret", found), roles.task_policy(HERE))
    wide = [one["Action"] for policy in policies for one in policy["Statement"] if one["Resource"] == ["*"]]
    assert wide == [["ecr:GetAuthorizationToken"]]
    deployer = deployer_policy(PolicyScope("123456789012", "us-east-1"), "demo")
    assert not [one for one in deployer["Statement"] for action in one["Action"] if action.endswith("*")]
    assert len({one["Sid"] for one in deployer["Statement"]}) == len(deployer["Statement"])


def test_only_our_tag_makes_it_ours() -> None:
    assert tagged([{"Key": "skylift:fargate", "Value": "demo"}]) == "demo"
    assert tagged([{"key": "skylift:fargate", "value": "demo"}]) == "demo"
    assert tagged([{"Key": "Name", "Value": "demo"}]) == ""
    assert tagged(None) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("CannotPullContainerError: pull image manifest has been retried 1 time(s): x:1: not found", "Check --image"),
        ("CannotPullContainerError: 429 toomanyrequests: rate limit", "Copy the image to ECR"),
        ("OutOfMemoryError: Container killed due to memory usage", "--memory"),
        ("service x was unable to place a task. Reason: Capacity is unavailable at this time.", "Without --spot"),
        ("Task failed container health checks", "say that it is well"),
    ],
)
def test_what_ecs_says_and_what_to_do(text: str, words: str) -> None:
    assert words in advice.meaning(text)


def test_after_the_deadline_down_says_whose_it_is() -> None:
    calls: Any = None
    show: Any = None
    removing = Removing(calls, HERE, show, clock=lambda: 2.0, deadline=1.0)
    with pytest.raises(Refused, match=r"in the network, and it is not ours to end:\n  instance i-1\nEnd it"):
        removing.pause_for("waiting for 1 thing in the network", ["instance i-1"])
    with pytest.raises(Unavailable, match=r"is RUNNING, for longer than --wait.*fargate down demo again") as ours:
        removing.pause("waiting for Airflow to end: ECS task 0123 is RUNNING")
    assert "not ours" not in str(ours.value)


def test_why_a_task_stopped_is_told_once() -> None:
    container = {"name": "airflow", "exitCode": 1}
    told = advice.why_stopped({"stoppedReason": "Essential container in task exited", "containers": [container] * 2})
    assert told == "Essential container in task exited; airflow: exit code 1"


def test_commands_that_are_printed_lead_to_where_the_typed_one_led() -> None:
    assert HERE.command("down") == "skylift fargate down demo"
    assert Named("demo", "1", "us-east-1", "--local").command("up") == "skylift fargate up demo --local"
