"""Rollouts of services: new, of another version, partial, undone, and those that fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

import skylift.anyscale.submitting as submitting
import skylift.anyscale.wire as wire
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.hook import undo_rollout
from skylift.anyscale.watching import TIMED_OUT, Pace, WatchEnd, watch_service
from skylift.anyscale.workload import ServiceRequest, Workload
from skylift.testing.anyscale import Anyscale

pytestmark = [pytest.mark.local, pytest.mark.timeout(120)]
T = TypeVar("T")


def on(anyscale: Anyscale, work: Callable[[AnyscaleClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with AnyscaleClient(anyscale.url, anyscale.key) as client:
            return await work(client)

    return asyncio.run(run())


def deploy(anyscale: Anyscale, name: str, canary: int | None = None) -> dict[str, Any]:
    serve = {"applications": [{"import_path": "m:app"}]}
    request = ServiceRequest(name, Workload(requirements=("six",)), serve, canary_percent=canary)
    return on(anyscale, lambda client: submitting.deploy(client, request))


def watch(anyscale: Anyscale, record: dict[str, Any], seconds: float = 60.0, *, canary: bool = False) -> WatchEnd:
    pace = Pace(0.1, time.time() + seconds)
    version = (record["canary_version"] or record["primary_version"])["id"]
    return on(anyscale, lambda client: watch_service(client, record["id"], version, canary, pace, lambda _: None))


def state(anyscale: Anyscale, name: str) -> str:
    found = on(anyscale, lambda client: submitting.find_service(client, name))
    assert found is not None
    return str(found["current_state"])


def test_a_service_and_its_next_version_serve(anyscale: Anyscale) -> None:
    first = deploy(anyscale, "web")
    assert first["current_state"] == "STARTING"
    assert watch(anyscale, first).state == "RUNNING"
    second = deploy(anyscale, "web")
    assert second["id"] == first["id"]
    assert second["current_state"] == "ROLLING_OUT"
    assert watch(anyscale, second).state == "RUNNING"


def test_a_partial_rollout_is_over_when_its_version_serves(anyscale: Anyscale) -> None:
    watch(anyscale, deploy(anyscale, "canary"))
    part = deploy(anyscale, "canary", canary=10)
    assert watch(anyscale, part, canary=True).state == "RUNNING"
    assert state(anyscale, "canary") == "ROLLING_OUT", "the other nine tenths still go to the old version"
    assert watch(anyscale, part, seconds=0.5).state == TIMED_OUT
    on(anyscale, lambda client: client.post(f"{wire.service(part['id'])}/rollback", "a test", {}))
    back = {**part, "canary_version": None}
    assert watch(anyscale, back).state == "RUNNING"


@pytest.mark.parametrize("bad", ["SYSTEM_FAILURE", "USER_ERROR_FAILURE", "TERMINATED"])
def test_a_rollout_that_fails_says_why(anyscale: Anyscale, bad: str) -> None:
    record = deploy(anyscale, bad.lower())
    anyscale.set_service(bad.lower(), bad, "module m has no app")
    assert watch(anyscale, record) == WatchEnd(bad, "module m has no app")


def test_unhealthy_is_usual_while_a_rollout_is_under_way(anyscale: Anyscale) -> None:
    record = deploy(anyscale, "sick")
    anyscale.set_service("sick", "UNHEALTHY")
    assert watch(anyscale, record, seconds=0.5).state == TIMED_OUT
    anyscale.set_service("sick", "RUNNING")
    assert watch(anyscale, record).state == "RUNNING"


@pytest.mark.parametrize(("was_there", "left"), [(False, "TERMINATED"), (True, "RUNNING")])
def test_a_killed_rollout_is_undone(anyscale: Anyscale, was_there: bool, left: str) -> None:
    name = f"undone-{was_there}".lower()
    if was_there:
        watch(anyscale, deploy(anyscale, name))
    record = deploy(anyscale, name, canary=10)
    on(anyscale, lambda client: undo_rollout(client, record["id"], was_there=was_there))
    deadline = time.monotonic() + 60
    while (found := state(anyscale, name)) != left:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
