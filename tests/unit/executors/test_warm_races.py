"""Warm containers when things happen at once: stops, lost answers, an end seen twice, containers of a dead
scheduler."""

from __future__ import annotations

import json

import pytest

from skylift.aws.errors import Throttled
from skylift.core.attempt import Attempt, Exit, Observation, Phase, Submission, Verdict, verdict
from skylift.core.clock import ManualClock
from skylift.core.errors import Refused, Unavailable
from skylift.executors.events.warm import WarmSource
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.in_container.mailboxes import FakeMailboxes, Mailbox
from skylift.executors.in_container.warm import WarmCompute

pytestmark = pytest.mark.unit
SECOND = Mailbox("first.1", 2)


def attempt(name: str, number: int = 1, *, adopted: bool = False) -> Attempt:
    return Attempt(name, number, lambda: json.dumps({"name": name}), {}, {}, adopted=adopted)


class Moody(FakeMailboxes):
    """Fails once in the verbs that it is told: before the work, or ("answer") after it; ``twice`` is boto3 repeating a
    call by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.moods: list[str] = []
        self.listings = 0

    def _mood(self, mood: str) -> bool:
        if mood in self.moods:
            self.moods.remove(mood)
            return True
        return False

    def promise(self, external_id: str, mailbox: Mailbox, ref: str) -> None:
        if self._mood("promise"):
            raise Throttled("cut")
        if self._mood("forbidden"):
            raise Refused("AccessDenied")
        super().promise(external_id, mailbox, ref)

    def offer(self, mailbox: Mailbox, document: str) -> bool:
        result = super().offer(mailbox, document)
        if self._mood("answer"):
            raise Unavailable("cut")
        return super().offer(mailbox, document) if self._mood("twice") else result

    def standing(self, mailbox: Mailbox) -> str | None:
        if self._mood("standing"):
            raise Unavailable("cut")
        return super().standing(mailbox)

    def clear(self, container: str) -> None:
        if self._mood("clear"):
            raise Unavailable("cut")
        super().clear(container)


class Slow(FakeCompute):
    """Takes a while to stop a container."""

    def stop(self, ref: str, why: str) -> None:
        self.stops.append(ref)


def idle(mailboxes: Moody, fake: FakeCompute, *names: str, code: int = Exit.DONE) -> WarmCompute:
    """Idle containers that have done their first workloads."""
    compute = WarmCompute(fake, mailboxes, 120.0)
    refs = [answer.ref for answer in compute.submit([attempt(name) for name in names])]
    for ref, name in zip(refs, names, strict=True):
        fake.run(ref)
        mailboxes.end(Mailbox(f"{name}.1", 1), code)
    compute.observe(refs)
    return compute


def test_nothing_is_handed_to_a_container_that_was_told_to_stop() -> None:
    mailboxes, fake = Moody(), Slow()
    compute = WarmCompute(fake, mailboxes, 120.0)
    (answer,) = compute.submit([attempt("first")])
    fake.run(answer.ref)
    compute.stop(answer.ref, "revoked")
    # Its workload ends in that moment, before the stop arrives.
    mailboxes.end(Mailbox("first.1", 1), Exit.ENDED_BADLY)
    compute.observe([answer.ref])
    assert fake.stops == [answer.ref]
    assert compute.submit([attempt("second")]) == [Submission(ref="fake:second.1")]


@pytest.mark.parametrize("late", [attempt("second", 2), attempt("second", adopted=True)])
def test_what_may_have_a_container_already_is_not_handed_over(late: Attempt) -> None:
    mailboxes, fake = Moody(), FakeCompute()
    compute = idle(mailboxes, fake, "first")
    fake.submit([late])
    assert compute.submit([late]) == [Submission(ref=f"fake:{late.token}")]
    assert mailboxes.take(SECOND) == ""


def test_a_put_that_was_repeated_below_is_still_one_hand_over() -> None:
    mailboxes, fake = Moody(), FakeCompute()
    compute = idle(mailboxes, fake, "first")
    mailboxes.moods = ["twice"]
    assert compute.submit([attempt("second")]) == [Submission(ref="fake:first.1#2")]
    assert len(fake.alive()) == 1


def test_a_lost_answer_is_settled_at_its_own_berth_however_far_the_container_is() -> None:
    mailboxes, fake = Moody(), FakeCompute()
    compute = idle(mailboxes, fake, "first")
    mailboxes.moods = ["answer"]
    (answer,) = compute.submit([attempt("second")])
    assert answer.later
    mailboxes.take(SECOND)
    mailboxes.end(SECOND, Exit.DONE)
    WarmSource(compute).receive()
    assert compute.submit([attempt("third")]) == [Submission(ref="fake:first.1#3")]
    assert compute.submit([attempt("second")]) == [Submission(ref="fake:first.1#2")]
    assert json.loads(mailboxes.take(Mailbox("first.1", 3))) == {"name": "third"}
    (seen,) = compute.observe(["fake:first.1#2"])
    assert (seen.phase, seen.exit_code) == (Phase.STOPPED, Exit.DONE)


def test_a_hand_over_is_always_promised_first() -> None:
    mailboxes, fake = Moody(), FakeCompute()
    compute = idle(mailboxes, fake, "first")
    mailboxes.moods = ["promise"]
    assert compute.submit([attempt("second")]) == [Submission(later="cut", throttled=True)]
    assert compute.submit([attempt("second")]) == [Submission(ref="fake:first.1#2")]
    assert mailboxes.promised("second") == (SECOND, "fake:first.1#2")


def test_a_missing_permission_fails_at_once_and_names_the_option() -> None:
    mailboxes, fake = Moody(), FakeCompute()
    compute = idle(mailboxes, fake, "first")
    mailboxes.moods = ["forbidden"]
    assert compute.submit([attempt("second")]) == [Submission(refused="[skylift] warm_seconds: AccessDenied")]


def test_an_end_is_said_again_when_the_first_answer_was_lost() -> None:
    mailboxes, fake = Moody(), FakeCompute()
    compute = idle(mailboxes, fake, "first", "other")
    refs = sorted(answer.ref for answer in compute.submit([attempt("a"), attempt("b")]))
    for ref in refs:
        fake.exit(ref.partition("#")[0], 0)
    # Neither was taken; that of the second cannot be asked for in the first look.
    answers = compute.observe(refs[:1])
    mailboxes.moods = ["standing"]
    with pytest.raises(Unavailable):
        compute.observe(refs)
    again = compute.observe(refs)
    assert answers == again[:1]
    assert [verdict(seen) for seen in again] == [Verdict.LOST] * 2


def test_the_code_of_an_end_outlives_the_next_workload() -> None:
    mailboxes, fake = Moody(), FakeCompute()
    compute = idle(mailboxes, fake, "first", code=Exit.ENDED_BADLY)
    compute.submit([attempt("second")])
    # The container has taken it and removed what it said of the first.
    mailboxes.clear("first.1")
    (seen,) = compute.observe(["fake:first.1"])
    assert (seen.phase, seen.exit_code) == (Phase.STOPPED, Exit.ENDED_BADLY)


@pytest.mark.parametrize("gone", ["died", "forgotten"])
def test_what_was_not_taken_never_began_though_its_container_ran(gone: str) -> None:
    mailboxes, fake = Moody(), FakeCompute()
    compute = idle(mailboxes, fake, "first")
    (answer,) = compute.submit([attempt("second")])
    (running,) = compute.observe([answer.ref])
    assert running.phase is Phase.RUNNING
    if gone == "died":
        fake.exit("fake:first.1", 137)
    else:
        fake.forget("fake:first.1")
    (seen,) = compute.observe([answer.ref])
    assert verdict(seen, ever_began=running.began, missing_for=301.0) is Verdict.LOST


def test_what_was_taken_and_then_forgotten_is_not_repeated() -> None:
    mailboxes, fake = Moody(), FakeCompute()
    compute = idle(mailboxes, fake, "first")
    (answer,) = compute.submit([attempt("second")])
    mailboxes.take(SECOND)
    fake.forget("fake:first.1")
    (seen,) = compute.observe([answer.ref])
    assert verdict(seen, missing_for=301.0) is Verdict.GONE


def test_a_successor_hears_the_end_of_what_was_handed_over_from_the_container_that_stays() -> None:
    mailboxes, fake = Moody(), FakeCompute()
    idle(mailboxes, fake, "first").submit([attempt("second")])
    successor = WarmCompute(fake, mailboxes, 120.0)
    assert successor.find(attempt("second")) == ["fake:first.1#2"]
    mailboxes.take(SECOND)
    mailboxes.end(SECOND, Exit.ENDED_BADLY)
    (seen,) = successor.observe(["fake:first.1#2"])
    assert (seen.phase, seen.exit_code) == (Phase.STOPPED, Exit.ENDED_BADLY)
    # Only who started it knows what it is good for.
    assert successor.submit([attempt("third")]) == [Submission(ref="fake:third.1")]


def test_a_successor_repeats_what_was_put_there_and_not_taken() -> None:
    mailboxes, fake = Moody(), FakeCompute()
    idle(mailboxes, fake, "first").submit([attempt("second")])
    successor = WarmCompute(fake, mailboxes, 120.0)
    (answer,) = successor.submit([attempt("second", adopted=True)])
    assert answer.ref == "fake:first.1#2"
    fake.exit("fake:first.1", 137)
    (seen,) = successor.observe([answer.ref])
    assert verdict(seen) is Verdict.LOST


def test_a_workload_that_was_never_put_there_is_not_found_there() -> None:
    mailboxes, fake = Moody(), FakeCompute()
    idle(mailboxes, fake, "first")
    mailboxes.promise("second", SECOND, "fake:first.1#2")
    fake.submit([attempt("second")])
    # Else a revocation of it would stop a container that works for another.
    assert WarmCompute(fake, mailboxes, 120.0).find(attempt("second")) == ["fake:second.1"]


def test_a_container_that_must_have_closed_by_now_costs_no_call() -> None:
    clock, mailboxes, fake = ManualClock(), Moody(), FakeCompute()
    compute = WarmCompute(fake, mailboxes, 120.0, clock=clock)
    compute.submit([attempt("first")])
    fake.run("fake:first.1")
    mailboxes.end(Mailbox("first.1", 1), Exit.DONE)
    compute.observe(["fake:first.1"])
    clock.advance(121)
    assert compute.submit([attempt("second")]) == [Submission(ref="fake:second.1")]
    assert mailboxes.promised("second") is None


def test_ends_are_told_though_nothing_can_be_removed() -> None:
    mailboxes, fake = Moody(), FakeCompute()
    compute = idle(mailboxes, fake, "first", "other")
    (answer,) = compute.submit([attempt("second")])
    container = answer.ref.partition("#")[0]
    (left,) = {"fake:first.1", "fake:other.1"} - {container}
    fake.exit(left, 0)
    assert compute.reread(Observation(left, Phase.STOPPED, True, 0)) is None
    mailboxes.end(Mailbox(container.removeprefix("fake:"), 2), Exit.DONE)
    mailboxes.moods = ["clear"]
    assert [one.ref for one in WarmSource(compute).receive()] == [answer.ref]
