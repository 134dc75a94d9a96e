"""The outbox on a fake bus: order, delivery again after a crash, nothing while there are no rules; and the lazy
history."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from skylift.core.clock import ManualClock
from skylift.localcloud.ecs.model.lazy import LazyMapping
from skylift.localcloud.events import INSERT, OUTBOX, EventDelivery, Events
from skylift.localcloud.ports import CloudContext

pytestmark = pytest.mark.unit

SERVICE = {"clusterArn": "c", "serviceArn": "s"}


class Bus:
    def __init__(self) -> None:
        self.listening = True
        self.got: list[dict[str, Any]] = []
        self.on_disk = asyncio.Event()

    def wanted(self) -> bool:
        return self.listening

    def put(self, event: dict[str, Any]) -> None:
        self.got.append(event)

    async def kept(self) -> None:
        await self.on_disk.wait()


class Outbox:
    """Both sides of it: those who make events, and the delivery."""

    def __init__(self, folder: Path, bus: Bus) -> None:
        self.events = Events(CloudContext("0" * 12, "us-east-1", "http://x", folder), bus, ManualClock())
        self.delivery = EventDelivery(folder / "db", self.events, bus)


def write(folder: Path, texts: list[str]) -> None:
    disk = sqlite3.connect(folder / "db")
    disk.execute(OUTBOX)
    disk.executemany(INSERT, [(text,) for text in texts])
    disk.commit()
    disk.close()


def left(folder: Path) -> int:
    disk = sqlite3.connect(folder / "db")
    (count,) = disk.execute("SELECT count(*) FROM outbox").fetchone()
    disk.close()
    return int(count)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def test_in_order_and_removed_only_when_kept(tmp_path: Path) -> None:
    async def play() -> None:
        bus = Bus()
        outbox = Outbox(tmp_path, bus)
        await outbox.delivery.start()
        texts = [text for n in range(5) for text in outbox.events.of_service(SERVICE, f"E{n}")]
        write(tmp_path, texts)
        outbox.events.ring()
        await until(lambda: len(bus.got) == 5)
        assert [event["detail"]["eventName"] for event in bus.got] == [f"E{n}" for n in range(5)]
        assert left(tmp_path) == 5
        bus.on_disk.set()
        await until(lambda: left(tmp_path) == 0)
        await outbox.delivery.close()
        assert len(bus.got) == 5

    asyncio.run(play())


def test_an_event_does_not_wait_for_the_disk_of_those_before_it(tmp_path: Path) -> None:
    async def play() -> None:
        bus = Bus()
        outbox = Outbox(tmp_path, bus)
        await outbox.delivery.start()
        for count in (1, 2, 3):
            write(tmp_path, outbox.events.of_service(SERVICE, f"E{count}"))
            outbox.events.ring()
            await until(lambda count=count: len(bus.got) == count)
        assert left(tmp_path) == 3
        bus.on_disk.set()
        await until(lambda: left(tmp_path) == 0)
        await outbox.delivery.close()
        assert len(bus.got) == 3

    asyncio.run(play())


def test_what_was_not_kept_comes_again_after_a_crash(tmp_path: Path) -> None:
    async def play() -> None:
        bus = Bus()
        first = Outbox(tmp_path, bus)
        await first.delivery.start()
        write(tmp_path, first.events.of_service(SERVICE, "E"))
        first.events.ring()
        await until(lambda: len(bus.got) == 1)
        for task in asyncio.all_tasks():
            if task.get_name() == "events":
                task.cancel()
        bus.on_disk.set()
        second = Outbox(tmp_path, bus)
        await second.delivery.start()
        await until(lambda: len(bus.got) == 2)
        assert bus.got[0]["id"] == bus.got[1]["id"]
        await until(lambda: left(tmp_path) == 0)
        await second.delivery.close()

    asyncio.run(play())


def test_nobody_listens(tmp_path: Path) -> None:
    async def play() -> None:
        bus = Bus()
        bus.listening = False
        outbox = Outbox(tmp_path, bus)
        assert outbox.events.of_service(SERVICE, "E") == []
        assert outbox.events.of_batch_job({"jobArn": "a"}) == []

    asyncio.run(play())


def test_a_value_is_parsed_once_and_only_when_it_is_needed() -> None:
    parsed: list[str] = []

    def parse(text: str) -> Any:
        parsed.append(text)
        return json.loads(text)

    mapping: LazyMapping[Any] = LazyMapping(parse)
    mapping.put_text("a", "[1]")
    mapping["b"] = [2]
    mapping.put_text("c", "[3]")
    assert (list(mapping), list(reversed(mapping)), len(mapping), "a" in mapping) == (
        ["a", "b", "c"],
        ["c", "b", "a"],
        3,
        True,
    )
    assert parsed == []
    assert mapping["a"] is mapping["a"]
    mapping["c"] = [4]
    assert list(mapping.values()) == [[1], [2], [4]]
    assert parsed == ["[1]"]
    del mapping["a"]
    assert mapping.get("a") is None
