"""Who may enter a container with ECS Exec, and what is answered otherwise: as an operation of ECS, and as the owner's
own route. The conversation itself is in tests/local."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.localcloud.test_ecs_engine import ME, NETWORK, World, definition, played, until

from skylift.localcloud.ecs.api.execute import ExecRoute
from skylift.localcloud.ecs.api.sessions import LONGEST_FRAME, ROUTE, SESSION_SECONDS, frame, frames
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit
INVALID, GONE = "InvalidParameterException", "TargetNotConnectedException"


async def running(world: World, *, names: tuple[str, ...] = ("c",), enabled: bool = True) -> str:
    """The ARN of an ECS task that runs."""
    request = definition()
    request["containerDefinitions"] = [{"name": name, "image": "i", "command": ["run"]} for name in names]
    world.ecs.register_task_definition(ME, request)
    asked = {"taskDefinition": "f", "networkConfiguration": NETWORK, "enableExecuteCommand": enabled}
    arn = str(world.ecs.run_task(ME, asked)["tasks"][0]["taskArn"])
    await until(lambda: world.task(arn)["lastStatus"] == "RUNNING")
    return arn


def told(folder: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    played(folder, scenario)


def refusal(world: World, arn: str, **members: Any) -> tuple[str, str]:
    with pytest.raises(AwsError) as refused:
        world.ecs.execute_command(ME, {"task": arn, "command": "sh", "interactive": True, **members})
    return refused.value.code, refused.value.message


def test_a_session_is_opened_in_the_only_container_or_in_the_one_that_is_named(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arn = await running(world)
        answer = world.ecs.execute_command(ME, {"task": arn, "command": "sh -c 'echo hi'", "interactive": True})
        session = answer.pop("session")
        (container,) = world.task(arn)["containers"]
        assert answer == {
            "clusterArn": world.task(arn)["clusterArn"],
            "containerArn": container["containerArn"],
            "containerName": "c",
            "interactive": True,
            "taskArn": arn,
        }
        assert {*session} == {"sessionId", "streamUrl", "tokenValue"}
        assert session["sessionId"].startswith("ecs-execute-command-")
        assert session["streamUrl"] == f"http://127.0.0.1:1{ROUTE}/{session['sessionId']}"
        assert ROUTE == "/_skylift/session"
        two = await running(world, names=("a", "b"))
        named = world.ecs.execute_command(ME, {"task": two, "container": "b", "command": "sh", "interactive": True})
        assert named["containerName"] == "b"
        assert refusal(world, two) == (
            INVALID,
            "Container name must be specified for tasks with more than one container.",
        )
        assert refusal(world, two, container="x") == (INVALID, "The specified container was not found in the task.")

    told(tmp_path, scenario)


def test_it_is_refused_with_ecss_words(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arn = await running(world)
        assert refusal(world, arn, interactive=False) == (INVALID, "Interactive is the only mode supported currently.")
        assert refusal(world, arn[:-3] + "000") == (INVALID, "The specified task was not found.")
        world.ecs.create_cluster(ME, {"clusterName": "other"})
        assert refusal(world, arn, cluster="other") == (INVALID, "The specified task was not found.")
        assert refusal(world, arn, command=" ") == (INVALID, "The command must not be empty.")
        assert refusal(world, arn, command="'")[1].startswith("The command cannot be read: ")
        code, text = refusal(world, await running(world, enabled=False))
        assert code == INVALID
        assert "execute command was not enabled" in text
        world.ecs.stop_task(ME, {"task": arn})
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        assert refusal(world, arn)[0] == GONE

    told(tmp_path, scenario)


async def asked(world: World, body: bytes) -> tuple[int, dict[str, Any]]:
    """The owner's route: status and JSON."""
    sent: list[dict[str, Any]] = []
    received = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        return next(received)

    async def send(message: Any) -> None:
        sent.append(message)

    await ExecRoute(world.ecs)({"type": "http"}, receive, send)  # type: ignore[arg-type]
    assert (b"content-type", b"application/json") in sent[0]["headers"]
    return sent[0]["status"], json.loads(b"".join(one.get("body", b"") for one in sent[1:]))


def test_the_owner_enters_whatever_runs(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arn = await running(world, enabled=False)
        for task in (arn, arn.rpartition("/")[2]):
            status, session = await asked(world, json.dumps({"task": task, "command": ["sh"]}).encode())
            assert (status, {*session}) == (200, {"sessionId", "streamUrl", "tokenValue"})
        status, session = await asked(world, json.dumps({"task": arn, "container": "c", "command": ["a b"]}).encode())
        assert status == 200
        for body, said in (
            ({"task": "x", "command": ["sh"]}, "There is no such ECS task."),
            ({"task": arn, "command": []}, "The command must not be empty."),
            ({"task": arn, "container": "x", "command": ["sh"]}, "The specified container was not found in the task."),
        ):
            assert await asked(world, json.dumps(body).encode()) == (400, {"message": said})

    told(tmp_path, scenario)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"task": "x"}',
        b'{"task": "x", "command": "sh"}',
        b'{"task": "x", "command": [1]}',
        b'{"task": "x", "container": 1, "command": ["sh"]}',
        b"[" * 100_000,
    ],
)
def test_another_body_is_refused_with_what_it_must_be(tmp_path: Path, body: bytes) -> None:
    async def scenario(world: World) -> None:
        said = 'the body must be JSON: {"task": ..., "container": ..., "command": [...]}'
        assert await asked(world, body) == (400, {"message": said})

    told(tmp_path, scenario)


def test_a_session_waits_for_ten_minutes_for_whoever_has_its_token(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arn = await running(world)
        sessions = world.ecs.sessions

        def opened() -> dict[str, str]:
            request = {"task": arn, "command": "sh", "interactive": True}
            return dict(world.ecs.execute_command(ME, request)["session"])

        async def served(session: dict[str, str], token: str) -> int:
            sent: list[dict[str, Any]] = []

            async def send(message: Any) -> None:
                sent.append(message)

            async def receive() -> Any:
                return {"type": "http.disconnect"}

            path = f"{ROUTE}/{session['sessionId']}"
            headers = [(b"authorization", token.encode())]
            await sessions.serve({"path": path, "headers": headers, "query_string": b""}, receive, send)  # type: ignore[arg-type]
            return int(sent[0]["status"])

        first = opened()
        assert await served(first, "another") == 403
        assert await served({"sessionId": "none"}, first["tokenValue"]) == 403
        old = opened()
        world.clock.advance(SESSION_SECONDS + 1)
        opened()
        assert SESSION_SECONDS == 600
        assert await served(old, old["tokenValue"]) == 403, "too late"

    told(tmp_path, scenario)


def test_frames_come_whole_or_not_yet() -> None:
    buffer = bytearray(frame("i", b"one") + frame("x", b"") + frame("i", b"three")[:-1])
    assert list(frames(buffer)) == [("i", b"one"), ("x", b"")]
    assert bytes(buffer) == frame("i", b"three")[:-1]
    buffer += b"e"
    assert list(frames(buffer)) == [("i", b"three")]
    assert not buffer
    assert list(frames(bytearray(b"i\0\0\0"))) == []
    longest = frame("i", b"x" * LONGEST_FRAME)
    assert [kind for kind, _ in frames(bytearray(longest))] == ["i"]
    assert list(frames(bytearray(b"i" + (LONGEST_FRAME + 1).to_bytes(4, "big")))) == [("!", b"")]
