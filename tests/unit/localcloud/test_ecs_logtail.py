"""How the awslogs driver reads logs: lines are complete, in order, and none is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from skylift.core.clock import ManualClock
from skylift.localcloud.containers.log_tail import LONGEST_LINE, TALKING, LogTails

pytestmark = pytest.mark.unit


class Sink:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.offset = 0
        self.batches: list[int] = []

    async def __call__(self, events: Sequence[dict[str, Any]], offset: int) -> None:
        assert len(events) <= 10_000
        assert sum(len(event["message"].encode()) + 26 for event in events) <= 1_048_576
        self.lines += [event["message"] for event in events]
        self.batches.append(len(events))
        self.offset = offset


async def until(sink: Sink, lines: list[str], seconds: float = 3) -> None:
    deadline = time.monotonic() + seconds
    while sink.lines != lines:
        assert time.monotonic() < deadline, sink.lines
        await asyncio.sleep(0.01)


def test_lines_go_out_within_a_second_and_a_half_line_waits(tmp_path: Path) -> None:
    async def scenario() -> None:
        tails, sink, path = LogTails(ManualClock()), Sink(), tmp_path / "log"
        tail = tails.follow(path, sink)
        with path.open("a", buffering=1) as log:
            log.write("one\ntw")
            await until(sink, ["one"], seconds=1)
            await asyncio.sleep(0)
            log.write("o\n\nthree\r\nend")
            await until(sink, ["one", "two", "three"], seconds=1)
        await tails.finish(tail)
        assert sink.lines == ["one", "two", "three", "end"]
        assert sink.offset == path.stat().st_size
        await tails.close()

    asyncio.run(scenario())


def test_a_container_that_talks_all_the_time_is_heard_now_and_then(tmp_path: Path) -> None:
    async def scenario() -> None:
        tails, sink, path = LogTails(ManualClock()), Sink(), tmp_path / "log"
        tail = tails.follow(path, sink)
        began, written = time.monotonic(), 0
        with path.open("a", buffering=1) as log:
            while time.monotonic() - began < 2.0:
                log.write(f"{written}\n")
                written += 1
                await asyncio.sleep(0.02)
        batches = len(sink.batches)
        await tails.finish(tail)
        assert sink.lines == [str(number) for number in range(written)]
        assert 1 <= batches <= 2 / TALKING + 1
        await tails.close()

    asyncio.run(scenario())


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "log"
        path.write_text("sent before\nnew\n")
        tails, sink = LogTails(ManualClock()), Sink()
        tail = tails.follow(path, sink, offset=len("sent before\n"))
        await tails.finish(tail)
        assert sink.lines == ["new"]
        await tails.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ["short\n" * 25_000, "x" * (3 * LONGEST_LINE) + "\nnext\n"], ids=["lines", "a line"])
def test_much_at_once(tmp_path: Path, text: str) -> None:
    async def scenario() -> None:
        path = tmp_path / "log"
        path.write_text(text)
        tails, sink = LogTails(ManualClock()), Sink()
        await tails.finish(tails.follow(path, sink))
        assert sink.offset == len(text.encode())
        if text.startswith("short"):
            assert sink.lines == ["short"] * 25_000
        if text.startswith("x"):
            assert "".join(sink.lines[:-1]) == "x" * (3 * LONGEST_LINE)
            assert sink.lines[-1] == "next"
        await tails.close()

    asyncio.run(scenario())
