"""The contract of ``Source`` (executors/events/source.py), on the shipped fake and on SQS of the local cloud."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.local.rest_server import Rest, rest_of_aws

from skylift.aws.messages import Messages
from skylift.core.attempt import Observation, Phase
from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.executors.events.fake import FakeSource
from skylift.executors.events.source import Source
from skylift.executors.events.sqs import SqsSource

pytestmark = pytest.mark.contract


@dataclass
class World:
    """A source, another reader of the same events, and the means to make events happen."""

    source: Source
    other: Source
    put: Callable[[Observation], None]
    close_down: Callable[[], None]


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with rest_of_aws(tmp_path_factory.mktemp("rest")) as running:
        yield running


@pytest.fixture(params=["fake", "sqs"])
def world(request: pytest.FixtureRequest) -> World:
    return fake_world() if request.param == "fake" else sqs_world(request.getfixturevalue("rest"), request.node.name)


def fake_world() -> World:
    source = FakeSource(waits=0.1)
    return World(source, source, source.put, lambda: source.errors.append(Refused("no such queue")))


def sqs_world(rest: Rest, test: str) -> World:
    name = "".join(letter if letter.isalnum() else "-" for letter in test)[:80]
    sqs = rest.client("sqs", read_timeout=40)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]

    def reader() -> SqsSource:
        return SqsSource(Messages(sqs, name, hidden=1), {"Test": from_detail}, wait=1, give_back=(0, 0, 1))

    def put(one: Observation) -> None:
        detail = {"ref": one.ref, "phase": one.phase, "version": one.version}
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"detail-type": "Test", "detail": detail}))

    return World(reader(), reader(), put, lambda: sqs.delete_queue(QueueUrl=url))


def from_detail(detail: Any) -> Observation:
    return Observation(detail["ref"], Phase(detail["phase"]), version=detail["version"])


def seen_until(source: Source, wanted: int, seconds: float = 15) -> list[Observation]:
    """Receives and settles until there are so many."""
    deadline = time.monotonic() + seconds
    found: list[Observation] = []
    while len(found) < wanted:
        assert time.monotonic() < deadline, found
        found += source.receive()
        source.settle(())
    return found


def test_nothing_is_an_answer(world: World) -> None:
    began = time.monotonic()
    assert world.source.receive() == []
    world.source.settle(())
    assert time.monotonic() - began < 20


def test_what_is_settled_does_not_come_again(world: World) -> None:
    one = Observation("a", Phase.RUNNING, version=3)
    world.put(one)
    assert seen_until(world.source, 1) == [one]
    for _ in range(3):
        assert world.source.receive() == []


def test_what_is_not_settled_comes_again(world: World) -> None:
    one = Observation("a", Phase.STOPPED)
    world.put(one)
    while not world.source.receive():
        pass
    assert seen_until(world.source, 1) == [one]


def test_many_come_all(world: World) -> None:
    all_of_them = [Observation(f"a{number}", Phase.RUNNING, version=number) for number in range(57)]
    for one in all_of_them:
        world.put(one)
    assert sorted(seen_until(world.source, 57), key=lambda one: one.version) == all_of_them
    assert world.source.receive() == []


def test_a_stranger_is_given_to_the_other_reader(world: World) -> None:
    world.put(Observation("theirs", Phase.RUNNING))
    world.put(Observation("ours", Phase.RUNNING))
    found: list[Observation] = []
    while len(found) < 2:
        found += world.source.receive()
        world.source.settle({"theirs"})
    assert [one.ref for one in seen_until(world.other, 1)] == ["theirs"]
    assert world.source.receive() == []


def test_a_stranger_of_nobody_is_dropped_at_last(world: World) -> None:
    world.put(Observation("nobody's", Phase.RUNNING))
    received, quiet = 0, 0
    deadline = time.monotonic() + 30
    while quiet < 5:
        assert time.monotonic() < deadline
        found = world.source.receive()
        received, quiet = received + len(found), 0 if found else quiet + 1
        world.source.settle({one.ref for one in found})
    assert 2 <= received <= 10


def test_a_source_that_is_gone_says_so_and_may_be_closed_twice(world: World) -> None:
    world.close_down()
    with pytest.raises((Refused, Unavailable)) as caught:
        world.source.receive()
    assert isinstance(caught.value, SkyliftError)
    world.source.close()
    world.source.close()
