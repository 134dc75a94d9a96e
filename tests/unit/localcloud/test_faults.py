"""Faults, decided: scopes, extents, chances that repeat, AWS's token buckets, and what each kind does to a call or an
event."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from skylift.core.clock import ManualClock
from skylift.core.errors import Refused
from skylift.localcloud.faults.effects import Fault
from skylift.localcloud.faults.kinds import KINDS
from skylift.localcloud.faults.plan import Faults
from skylift.wire.errors import AwsError
from skylift.wire.intercept import Call, ConnectionCut, Interception
from skylift.wire.provider import Caller

pytestmark = pytest.mark.unit
CALLER = Caller("AKIA", "arn:aws:iam::000000000000:user/test", "000000000000", "us-east-1")


class Rig:
    """Faults on a clock that stands still, and what was slept."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.slept: list[float] = []
        self.done: list[str] = []
        self.faults = Faults(self.clock, self._sleep)
        self.faults.perform_with({"kill": self._kill})

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def _kill(self, fault: Fault) -> int:
        self.done.append(fault.values["task"])
        return 3

    def call(self, operation: str, service: str = "ecs", **request: Any) -> Interception:
        return asyncio.run(self.faults.interception(Call(service, operation, CALLER, request)))

    def code(self, operation: str, service: str = "ecs", **request: Any) -> str:
        try:
            self.call(operation, service, **request)
        except AwsError as error:
            return error.code
        return ""


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_without_faults_nothing_happens(rig: Rig) -> None:
    assert rig.call("RunTask") == Interception()
    assert rig.faults.event_delays("aws.ecs") == (0.0,)
    assert rig.faults.has_room("batch", "q")


@pytest.mark.parametrize(
    ("preset", "service", "operations", "burst", "rate", "code"),
    [
        ("ecs-modify", "ecs", ("RunTask", "StopTask"), 100, 40, "ThrottlingException"),
        ("ecs-read", "ecs", ("DescribeTasks", "ListTasks"), 100, 20, "ThrottlingException"),
        ("batch", "batch", ("SubmitJob", "DescribeJobs"), 50, 50, "TooManyRequestsException"),
    ],
)
def test_presets_are_the_buckets_of_aws(
    rig: Rig, preset: str, service: str, operations: tuple[str, str], burst: int, rate: int, code: str
) -> None:
    rig.faults.set("throttle", {"preset": preset})
    outcomes = [rig.code(operations[n % 2], service) for n in range(burst + 5)]
    assert outcomes == [""] * burst + [code] * 5, "operations share one bucket"
    rig.clock.advance(1)
    assert [rig.code(operations[0], service) for _ in range(rate + 1)] == [""] * rate + [code]
    assert rig.code("DescribeClusters", "ecs") == ""
    assert rig.faults.shown()[0]["hits"] == 6


def test_fargate_launches_are_counted_by_ecs_task(rig: Rig) -> None:
    rig.faults.set("throttle", {"preset": "fargate-launch"})
    assert [rig.code("RunTask", count=10) for _ in range(11)] == [""] * 10 + ["ThrottlingException"]
    rig.clock.advance(0.25)
    assert rig.code("RunTask", count=10) == "ThrottlingException"
    assert rig.code("RunTask", count=5) == ""


@pytest.mark.parametrize(
    ("values", "hit", "missed"),
    [
        ({"service": "ecs"}, ("RunTask", "ecs", {}), ("SubmitJob", "batch", {})),
        ({"operation": "RunTask"}, ("RunTask", "ecs", {}), ("StopTask", "ecs", {})),
        ({"cluster": "default"}, ("RunTask", "ecs", {}), ("RunTask", "ecs", {"cluster": "other"})),
        ({"cluster": "a"}, ("RunTask", "ecs", {"cluster": "arn:x/a"}), ("RunTask", "ecs", {"cluster": "b"})),
        ({"cluster": "a"}, ("RunTask", "ecs", {"cluster": "a"}), ("SubmitJob", "batch", {})),
        ({"queue": "q"}, ("SubmitJob", "batch", {"jobQueue": "arn:x/q"}), ("SubmitJob", "batch", {"jobQueue": "r"})),
    ],
)
def test_scope(rig: Rig, values: dict[str, str], hit: tuple[str, str, Any], missed: tuple[str, str, Any]) -> None:
    rig.faults.set("error", {"code": "Boom", **values})
    assert rig.code(hit[0], hit[1], **hit[2]) == "Boom"
    assert rig.code(missed[0], missed[1], **missed[2]) == ""


def test_over_after_so_many_calls_or_seconds(rig: Rig) -> None:
    rig.faults.set("error", {"calls": 2})
    assert [rig.code("RunTask") != "" for _ in range(4)] == [True, True, False, False]
    assert rig.faults.shown() == []
    rig.faults.set("error", {"seconds": 10})
    rig.clock.advance(9)
    assert rig.code("RunTask") != ""
    rig.clock.advance(1)
    assert rig.code("RunTask") == ""


def test_the_same_seed_gives_the_same_hits() -> None:
    def hits(seed: int) -> list[bool]:
        rig = Rig()
        rig.faults.set("error", {"probability": 0.3, "seed": seed})
        return [rig.code("RunTask") != "" for _ in range(200)]

    assert hits(1) == hits(1) != hits(2)
    assert 30 < sum(hits(1)) < 90


def test_latency_comes_before_the_error_and_adds_up(rig: Rig) -> None:
    rig.faults.set("error", {"code": "Boom"})
    rig.faults.set("latency", {"delay": 2, "jitter": 1, "seed": 4})
    rig.faults.set("latency", {"delay": 3})
    assert rig.code("RunTask") == "Boom"
    assert 5 < rig.slept[0] < 6
    assert len(rig.slept) == 1


def test_a_cut_is_before_or_after_the_work(rig: Rig) -> None:
    rig.faults.set("cut", {"when": "before", "calls": 1})
    with pytest.raises(ConnectionCut):
        rig.call("RunTask")
    rig.faults.set("cut", {"calls": 1})
    assert rig.call("RunTask").cut
    assert not rig.call("RunTask").cut


def test_missing_hides_the_young(rig: Rig) -> None:
    rig.faults.set("missing", {"younger": 60})
    tasks = [
        {"taskArn": "old", "createdAt": datetime.fromtimestamp(rig.clock.now - 61, UTC)},
        {"taskArn": "new", "createdAt": datetime.fromtimestamp(rig.clock.now - 59, UTC)},
    ]
    interception = rig.call("DescribeTasks")
    assert interception.rewrite is not None
    answer = interception.rewrite({"tasks": tasks, "failures": [{"arn": "x", "reason": "MISSING"}]})
    assert [task["taskArn"] for task in answer["tasks"]] == ["old"]
    assert [failure["arn"] for failure in answer["failures"]] == ["x", "new"]
    assert rig.call("ListTasks") == Interception()


def test_capacity_is_refused_per_ecs_task_and_by_provider(rig: Rig) -> None:
    rig.faults.set("capacity", {"provider": "FARGATE_SPOT", "reason": "Capacity is unavailable at this time."})
    spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    answer = rig.call("RunTask", count=2, capacityProviderStrategy=spot).answer
    assert answer == {"tasks": [], "failures": [{"reason": "Capacity is unavailable at this time."}] * 2}
    assert rig.call("RunTask", launchType="FARGATE") == Interception()


def test_room_for_batch_jobs_by_queue(rig: Rig) -> None:
    rig.faults.set("capacity", {"queue": "full"})
    assert not rig.faults.has_room("batch", "full")
    assert rig.faults.has_room("batch", "other")
    assert rig.faults.has_room("ecs", "default"), "a queue's fault does not concern ECS"


def test_events_are_lost_doubled_or_late(rig: Rig) -> None:
    rig.faults.set("events", {"how": "lose", "source": "aws.batch"}, name="one")
    assert rig.faults.event_delays("aws.batch") == ()
    assert rig.faults.event_delays("aws.ecs") == (0.0,)
    rig.faults.set("events", {"how": "duplicate", "spread": 5}, name="one")
    first, second = rig.faults.event_delays("aws.ecs")
    assert first == 0.0 < second <= 5
    rig.faults.set("events", {"how": "reorder", "spread": 5}, name="one")
    delays = [rig.faults.event_delays("aws.ecs")[0] for _ in range(20)]
    assert delays != sorted(delays)


def test_kinds_that_are_done_at_once_do_not_stay(rig: Rig) -> None:
    assert rig.faults.set("kill", {"task": "abc"})["hits"] == 3
    assert rig.done == ["abc"]
    assert rig.faults.shown() == []


def test_names_replace_and_clear(rig: Rig) -> None:
    rig.faults.set("error", {"code": "A"}, name="mine")
    rig.faults.set("error", {"code": "B", "status": "503"}, name="mine")
    assert [fault["values"] for fault in rig.faults.shown()] == [{"code": "B", "status": 503}]
    assert rig.faults.clear("other") == 0
    rig.faults.set("latency")
    assert rig.faults.clear() == 2
    assert rig.faults.shown() == []


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("nonsense", {}, "there is no fault 'nonsense'"),
        ("latency", {"dealy": 1}, "has no dealy"),
        ("latency", {"delay": "soon"}, "latency, delay: 'soon'"),
        ("error", {"probability": 2}, "from 0 to 1"),
        ("throttle", {"preset": "ecs"}, "expected one of ecs-modify"),
        ("error", {"calls": -1}, "from 0 on"),
    ],
)
def test_what_cannot_be_asked_for(rig: Rig, kind: str, values: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        rig.faults.set(kind, values)
    assert rig.faults.shown() == []


def test_every_kind_can_be_set_with_its_defaults(rig: Rig) -> None:
    for kind in KINDS.values():
        assert kind.meaning.endswith(".")
        assert all(parameter.meaning.endswith(".") for parameter in kind.parameters)
        assert rig.faults.set(kind.name)["values"] == {}
