"""What a feed does with a source that works, fails, delivers nonsense and comes back; what a queue's messages mean."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from skylift.aws.messages import Message, region_of
from skylift.core.attempt import Observation, Phase
from skylift.core.clock import ManualClock
from skylift.core.errors import Refused, Unavailable
from skylift.executors.events.fake import MOST_RECEIVES, FakeSource
from skylift.executors.events.source import PATIENCE, SELDOM, EventListener, Feed
from skylift.executors.events.sqs import BATCH_JOB, ECS_TASK, GAP, GIVE_BACK, STALE, SqsSource

pytestmark = pytest.mark.unit

ONE, OTHER = Observation("one", Phase.RUNNING), Observation("other", Phase.STOPPED)


class Hearer(EventListener):
    """A feed and all that it says."""

    def __init__(self, source: FakeSource | None = None) -> None:
        self.source = source or FakeSource()
        self.clock = ManualClock()
        self.seen: list[Observation] = []
        self.heard: list[bool] = []
        self.strangers: set[str] = set()
        self.feed = Feed(self.source, self, self.clock)

    def sighted(self, observations: Sequence[Observation]) -> Collection[str]:
        self.seen += observations
        return self.strangers

    def hear(self, well: bool) -> None:
        self.heard.append(well)

    def turns(self, number: int) -> list[float]:
        """Rounds, with the rests between them."""
        rests = []
        for _ in range(number):
            rests.append(self.feed.turn())
            self.clock.advance(rests[-1])
        return rests


def test_what_comes_is_handed_over_and_settled() -> None:
    listener = Hearer()
    listener.source.put(ONE, OTHER)
    assert listener.turns(2) == [0.0, 0.0]
    assert listener.seen == listener.source.settled == [ONE, OTHER]
    assert listener.heard == [True]


def test_a_stranger_is_given_back_a_few_times_and_then_dropped() -> None:
    listener = Hearer()
    listener.strangers = {"other"}
    listener.source.put(ONE, OTHER)
    listener.turns(10)
    assert listener.source.settled == [ONE]
    assert listener.source.dropped == [OTHER]
    assert listener.seen.count(OTHER) == MOST_RECEIVES


def test_a_short_outage_is_waited_out_and_a_long_one_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    listener = Hearer()
    listener.turns(1)
    listener.source.errors = [Unavailable("no network")] * 200
    began = listener.clock()
    while listener.clock() < began + PATIENCE:
        assert listener.heard == [True]
        assert listener.turns(1)[0] <= PATIENCE
    listener.turns(150)
    assert listener.heard == [True, False]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "no network" in caplog.text
    listener.source.errors = []
    listener.source.put(ONE)
    listener.turns(1)
    assert listener.heard == [True, False, True]
    assert listener.seen == [ONE]


def test_a_queue_that_says_no_is_told_at_once_and_asked_seldom(caplog: pytest.LogCaptureFixture) -> None:
    listener = Hearer()
    listener.turns(1)
    listener.source.errors = [Refused("sqs ReceiveMessage: AccessDenied")] * 50
    rests = listener.turns(20)
    assert listener.heard == [True, False]
    assert len(caplog.records) == 1
    assert "polling" in caplog.text
    assert "AccessDenied" in caplog.text
    assert max(rests) <= SELDOM
    assert sum(rests[-10:]) > SELDOM, "not a call a minute for what somebody must put right"


def test_a_source_with_a_bug_does_not_end_the_feed() -> None:
    class Bad(FakeSource):
        def receive(self) -> list[Observation]:
            raise ZeroDivisionError("bug")

    listener = Hearer(Bad())
    assert all(rest > 0 for rest in listener.turns(3))
    assert listener.heard == []  # it never was well


def test_what_is_torn_down_by_the_end_is_no_mistake(caplog: pytest.LogCaptureFixture) -> None:
    class Torn(FakeSource):
        def receive(self) -> list[Observation]:
            raise RuntimeError("cannot schedule new futures after shutdown")

    listener = Hearer(Torn())
    listener.feed.end()
    assert listener.turns(1) == [0.0]
    assert caplog.records == []


def test_the_thread_listens_and_ends() -> None:
    listener = Hearer(FakeSource(waits=10))
    listener.feed.start()
    listener.source.put(ONE)
    deadline = time.monotonic() + 10
    while not listener.source.settled:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    began = time.monotonic()
    listener.feed.end()
    assert time.monotonic() - began < 5
    assert listener.heard == [True]


class Queue:
    """What ``Messages`` gives, from a list."""

    def __init__(self, *bodies: str, receives: int = 1, sent: float = 0.0) -> None:
        self.waiting = [Message(body, f"r{n}", receives, sent) for n, body in enumerate(bodies)]
        self.deleted: list[str] = []
        self.returned: dict[str, int] = {}
        self.calls = 0

    def receive(self, wait: int = 20) -> list[Message]:
        self.calls += 1
        taken, self.waiting = self.waiting[:10], self.waiting[10:]
        return taken

    def delete(self, receipts: Sequence[str]) -> None:
        assert 1 <= len(receipts) <= 10
        self.calls += 1
        self.deleted += receipts

    def give_back(self, receipts: Mapping[str, int]) -> None:
        assert 1 <= len(receipts) <= 10
        self.calls += 1
        self.returned.update(receipts)

    def close(self) -> None: ...


def translated(detail: Mapping[str, Any]) -> Observation | None:
    return None if detail["group"] == "service:x" else Observation(detail["taskArn"], Phase.RUNNING)


def event(ref: str, kind: str = ECS_TASK, group: str = "family:x") -> str:
    return json.dumps({"detail-type": kind, "detail": {"taskArn": ref, "group": group}})


def source_over(queue: Queue, now: float = 0.0) -> SqsSource:
    return SqsSource(queue, {ECS_TASK: translated}, clock=ManualClock(now))  # type: ignore[arg-type]


def test_only_ecs_tasks_are_seen_and_everything_else_is_deleted(caplog: pytest.LogCaptureFixture) -> None:
    poison = ["", "no json", "[]", "3", "null", "{}", '{"detail-type": "ECS Task State Change"}', '{"detail-type": []}']
    shapes: list[Any] = [None, [], "secret", {}, {"group": 1}]
    poison += [json.dumps({"detail-type": ECS_TASK, "detail": shape}) for shape in shapes]
    fine = [event("a"), event("s", group="service:x"), event("x", kind="ECS Service Action")]
    queue = Queue(*poison, *fine)
    source = source_over(queue)
    seen = source.receive()
    source.settle(())
    assert [one.ref for one in seen] == ["a"]
    assert sorted(queue.deleted) == sorted(f"r{n}" for n in range(len(poison) + len(fine)))
    assert (source.counts.received, source.counts.poison, source.counts.ignored) == (len(poison) + 3, len(poison), 2)
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text, "a message may hold a workload's token"


def test_an_event_for_the_other_executor_goes_back() -> None:
    queue = Queue(event("theirs", kind=BATCH_JOB), event("ours"))
    source = source_over(queue)
    assert [one.ref for one in source.receive()] == ["ours"]
    source.settle(())
    assert (queue.deleted, queue.returned) == (["r1"], {"r0": 0})


def test_a_full_queue_is_emptied_ten_at_a_time_and_handed_over_once() -> None:
    queue = Queue(*(event(f"a{n}") for n in range(95)))
    source = source_over(queue)
    assert len(source.receive()) == 95
    source.settle(())
    assert len(queue.deleted) == 95
    assert queue.calls <= 13 + 10


def test_a_trickle_is_gathered_but_the_first_is_not_held_up() -> None:
    queue = Queue(event("a"))
    source = source_over(queue)
    began = time.monotonic()
    assert source.receive()
    first = time.monotonic() - began
    source.settle(())
    queue.waiting = [Message(event("b"), "b", 1, 0.0)]
    assert source.receive()
    assert first < GAP < time.monotonic() - began


@pytest.mark.parametrize(
    ("receives", "age", "back"),
    [(1, 1.0, True), (len(GIVE_BACK), 1.0, True), (len(GIVE_BACK) + 1, 1.0, False), (1, STALE, False)],
)
def test_a_strangers_event_goes_back_while_somebody_may_want_it(receives: int, age: float, back: bool) -> None:
    queue = Queue(event("ours"), event("theirs"), receives=receives, sent=1000.0)
    source = source_over(queue, now=1000.0 + age)
    source.receive()
    source.settle({"theirs"})
    assert queue.deleted == (["r0"] if back else ["r0", "r1"])
    assert list(queue.returned) == (["r1"] if back else [])
    assert source.counts.dropped == (0 if back else 1)


@pytest.mark.parametrize(
    ("queue", "region"),
    [
        ("arn:aws:sqs:eu-west-1:123456789012:q", "eu-west-1"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q", "eu-west-1"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/q", "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "cn-north-1"),
        ("http://127.0.0.1:4747/000000000000/q", ""),
        ("q", ""),
    ],
)
def test_a_queue_may_name_its_region(queue: str, region: str) -> None:
    assert region_of(queue) == region
