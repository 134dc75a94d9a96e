"""When state is saved, and what is changed by which request."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from skylift.core.clock import ManualClock
from skylift.localcloud.emulators.changes import action_of, promised, touched
from skylift.localcloud.emulators.saver import COST_FACTOR, DELAY_SECONDS, RETRY_SECONDS, Saver
from skylift.localcloud.emulators.table import Scope, scope_of

pytestmark = pytest.mark.unit


class Memory:
    """States that cost what a test says."""

    def __init__(self, clock: ManualClock, cost: float = 0.0) -> None:
        self.state: dict[str, Any] = {"a": 1, "b": 1}
        self.taken: list[str] = []
        self.disk: dict[str, Any] = {}
        self._clock = clock
        self._cost = cost

    def keys(self) -> Iterable[str]:
        return list(self.state)

    def snapshot(self, key: str) -> Any:
        self.taken.append(key)
        self._clock.advance(self._cost)
        return self.state.get(key)

    def encode(self, key: str, snapshot: Any) -> bytes:
        return json.dumps(snapshot).encode()

    def written(self, key: str) -> None:
        self.disk[key] = self.state[key]

    def roll_back(self, key: str) -> None:
        self.state[key] = self.disk.get(key, 1)


def test_a_burst_of_changes_is_one_write_soon_after(tmp_path: Path) -> None:
    async def check() -> None:
        clock = ManualClock()
        memory = Memory(clock)
        saver = Saver(tmp_path, memory, clock)
        for number in range(5):
            memory.state["a"] = number
            saver.touch("a")
        await saver.save_due()
        assert memory.taken == []
        clock.advance(DELAY_SECONDS)
        await saver.save_due()
        await saver.save_due()
        assert memory.taken == ["a"]
        assert (tmp_path / "a.json").read_text() == "4"
        assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o600
        assert not (tmp_path / "b.json").exists()

    asyncio.run(check())


def test_states_are_written_before_the_answer_and_one_write_serves_many(tmp_path: Path) -> None:
    async def check() -> None:
        clock = ManualClock()
        memory = Memory(clock)
        saver = Saver(tmp_path, memory, clock)

        async def change(number: int) -> None:
            memory.state["a"] = max(number, memory.state["a"])
            await saver.keep("a")
            assert json.loads((tmp_path / "a.json").read_text()) >= number

        await asyncio.gather(*(change(number) for number in range(100)))
        assert len(memory.taken) <= 2
        for letter in "xy":
            memory.state["a"] = letter * 1_000_000
            await saver.keep("a")
            assert (tmp_path / "a.json").read_text() == json.dumps(memory.state["a"]), "however large"

    asyncio.run(check())


def test_a_change_that_cannot_be_written_is_not_acknowledged(tmp_path: Path) -> None:
    async def check() -> None:
        clock = ManualClock()
        memory = Memory(clock)
        blocked = tmp_path / "blocked"
        blocked.write_text("a file where a folder should be")
        saver = Saver(blocked / "below", memory, clock)
        memory.state["a"] = 2
        with pytest.raises(OSError, match="blocked"):
            await saver.keep("a")
        assert memory.state["a"] == 1, "what is in memory is what is on the disk"
        blocked.unlink()
        memory.state["a"] = 3
        await saver.keep("a")
        assert (blocked / "below" / "a.json").read_text() == "3"

    asyncio.run(check())


def test_whoever_changed_it_while_the_write_failed_is_told_too(tmp_path: Path) -> None:
    async def check() -> None:
        clock, changed = ManualClock(), asyncio.Event()
        memory = Memory(clock)
        saver = Saver(tmp_path, memory, clock)
        loop = asyncio.get_running_loop()

        def encode(_key: str, _snapshot: Any) -> bytes:
            loop.call_soon_threadsafe(changed.set)
            with (tmp_path / "begun").open() as begun:  # a pipe: until the second has changed it as well
                begun.read()
            raise OSError("full")

        os.mkfifo(tmp_path / "begun")
        memory.encode = encode  # type: ignore[method-assign]  # its own disk, which is full

        async def second() -> None:
            await changed.wait()
            memory.state["a"] = 3
            keeping = asyncio.create_task(saver.keep("a"))
            await asyncio.sleep(0)
            await asyncio.to_thread((tmp_path / "begun").write_text, "go on")
            await keeping

        memory.state["a"] = 2
        results = await asyncio.gather(saver.keep("a"), second(), return_exceptions=True)
        assert [str(one) for one in results] == ["full", "full"]
        assert memory.state["a"] == 1

    asyncio.run(check())


def test_several_are_written_all_or_none(tmp_path: Path) -> None:
    async def check() -> None:
        memory = Memory(ManualClock())
        saver = Saver(tmp_path, memory, ManualClock())
        await saver.keep("a", "b")
        memory.state |= {"a": 2, "b": object()}
        with pytest.raises(TypeError):
            await saver.keep("a", "b")
        assert memory.state == {"a": 1, "b": 1}
        assert (tmp_path / "a.json").read_text() == "1", "the one that could have been written was not"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]

    asyncio.run(check())


def test_what_is_slow_to_copy_is_saved_seldom(tmp_path: Path) -> None:
    async def check() -> None:
        clock = ManualClock()
        memory = Memory(clock, cost=1.0)
        saver = Saver(tmp_path, memory, clock)
        saver.touch("a")
        clock.advance(DELAY_SECONDS)
        await saver.save_due()
        saver.touch("a")
        clock.advance(COST_FACTOR - 1)
        await saver.save_due()
        assert memory.taken == ["a"]
        clock.advance(1)
        await saver.save_due()
        assert memory.taken == ["a", "a"]

    asyncio.run(check())


def test_what_cannot_be_written_is_tried_again_and_told_at_the_end(tmp_path: Path) -> None:
    async def check() -> None:
        clock = ManualClock()
        memory, blocked = Memory(clock), tmp_path / "a.json"
        blocked.mkdir()
        (blocked / "x").touch()
        saver = Saver(tmp_path, memory, clock)
        saver.touch("a")
        clock.advance(DELAY_SECONDS)
        await saver.save_due()
        with pytest.raises(OSError):  # noqa: PT011  # whichever the file system says
            await saver.save_all()
        (blocked / "x").unlink()
        blocked.rmdir()
        clock.advance(RETRY_SECONDS)
        saver.touch("a")
        clock.advance(RETRY_SECONDS)
        await saver.save_due()
        assert blocked.read_text() == "1"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"], (
            "one that fails holds no other up"
        )

    asyncio.run(check())


def test_a_state_that_cannot_be_encoded_does_not_end_the_others_saves(tmp_path: Path) -> None:
    async def check() -> None:
        clock = ManualClock()
        memory = Memory(clock)
        memory.state = {"a": object(), "b": 1}
        saver = Saver(tmp_path, memory, clock)
        waiting = asyncio.create_task(saver.saved("a"))
        await asyncio.sleep(0)
        saver.touch("b")
        clock.advance(DELAY_SECONDS)
        await saver.save_due()
        assert (tmp_path / "b.json").read_text() == "1"
        memory.state["b"] = 2
        with pytest.raises(TypeError):
            await saver.save_all()
        assert (tmp_path / "b.json").read_text() == "2"
        assert not waiting.done()
        memory.state["a"] = 3
        clock.advance(RETRY_SECONDS)
        await saver.save_due()
        await waiting
        assert (tmp_path / "a.json").read_text() == "3"

    asyncio.run(check())


@pytest.mark.parametrize(
    ("module", "method", "path", "action", "size", "expected"),
    [
        ("secretsmanager", "POST", "/", "CreateSecret", 10, ("secretsmanager",)),
        ("secretsmanager", "POST", "/", "GetSecretValue", 10, ()),
        ("sqs", "POST", "/", "ReceiveMessage", 2, ()),
        ("sqs", "POST", "/", "ReceiveMessage", 900, ("sqs",)),
        ("sts", "POST", "/", "GetSessionToken", 900, ("sts",)),
        ("s3", "GET", "/bucket", "", 10, ()),
        ("s3", "PUT", "/bucket", "", 10, ("s3", "sqs", "sns")),
        ("s3", "PUT", "/bucket/key", "", 10, ("sqs", "sns")),
        ("cloudformation", "POST", "/", "CreateStack", 10, ("cloudformation", "*")),
    ],
)
def test_which_request_changes_what(
    module: str, method: str, path: str, action: str, size: int, expected: tuple[str, ...]
) -> None:
    assert touched(module, method, path, action, size) == expected


def test_what_is_promised() -> None:
    assert promised("sqs", "SendMessage", ["sqs"]) == ["sqs"]
    assert promised("sqs", "ReceiveMessage", ["sqs"]) == []
    assert promised("s3", "", ["s3", "sqs", "sns"]) == ["s3"]
    assert promised("eventbridge", "PutEvents", ["eventbridge", "sqs"]) == ["eventbridge", "sqs"]


def test_the_operation_of_a_request_in_each_protocol() -> None:
    assert action_of("/", {"x-amz-target": "Logs_20140328.PutLogEvents"}, b"", {}) == "PutLogEvents"
    assert action_of("/", {}, b"Action=CreateVpc&Version=1", {}) == "CreateVpc"
    assert action_of("/", {}, b"Version=1&Action=CreateVpc", {}) == "CreateVpc"
    assert action_of("/", {}, b"", {"Action": ["ListQueues"]}) == "ListQueues"
    assert action_of("/service/GraniteServiceVersion20100801/operation/PutMetricData", {}, b"", {}) == "PutMetricData"
    assert action_of("/bucket/key", {}, b"no Action=Here", {}) == ""


def test_the_scope_of_a_signature_in_header_and_address() -> None:
    credential = "AKIA1/20261120/eu-west-1/sqs/aws4_request"
    header = [(b"Authorization", f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host".encode())]
    assert scope_of(header, b"") == Scope("AKIA1", "eu-west-1", "sqs")
    assert scope_of([], f"X-Amz-Credential={credential.replace('/', '%2F')}".encode()) == Scope(
        "AKIA1", "eu-west-1", "sqs"
    )
    assert scope_of([(b"authorization", b"Basic eDp5")], b"a=b") == Scope()
