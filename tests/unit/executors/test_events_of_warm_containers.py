"""The two sources for warm containers: ends of workloads, which no AWS service knows, and the container's own events,
assigned to its current workload."""

from __future__ import annotations

import json
from collections.abc import Collection

import pytest

from skylift.core.attempt import Attempt, Exit, Observation, Phase
from skylift.core.clock import ManualClock
from skylift.executors.events.warm import Rereading, WarmSource
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.in_container.mailboxes import FakeMailboxes, Mailbox
from skylift.executors.in_container.warm import FORGET, WarmCompute

pytestmark = pytest.mark.unit


class Queue:
    """A source with what the test puts into it."""

    def __init__(self, *news: Observation) -> None:
        self.news, self.settled, self.closed = list(news), list[list[str]](), 0

    def receive(self) -> list[Observation]:
        return self.news

    def settle(self, strangers: Collection[str]) -> None:
        self.settled.append(list(strangers))

    def close(self) -> None:
        self.closed += 1


def warm() -> tuple[WarmCompute, FakeCompute, FakeMailboxes, str]:
    """A container with its first workload in it; its ref."""
    fake, mailboxes = FakeCompute(), FakeMailboxes()
    compute = WarmCompute(fake, mailboxes, 120.0)
    (submission,) = compute.submit([Attempt("first", 1, lambda: json.dumps({}))])
    fake.run(submission.ref)
    return compute, fake, mailboxes, submission.ref


def test_a_warm_container_is_to_the_fleet_as_the_compute_that_started_it() -> None:
    compute, fake, _, _ = warm()
    assert (compute.most_per_submit, compute.most_per_observe) == (fake.most_per_submit, fake.most_per_observe)
    many = FakeCompute(most_per_submit=7, most_per_observe=9)
    other = WarmCompute(many, FakeMailboxes(), 120.0)
    assert (other.most_per_submit, other.most_per_observe) == (7, 9)


def test_an_end_is_told_though_the_container_goes_on() -> None:
    compute, _, mailboxes, ref = warm()
    mailboxes.end(Mailbox("first.1", 1), Exit.DONE)
    source = WarmSource(compute)
    (seen,) = source.receive()
    assert (seen.ref, seen.phase, seen.exit_code) == (ref, Phase.STOPPED, Exit.DONE)
    source.settle(["stranger"])
    source.close()


def test_an_event_of_a_container_is_one_of_its_workload() -> None:
    compute, _, mailboxes, ref = warm()
    stranger = Observation("another", Phase.RUNNING)
    seen = Observation(ref, Phase.RUNNING)
    source = Rereading(Queue(seen, stranger), compute)
    assert [one.ref for one in source.receive()] == [ref, "another"], "what is not known here is handed on"
    mailboxes.end(Mailbox("first.1", 1), Exit.DONE)
    compute.observe([ref])
    assert [one.ref for one in source.receive()] == ["another"], "it is idle: the event is about no workload"


def test_the_document_of_what_waits_is_renewed_where_a_container_of_its_own_was_started() -> None:
    renewed: list[str] = []

    class Renewing(FakeCompute):
        def renew(self, attempt: Attempt, ref: str) -> bool:
            renewed.append(ref)
            return False

    compute = WarmCompute(Renewing(), FakeMailboxes(), 120.0)
    attempt = Attempt("first", 1, str)
    assert compute.renew(attempt, "fake:first.1") is False, "as the inner one says"
    assert compute.renew(attempt, "fake:first.1#2") is True, "what was handed over is taken at once"
    assert renewed == ["fake:first.1"]


def test_strangers_are_given_back_by_the_name_of_their_container() -> None:
    compute, _, _, ref = warm()
    queue = Queue()
    source = Rereading(queue, compute)
    source.settle([f"{ref}#3", "another"])
    assert queue.settled == [[ref, "another"]]
    source.close()
    assert queue.closed == 1


def test_a_container_counts_as_touched_when_it_is_given_work() -> None:
    """It is forgotten when it must have ended unseen, and not while it may be at the work that it was given last."""
    clock, fake, mailboxes = ManualClock(), FakeCompute(), FakeMailboxes()
    compute = WarmCompute(fake, mailboxes, 120.0, clock=clock)
    (first,) = compute.submit([Attempt("first", 1, lambda: json.dumps({}))])
    fake.run(first.ref)
    mailboxes.end(Mailbox("first.1", 1), Exit.DONE)
    compute.observe([first.ref])
    clock.advance(100)
    (second,) = compute.submit([Attempt("second", 1, lambda: json.dumps({}))])
    assert second.ref == f"{first.ref}#2"
    clock.advance(FORGET - 50)
    mailboxes.promise("another", Mailbox("theirs.1", 2), "fake:theirs.1#2")
    mailboxes.offer(Mailbox("theirs.1", 2), "{}")
    compute.find(Attempt("another", 1, str))  # others are forgotten here
    mailboxes.end(Mailbox("first.1", 2), Exit.DONE)
    assert [one.phase for one in compute.observe([second.ref])] == [Phase.STOPPED], "its end is told"
    clock.advance(FORGET + 200)
    compute.find(Attempt("another", 1, str))
    (third,) = compute.submit([Attempt("third", 1, lambda: json.dumps({}))])
    assert "#" not in third.ref, "an idle one has ended by now"
