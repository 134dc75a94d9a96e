"""What each lock protects, with threads: the protected step is slow here, so that without the lock two threads would
overlap."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.executors.test_executor_reason import instance

from skylift.aws.output import LogReader, Stream
from skylift.aws.secrets import Secret
from skylift.control.postgres import PostgresAdmin
from skylift.core.attempt import Attempt, Exit
from skylift.executors.batch_arrays import Arrays
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.in_container.mailboxes import FakeMailboxes, Mailbox
from skylift.executors.in_container.warm import WarmCompute
from skylift.executors.last_words.live_log import StatusCache
from skylift.localcloud.ecs.tasks.start_limit import StartLimiter
from skylift.localcloud.postgres.server import Postgres as Server

pytestmark = pytest.mark.unit
MOMENT = 0.2
PATIENCE = 60.0


class Alone:
    """A place that takes a moment, and knows how many were in it at once, and how often somebody was."""

    def __init__(self) -> None:
        self.most = self.visits = 0
        self._inside: list[int] = []

    def visit(self) -> None:
        self.visits += 1
        self._inside.append(1)
        self.most = max(self.most, len(self._inside))
        time.sleep(MOMENT)
        self._inside.pop()


def at_once(*deeds: Callable[[], Any]) -> list[Any]:
    """Does all of them at the same time, each in a thread of its own; what they returned."""
    gate = threading.Barrier(len(deeds), timeout=PATIENCE)
    results: dict[int, Any] = {}

    def do(number: int) -> None:
        gate.wait()
        results[number] = deeds[number]()

    threads = [threading.Thread(target=do, args=(number,)) for number in range(len(deeds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(results) == len(deeds), "one of them raised, or hangs"
    return [results[number] for number in range(len(deeds))]


def test_an_output_makes_one_client_a_time_because_boto3s_sessions_are_not_thread_safe() -> None:
    place = Alone()

    class Session:
        def client(self, service: str, region_name: str, config: Any) -> Any:
            place.visit()
            return Client()

    class Client:
        def get_log_events(self, **request: Any) -> dict[str, Any]:
            return {"events": [{"message": "said\n"}], "nextForwardToken": "f"}

    output = LogReader(Session())
    streams = [Stream("g", "s", region) for region in ("us-east-1", "us-east-1", "eu-west-1")]
    assert at_once(*(lambda one=one: output.last(one, 5) for one in streams)) == [("said",)] * 3
    assert (place.most, place.visits) == (1, 2), "one client for each region"


def test_the_secret_with_postgresqls_address_is_read_once_for_all_threads() -> None:
    place = Alone()

    class Secrets:
        def read(self, name: str) -> Secret:
            place.visit()
            return Secret("arn", "1", {"host": "h", "port": "5432", "username": "u", "password": "p"})

    postgres = PostgresAdmin(Secrets(), "name")  # type: ignore[arg-type]
    found = at_once(*[postgres.server] * 4)
    assert {(one.host, one.port) for one in found} == {("h", 5432)}
    assert place.visits == 1


def test_two_who_look_at_one_task_instance_ask_the_service_once() -> None:
    place = Alone()

    class Compute(FakeCompute):
        def find(self, attempt: Attempt) -> list[str]:
            place.visit()
            return super().find(attempt)

    compute = Compute()
    glances = StatusCache(streams=lambda: True)
    said = at_once(*[lambda: glances.look(lambda: compute, instance(), 1)] * 3)
    assert said == [(["No container of it is known (yet, or any more)."], [])] * 3
    assert place.visits == 1


class Named(str):
    """A name that takes a moment to be looked up in a dict."""

    place: Alone

    def __hash__(self) -> int:
        self.place.visit()
        return super().__hash__()


def slowly(name: str, place: Alone) -> str:
    made = Named(name)
    made.place = place
    return made


def test_what_was_seen_of_task_instances_is_kept_by_one_thread_at_a_time() -> None:
    place, compute = Alone(), FakeCompute()
    glances = StatusCache(streams=lambda: True)
    seen = [instance(external_executor_id=slowly(f"id-{number}", place)) for number in range(3)]
    at_once(*(lambda ti=ti: glances.look(lambda: compute, ti, 1) for ti in seen))
    assert place.most == 1
    assert place.visits >= 3


def test_one_idle_container_is_handed_to_one_of_two() -> None:
    """The clock is asked between the look at who is idle and the choice."""

    def slow() -> float:
        time.sleep(MOMENT)
        return time.monotonic()

    mailboxes, fake = FakeMailboxes(), FakeCompute()
    compute = WarmCompute(fake, mailboxes, 120.0, clock=slow)

    def attempt(name: str) -> Attempt:
        return Attempt(name, 1, lambda: json.dumps({"name": name}))

    (first,) = compute.submit([attempt("first")])
    fake.run(first.ref)
    mailboxes.end(Mailbox("first.1", 1), Exit.DONE)
    compute.observe([first.ref])
    answers = at_once(*(lambda name=name: compute.submit([attempt(name)])[0].ref for name in ("second", "third")))
    assert sorted(answer.partition("#")[2] for answer in answers) == ["", "2"]
    assert len(fake.alive()) == 2


def test_the_lists_of_arrays_are_read_by_one_thread_for_all() -> None:
    place = Alone()

    class Payloads:
        def arrays(self) -> Sequence[str]:
            place.visit()
            return ["a1"]

        def array(self, name: str) -> tuple[str, ...]:
            return ("e.1", "other.1")

    class Jobs:
        def newest(self, queue: str, name: str) -> str:
            return "job"

    arrays = Arrays(Payloads(), Jobs())  # type: ignore[arg-type]
    found = at_once(*[lambda: arrays.search(["q"], "e")] * 3)
    assert found == [[("e.1", "job:0")]] * 3, "each array is in the index once"
    assert place.visits == 1


def test_one_thread_at_a_time_starts_or_stops_postgresql(tmp_path: Path) -> None:
    place, server = Alone(), Server(tmp_path)

    def start() -> None:
        with server._locked():
            place.visit()

    at_once(*[start] * 3)
    assert (place.most, place.visits) == (1, 3)


def test_who_comes_as_a_processor_comes_free_does_not_overtake_those_who_wait() -> None:
    async def scenario() -> None:
        busy, gone = 4, list[str]()
        start_limiter = StartLimiter(4, lambda: busy, seconds=PATIENCE)

        async def go(name: str) -> None:
            await start_limiter.through()
            gone.append(name)

        waiting = [asyncio.create_task(go("first")), asyncio.create_task(go("second"))]
        await asyncio.sleep(0.1)
        busy = 3
        waiting.append(asyncio.create_task(go("late")))
        while not gone:
            await asyncio.sleep(0)
        busy = 0
        await asyncio.gather(*waiting)
        assert gone == ["first", "second", "late"]

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))
