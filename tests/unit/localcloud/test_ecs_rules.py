"""ECS's pure rules: what task definitions and RunTask calls are refused, and how a service rolls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.refusals import says_whose

from skylift.localcloud.ecs.model.checks import check_definition, check_run, cpu_units, memory_mib
from skylift.localcloud.ecs.model.lifecycle import ECS_TASK, SERVICE
from skylift.localcloud.ecs.model.shapes import merged_tags, page
from skylift.localcloud.ecs.services.rolling import Decision, Member, ServiceSpec, decide, delay_after
from skylift.localcloud.ecs.tasks.make import first_address, free_addresses
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit

ROLE = "arn:aws:iam::000000000000:role/r"


def definition(container: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    return {
        "family": "f",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [{"name": "c", "image": "i", **(container or {})}],
        **members,
    }


def two(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    named = [{"name": "a", "image": "i", **first}, {"name": "b", "image": "i", **second}]
    return definition(containerDefinitions=named)


LOGS = {"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-region": "r", "awslogs-stream-prefix": "p"}}
SECRET = {"name": "A", "valueFrom": "arn:aws:secretsmanager:us-east-1:000000000000:secret:s"}

ACCEPTED = {
    "smallest": definition(),
    "units": definition(cpu="1 vCPU", memory="2 GB"),
    "largest": definition(cpu="16384", memory="122880"),
    "EC2": {"family": "f", "containerDefinitions": [{"name": "c", "image": "i", "memory": 128}]},
    "ulimits": definition(
        {
            "ulimits": [
                {"name": "nofile", "softLimit": 8, "hardLimit": 8},
                {"name": "core", "softLimit": 0, "hardLimit": -1},
            ]
        }
    ),
    "logs": definition({"logConfiguration": LOGS}, executionRoleArn=ROLE),
    "secrets": definition({"secrets": [SECRET]}, executionRoleArn=ROLE),
    "order": two({"essential": False}, {"dependsOn": [{"containerName": "a", "condition": "SUCCESS"}]}),
}


@pytest.mark.parametrize("request_", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted_definitions(request_: dict[str, Any]) -> None:
    assert check_definition(request_) is None, "nothing is said against it"


REFUSED = {
    "family": (definition(family="a b"), "Invalid family name"),
    "no containers": (definition(containerDefinitions=[]), "at least one container"),
    "cpu and memory do not fit": (definition(memory="4096"), "No Fargate configuration exists"),
    "odd cpu": (definition(cpu="300"), "No Fargate configuration exists"),
    "memory between steps": (definition(cpu="8192", memory="17408"), "No Fargate configuration exists"),
    "no cpu": (definition(cpu=None), "'cpu' and 'memory' be defined"),
    "words for cpu": (definition(cpu="much"), "Invalid 'cpu' setting"),
    "bridge on Fargate": (definition(networkMode="bridge"), "network mode 'awsvpc'"),
    "no image": (definition({"image": ""}), "image should not be null"),
    "container name": (definition({"name": "a.b"}), "Invalid container name"),
    "same name twice": (two({"name": "b"}, {}), "must be unique"),
    "none essential": (definition({"essential": False}), "No essential containers"),
    "stopTimeout": (definition({"stopTimeout": 121}), "between 0 and 120"),
    "ulimit": (
        definition({"ulimits": [{"name": "nofile", "softLimit": 9, "hardLimit": 8}]}),
        "ulimit nofile: softLimit must not be above",
    ),
    "no memory on EC2": (
        {"family": "f", "containerDefinitions": [{"name": "c", "image": "i"}]},
        "At least one of 'memory'",
    ),
    "secret without role": (definition({"secrets": [SECRET]}), "executionRoleArn"),
    "secret and variable": (
        definition({"secrets": [SECRET], "environment": [{"name": "A", "value": "1"}]}, executionRoleArn=ROLE),
        "must be unique",
    ),
    "secret twice": (definition({"secrets": [SECRET, SECRET]}, executionRoleArn=ROLE), "must be unique"),
    "logs without role": (definition({"logConfiguration": LOGS}), "execution role ARN"),
    "log options": (
        definition({"logConfiguration": {"logDriver": "awslogs", "options": {}}}, executionRoleArn=ROLE),
        "awslogs-group, awslogs-region, awslogs-stream-prefix",
    ),
    "other log driver": (
        definition({"logConfiguration": {"logDriver": "splunk"}}),
        "splunk is not supported by skylift's local cloud",
    ),
    "mounts": (
        definition({"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}]}),
        "Unknown volume 'v'.",
    ),
    "unknown dependency": (definition({"dependsOn": [{"containerName": "x", "condition": "START"}]}), "does not exist"),
    "waits for an essential one": (
        two({}, {"dependsOn": [{"containerName": "a", "condition": "COMPLETE"}]}),
        "cannot be essential",
    ),
    "circle": (
        two(
            {"dependsOn": [{"containerName": "b", "condition": "START"}]},
            {"dependsOn": [{"containerName": "a", "condition": "START"}]},
        ),
        "Circular dependency",
    ),
}


@pytest.mark.parametrize(("request_", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_definitions(request_: dict[str, Any], text: str) -> None:
    with pytest.raises(AwsError) as caught:
        check_definition(request_)
    assert caught.value.code == "ClientException"
    assert says_whose(text, caught.value.message), caught.value.message


@pytest.mark.parametrize(
    ("cpu", "units"), [("256", 256), (".25 vCPU", 256), ("0.25 vcpu", 256), ("2vCPU", 2048), (None, None), ("", None)]
)
def test_cpu(cpu: str | None, units: int | None) -> None:
    assert cpu_units(cpu) == units


@pytest.mark.parametrize(("memory", "mib"), [("512", 512), ("0.5 GB", 512), ("30GB", 30720), (None, None)])
def test_memory(memory: str | None, mib: int | None) -> None:
    assert memory_mib(memory) == mib


NETWORK = {"awsvpcConfiguration": {"subnets": ["s"]}}
KNOWN = {**definition(), "compatibilities": ["EC2", "FARGATE"]}
RUNS = {
    "count 0": ({"count": 0}, "Count"),
    "token": ({"clientToken": "ä"}, "clientToken"),
    "token's length": ({"clientToken": "x" * 65}, "clientToken"),
    "startedBy": ({"startedBy": "x" * 129}, "startedBy"),
    "no subnets": ({"networkConfiguration": {"awsvpcConfiguration": {"subnets": []}}}, "subnets"),
    "size of overrides": ({"overrides": {"containerOverrides": [{"name": "c", "command": ["x" * 8150]}]}}, "8192"),
    "size by override": ({"overrides": {"cpu": "4096"}}, "No Fargate configuration"),
}


@pytest.mark.parametrize(("members", "text"), RUNS.values(), ids=RUNS.keys())
def test_refused_runs(members: dict[str, Any], text: str) -> None:
    with pytest.raises(AwsError, match=text):
        check_run({"networkConfiguration": NETWORK, **members}, KNOWN)


def test_overrides_of_exactly_8192_characters() -> None:
    empty = len('{"containerOverrides":[{"name":"c","command":[""]}]}')
    overrides = {"containerOverrides": [{"name": "c", "command": ["x" * (8192 - empty)]}]}
    check_run({"networkConfiguration": NETWORK, "overrides": overrides}, KNOWN)
    overrides["containerOverrides"][0]["command"][0] += "x"  # type: ignore[index]
    with pytest.raises(AwsError, match="8192"):
        check_run({"networkConfiguration": NETWORK, "overrides": overrides}, KNOWN)


def members(*shape: tuple[str, bool]) -> list[Member]:
    return [Member(f"{deployment}{n}", deployment, healthy, float(n)) for n, (deployment, healthy) in enumerate(shape)]


UP, STARTING = True, False
ROLLING = {
    "from nothing": (3, 100, 200, members(), Decision(3, (), None, False)),
    "steady": (2, 100, 200, members(("new", UP), ("new", UP)), Decision(0, (), None, True)),
    "one died": (2, 100, 200, members(("new", UP)), Decision(1, (), None, False)),
    "still starting": (1, 100, 200, members(("new", STARTING)), Decision(0, (), None, False)),
    "too many: the starting one goes first": (
        1,
        100,
        200,
        members(("new", UP), ("new", STARTING)),
        Decision(0, ("new1",), None, False),
    ),
    "new beside old": (1, 100, 200, members(("old", UP)), Decision(1, (), None, False)),
    "old stays until new is up": (1, 100, 200, members(("old", UP), ("new", STARTING)), Decision(0, (), None, False)),
    "old goes when new is up": (1, 100, 200, members(("old", UP), ("new", UP)), Decision(0, ("old0",), None, False)),
    "in halves": (
        4,
        50,
        100,
        members(("old", UP), ("old", UP), ("old", UP), ("old", UP)),
        Decision(2, ("old0", "old1"), None, False),
    ),
    "no floor": (1, 0, 100, members(("old", UP)), Decision(1, ("old0",), None, False)),
    "one by one": (2, 100, 150, members(("old", UP), ("old", UP)), Decision(1, (), None, False)),
    "an old one that never came up": (1, 100, 200, members(("old", STARTING)), Decision(1, ("old0",), None, False)),
    "no room": (1, 100, 100, members(("old", UP)), Decision(0, (), None, False, stuck=True)),
    "to zero": (0, 100, 200, members(("old", UP), ("new", UP)), Decision(0, ("new1", "old0"), None, False)),
    "at zero": (0, 100, 200, members(), Decision(0, (), None, True)),
}


@pytest.mark.parametrize(("desired", "low", "high", "seen", "expected"), ROLLING.values(), ids=ROLLING.keys())
def test_rolling(desired: int, low: int, high: int, seen: list[Member], expected: Decision) -> None:
    assert decide(ServiceSpec(desired, low, high, "new"), seen, now=100, not_before=0) == expected


def test_back_off() -> None:
    assert decide(ServiceSpec(1, 100, 200, "new"), [], now=100, not_before=103) == Decision(0, (), 3, False)
    assert [delay_after(n) for n in (0, 1, 2, 3, 8, 5000)] == [0, 0.5, 1, 2, 60, 60]


@pytest.mark.parametrize("desired", [1, 2, 3, 5])
@pytest.mark.parametrize(("low", "high"), [(100, 200), (50, 100), (0, 100), (66, 150)])
def test_a_deployment_ends_and_keeps_its_bounds(desired: int, low: int, high: int) -> None:
    """Follows decisions to the end: never fewer healthy ones than the floor, never more in all than the ceiling."""
    seen = [Member(f"old{n}", "old", True, n) for n in range(desired)]
    for turn in range(50):
        decision = decide(ServiceSpec(desired, low, high, "new"), seen, now=0, not_before=0)
        if decision.stuck:
            assert -(-desired * low // 100) == desired == desired * high // 100, "no room by arithmetic only"
            return
        if decision.steady:
            break
        seen = [member for member in seen if member.id not in decision.stop]
        assert sum(member.healthy for member in seen) >= -(-desired * low // 100)
        seen += [Member(f"new{turn}.{n}", "new", False, turn) for n in range(decision.start)]
        assert len(seen) <= max(desired, desired * high // 100)
        seen = [Member(member.id, member.deployment, True, member.created) for member in seen]
    assert [member.deployment for member in seen] == ["new"] * desired


def test_addresses_go_round() -> None:
    assert free_addresses(2, set(), "") == ["127.64.0.1", "127.64.0.2"]
    assert free_addresses(2, {"127.64.0.4"}, "127.64.0.3") == ["127.64.0.5", "127.64.0.6"]
    assert free_addresses(1, set(), "127.64.255.253") == ["127.64.0.1"]
    assert free_addresses(1, set(), "127.64.255.255") == ["127.64.0.1"]


def test_two_homes_begin_at_different_addresses(tmp_path: Path) -> None:
    assert first_address(tmp_path / "a") != first_address(tmp_path / "b")
    assert first_address(tmp_path / "a") == first_address(tmp_path / "a")


@pytest.mark.parametrize("life", [ECS_TASK, SERVICE], ids=lambda life: life.name)
def test_every_state_leads_to_an_end(life: Any) -> None:
    ends = {state for state in life.moves if life.is_final(state)}
    assert len(ends) == 1
    for state in life.moves:
        reached, border = {state}, {state}
        while border:
            border = {after for before in border for after in life.moves[before]} - reached
            reached |= border
        assert ends <= reached


def test_pages() -> None:
    first, more = page(range(5), {"maxResults": 2})
    second, more = page(range(5), {"maxResults": 2, **more})
    third, end = page(range(5), {"maxResults": 2, **more})
    assert (first, second, third, end) == ([0, 1], [2, 3], [4], {})
    for token in ("x", "-1", "6"):
        with pytest.raises(AwsError, match="Invalid token"):
            page(range(5), {"nextToken": token})


def test_tags() -> None:
    assert merged_tags([{"key": "a", "value": "1"}], [{"key": "a", "value": "2"}, {"key": "b"}]) == [
        {"key": "a", "value": "2"},
        {"key": "b", "value": ""},
    ]
    with pytest.raises(AwsError, match="50"):
        merged_tags([], [{"key": str(n), "value": ""} for n in range(51)])
    with pytest.raises(AwsError, match="aws:"):
        merged_tags([], [{"key": "aws:mine", "value": ""}])
