"""The queue of an environment: how it is created, repaired and named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.control_scenes import context, spec

from skylift.aws.event_queues import EventQueue
from skylift.control.airflow_config import essentials
from skylift.control.blueprint import PartKind, blueprint
from skylift.control.part_context import PartContext
from skylift.control.parts.events import READ, EventParts, pattern, policy, queue_name
from skylift.control.plan import PartPhase

pytestmark = pytest.mark.unit
STAGE = context()
(PART,) = (part for part in blueprint(STAGE.spec) if part.kind is PartKind.EVENTS)


class Queues:
    """``EventQueues`` in memory."""

    def __init__(self) -> None:
        self.standing: dict[str, EventQueue] = {}

    def find(self, name: str) -> EventQueue | None:
        return self.standing.get(name)

    def make(self, name: str, attributes: Mapping[str, str], wanted: Mapping[str, Any], arn: str) -> None:
        self.standing[name] = EventQueue(arn, attributes["Policy"], dict(wanted), fills=True)

    def delete(self, name: str) -> None:
        self.standing.pop(name, None)


def phase(queues: Queues, stage: PartContext = STAGE) -> PartPhase:
    return EventParts(queues).observe(stage, [PART])[PART.name].phase  # type: ignore[arg-type]


def put(queues: Queues, stage: PartContext = STAGE) -> None:
    EventParts(queues).put(stage, PART)  # type: ignore[arg-type]


def test_a_queue_comes_and_goes_and_its_arn_is_the_executors_option() -> None:
    queues = Queues()
    assert phase(queues) is PartPhase.ABSENT
    put(queues)
    seen = EventParts(queues).observe(STAGE, [PART])[PART.name]  # type: ignore[arg-type]
    assert seen.phase is PartPhase.READY
    known = replace(STAGE, facts={**STAGE.facts, **seen.facts})
    option = essentials(known, "SchedulerLogs")["AIRFLOW__SKYLIFT__EVENTS_QUEUE"]
    assert option == "arn:aws:sqs:us-east-1:000000000000:skylift-flight-events"
    EventParts(queues).remove(STAGE, PART)  # type: ignore[arg-type]
    assert phase(queues) is PartPhase.ABSENT


@pytest.mark.parametrize(
    "harm",
    [
        lambda one: replace(one, fills=False),
        lambda one: replace(one, pattern=None),
        lambda one: replace(one, pattern={"source": ["aws.ecs"]}),
        lambda one: replace(one, policy=""),
        lambda one: replace(one, policy=one.policy.replace("rule/skylift", "rule/other")),
        lambda one: replace(one, arn="", policy="", fills=False),
    ],
)
def test_what_somebody_changed_is_mended(harm: Callable[[EventQueue], EventQueue]) -> None:
    queues = Queues()
    put(queues)
    name = queue_name("flight")
    queues.standing[name] = harm(queues.standing[name])
    assert phase(queues) is PartPhase.DIFFERENT
    put(queues)
    assert phase(queues) is PartPhase.READY


def test_another_execution_role_may_read_the_queue_from_then_on() -> None:
    queues = Queues()
    put(queues)
    moved = context(spec(ExecutionRoleArn="arn:aws:iam::000000000000:role/another"))
    assert phase(queues, moved) is PartPhase.DIFFERENT
    put(queues, moved)
    assert phase(queues, moved) is PartPhase.READY


def test_the_rule_alone_fills_and_the_role_alone_reads() -> None:
    fills, reads = policy(STAGE)["Statement"]
    assert fills["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(":rule/skylift-flight-events")
    assert (fills["Principal"], fills["Action"]) == ({"Service": "events.amazonaws.com"}, "sqs:SendMessage")
    assert reads["Principal"] == {"AWS": STAGE.spec.execution_role}
    assert set(reads["Action"]) == set(READ)
    assert {fills["Resource"], reads["Resource"]} == {"arn:aws:sqs:us-east-1:000000000000:skylift-flight-events"}
    assert "skylift-flight-task" in json.dumps(pattern(STAGE))


def test_names_are_short_and_each_its_own() -> None:
    long = [f"{'e' * 78}{number}" for number in range(3)]
    names = {queue_name(name) for name in [*long, "a", "a-events", "a_b", "a-b"]}
    assert len(names) == 7
    assert all(len(name) <= 64 for name in names)
