"""ExecuteCommand and the protocol of ``skylift exec``: a program in a running container, through pipes and through a
terminal."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.ecs_cloud import definition, run, until

from skylift.localcloud.containers.program import InteractiveProgram, Program

pytestmark = pytest.mark.local

TALK = "import sys; from skylift.cli.shell import talk; sys.exit(talk(sys.argv[1], sys.argv[2]))"


@pytest.fixture(scope="module")
def arn(ecs: Any) -> str:
    environment = [{"name": "COLOUR", "value": "blue"}]
    found = run(ecs, definition("sleep", "300", environment=environment), enableExecuteCommand=True)
    until(ecs, found, "RUNNING")
    return found


def test_a_client_that_leaves_at_once_leaves_no_shell(tmp_path: Path) -> None:
    """Before ``login.py`` has made its session, there is no process group to kill."""

    async def scenario() -> int:
        environment = {"PATH": "/usr/bin:/bin"}
        program = await InteractiveProgram.begin(Program(("/bin/sleep", "300"), environment, tmp_path), terminal=True)
        return await asyncio.wait_for(program.close(), 10)

    assert asyncio.run(scenario()) == 137


def test_a_command_that_no_shell_can_read_is_refused(ecs: Any, arn: str) -> None:
    with pytest.raises(ClientError, match="No closing quotation") as caught:
        ecs.execute_command(task=arn, command="sh -c 'oops", interactive=True)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterException"


def session(ecs: Any, arn: str, command: str) -> list[str]:
    answer = ecs.execute_command(task=arn, command=command, interactive=True, container="main")
    assert answer["session"]["sessionId"].startswith("ecs-execute-command-")
    assert (answer["taskArn"], answer["containerName"], answer["interactive"]) == (arn, "main", True)
    return [sys.executable, "-c", TALK, answer["session"]["streamUrl"], answer["session"]["tokenValue"]]


def test_pipes_carry_input_output_errors_and_the_exit_code(ecs: Any, arn: str) -> None:
    words = session(ecs, arn, "sh -c 'cat; echo $COLOUR; pwd; echo oops >&2; exit 7'")
    done = subprocess.run(words, input=b"typed\n" * 1000, capture_output=True, timeout=30, check=False)
    lines = done.stdout.decode().splitlines()
    assert lines[:1000] == ["typed"] * 1000
    assert lines[1000] == "blue"
    assert lines[1001].endswith("/work")
    assert (done.stderr, done.returncode) == (b"oops\n", 7)


def test_much_output_arrives_whole(ecs: Any, arn: str) -> None:
    words = session(ecs, arn, "head -c 3000000 /dev/zero")
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
    assert (len(done.stdout), done.returncode) == (3_000_000, 0)


def test_a_terminal_is_one_there_too(ecs: Any, arn: str) -> None:
    master, slave = os.openpty()
    client = subprocess.Popen(session(ecs, arn, "sh"), stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    read_until(master, b" ")  # the prompt
    os.write(master, b"tty && stty size && echo $((40+2))\n")
    shown = read_until(master, b"42")
    assert b"/dev/pts/" in shown
    os.write(master, b"sleep 100\n")
    time.sleep(0.3)
    os.write(master, b"\x03")  # Ctrl-C goes to what runs there
    os.write(master, b"exit 9\n")
    try:
        assert client.wait(20) == 9
    finally:
        client.kill()
        os.close(master)


def test_a_session_is_for_once_and_needs_its_token(ecs: Any, arn: str) -> None:
    words = session(ecs, arn, "true")
    wrong = subprocess.run([*words[:-1], "no"], capture_output=True, timeout=30, check=False)
    assert b"the session is gone" in wrong.stderr
    assert subprocess.run(words, stdin=subprocess.DEVNULL, timeout=30, check=False).returncode == 0
    again = subprocess.run(words, capture_output=True, timeout=30, check=False)
    assert b"the session is gone" in again.stderr


def test_it_ends_with_its_container_and_with_its_client(ecs: Any) -> None:
    arn = run(ecs, definition("sleep", "300"), enableExecuteCommand=True)
    until(ecs, arn, "RUNNING")
    left = subprocess.Popen(session(ecs, arn, "sleep 4711"), stdin=subprocess.PIPE)
    running_until("sleep\x004711", there=True)
    left.kill()
    left.wait()
    running_until("sleep\x004711", there=False)
    client = subprocess.Popen(session(ecs, arn, "sleep 4712"), stdin=subprocess.PIPE)
    running_until("sleep\x004712", there=True)
    ecs.stop_task(task=arn)
    assert client.wait(20) == 137
    until(ecs, arn, "STOPPED")


def test_a_program_that_is_not_there(ecs: Any, arn: str) -> None:
    done = subprocess.run(
        session(ecs, arn, "nope"), stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 127
    assert b'"nope": executable file not found' in done.stderr


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"interactive": False}, "InvalidParameterException", "Interactive is the only mode"),
        ({"task": "0" * 32}, "InvalidParameterException", "not found"),
        ({"container": "other"}, "InvalidParameterException", "container was not found"),
        ({"command": ""}, "InvalidParameterException", "must not be empty"),
        ({"cluster": "other"}, "ClusterNotFoundException", "Cluster not found"),
    ],
)
def test_refused(ecs: Any, arn: str, change: dict[str, Any], code: str, text: str) -> None:
    with pytest.raises(ClientError, match=text) as caught:
        ecs.execute_command(**{"task": arn, "command": "sh", "interactive": True, "container": "main", **change})
    assert caught.value.response["Error"]["Code"] == code


def test_only_where_it_was_enabled_and_while_it_runs(ecs: Any) -> None:
    arn = run(ecs, definition("sleep", "300"))
    until(ecs, arn, "RUNNING")
    with pytest.raises(ClientError, match="execute command was not enabled"):
        ecs.execute_command(task=arn, command="sh", interactive=True)
    ended = run(ecs, definition("true"), enableExecuteCommand=True)
    until(ecs, ended, "STOPPED")
    with pytest.raises(ClientError) as caught:
        ecs.execute_command(task=ended, command="sh", interactive=True)
    assert caught.value.response["Error"]["Code"] == "TargetNotConnectedException"
    ecs.stop_task(task=arn)


def read_until(master: int, text: bytes, seconds: float = 20) -> bytes:
    shown, deadline = b"", time.monotonic() + seconds
    while text not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([master], [], [], 0.1)[0]:
            shown += os.read(master, 65536)
    return shown


def running_until(words: str, *, there: bool, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while any(line.rstrip(b"\0").endswith(words.encode()) for line in command_lines()) is not there:
        assert time.monotonic() < deadline, words
        time.sleep(0.05)


def command_lines() -> Iterator[bytes]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_bytes()
        except OSError:
            continue
