"""The contract of ``Runner`` (its prose in ``skylift.localcloud.containers.runner``), for whoever has a ``world`` with
a runner in it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest

from skylift.localcloud.containers.program import exit_code
from skylift.localcloud.containers.runner import CannotStart, Ended, Launch, Runner, RunningContainer

SECONDS = 30.0
ODD = {
    "QUOTES": "\"a\" 'b' $HOME `x`",
    "LINES": "one\ntwo\n",
    "EMPTY": "",
    "HASH": "# no comment",
    "SIGN": "a=b=c",
    "WORD": "é",
}
WAITS = "trap 'echo told; exit 7' TERM; echo ready; while :; do sleep 0.05; done"


class World(Protocol):
    """A runner and what is different about it.

    Attributes:
        real: whether programs really run.
        added: variables that containers have besides those of their launch.
    """

    real: bool
    added: frozenset[str]

    def runner(self) -> Runner:
        """A new runner, as after a restart of the server."""
        ...

    def launch(self, *words: str, memory: int = 0, **environment: str) -> Launch:
        """A launch in a folder of its own."""
        ...

    def missing(self, runner: Runner, word: str) -> Launch:
        """A launch of a program that is not there."""
        ...

    def act(self, container: RunningContainer, code: int) -> None:
        """A fake program ends so; a real one does by itself."""
        ...


def play(world: World, scenario: Callable[[Runner], Awaitable[None]]) -> None:
    async def whole() -> None:
        runner = world.runner()
        try:
            await asyncio.wait_for(scenario(runner), 90)
        finally:
            await runner.close()

    asyncio.run(whole())


async def end_of(container: RunningContainer) -> Ended:
    return await asyncio.wait_for(asyncio.shield(container.ended), SECONDS)


async def says(world: World, launch: Launch, word: str) -> None:
    deadline = time.monotonic() + SECONDS
    log = launch.folder / "log"
    while world.real and not (log.exists() and word in log.read_text()):
        assert time.monotonic() < deadline, f"never said {word}"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("code", [0, 3, 255])
def test_a_program_ends_with_its_exit_code(world: World, code: int) -> None:
    async def scenario(runner: Runner) -> None:
        began = time.time()
        container = await runner.start(world.launch("sh", "-c", f"exit {code}"))
        world.act(container, code)
        ended = await end_of(container)
        assert (ended.code, ended.problem, ended.out_of_memory) == (code, "", False)
        assert began - 1 <= ended.at <= time.time() + 1

    play(world, scenario)


def test_a_killed_program_ends_with_128_and_the_signal(world: World) -> None:
    async def scenario(runner: Runner) -> None:
        launch = world.launch("sh", "-c", WAITS)
        container = await runner.start(launch)
        await says(world, launch, "ready")
        assert not container.ended.done()
        container.signal(signal.SIGKILL)
        assert (await end_of(container)).code == 137
        container.signal(signal.SIGTERM)  # harmless: it is gone

    play(world, scenario)


def test_a_signal_reaches_the_program(world: World) -> None:
    async def scenario(runner: Runner) -> None:
        launch = world.launch("sh", "-c", WAITS)
        container = await runner.start(launch)
        await says(world, launch, "ready")
        container.signal(signal.SIGTERM)
        assert (await end_of(container)).code == (7 if world.real else 143)

    play(world, scenario)


def test_a_program_that_is_not_there_cannot_start(world: World) -> None:
    async def scenario(runner: Runner) -> None:
        launch = world.missing(runner, "/nope")
        with pytest.raises(CannotStart, match=r"^CannotStartContainerError: .*/nope.*no such file or directory"):
            await runner.start(launch)

    play(world, scenario)


def test_a_running_container_is_found_again(world: World) -> None:
    async def scenario(runner: Runner) -> None:
        launch = world.launch("sh", "-c", WAITS)
        await runner.start(launch)
        await says(world, launch, "ready")
        await runner.close()
        other = world.runner()
        found = await other.find(launch.folder)
        assert found is not None
        assert not found.ended.done()
        found.signal(signal.SIGKILL)
        assert (await end_of(found)).code == 137
        await other.close()

    play(world, scenario)


def test_the_exit_code_of_what_ended_unseen_is_kept(world: World) -> None:
    async def scenario(runner: Runner) -> None:
        container = await runner.start(launch := world.launch("sh", "-c", "sleep 1; echo last; exit 5"))
        await runner.close()
        world.act(container, 5)
        await asyncio.sleep(1.5 if world.real else 0)
        for _ in range(2):  # as often as one likes
            other = world.runner()
            found = await other.find(launch.folder)
            assert found is not None
            assert (await end_of(found)).code == 5
            await other.close()
        await says(world, launch, "last")

    play(world, scenario)


def test_nothing_is_found_where_nothing_was_started(world: World) -> None:
    async def scenario(runner: Runner) -> None:
        assert await runner.find(world.launch("true").folder / "never") is None

    play(world, scenario)


def test_the_environment_is_exactly_what_was_asked_for(world: World) -> None:
    if not world.real:
        pytest.skip("a fake has no environment")

    async def scenario(runner: Runner) -> None:
        wanted = {
            **ODD,
            "HOME": "/nowhere",
            "http_proxy": "http://proxy:1",
            "DOCKER_HOST": "tcp://else",
            "SECRET": "s3cr3t",
        }
        launch = world.launch("python3", "-c", "import os; print(dict(os.environ))", **wanted)
        container = await runner.start(launch)
        assert (await end_of(container)).code == 0, (launch.folder / "log").read_text()
        seen = eval((launch.folder / "log").read_text())
        own = {name: value for name, value in seen.items() if name not in world.added}
        assert own == dict(launch.environment)

    play(world, scenario)


def test_no_value_shows_in_the_list_of_processes(world: World) -> None:
    if not world.real:
        pytest.skip("a fake has no process")

    async def scenario(runner: Runner) -> None:
        launch = world.launch("sh", "-c", WAITS, SECRET="s3cr3t-value", HOME="/s3cr3t-home")
        container = await runner.start(launch)
        await says(world, launch, "ready")
        assert "s3cr3t" not in "".join(command_lines())
        assert not [path for path in launch.folder.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
        container.signal(signal.SIGKILL)
        await end_of(container)

    play(world, scenario)


def test_output_is_in_the_log_in_its_order(world: World) -> None:
    if not world.real:
        pytest.skip("a fake says nothing")

    async def scenario(runner: Runner) -> None:
        launch = world.launch(
            "sh", "-c", "for n in 1 2 3; do echo out$n; sleep 0.1; echo err$n >&2; sleep 0.1; done; printf end"
        )
        container = await runner.start(launch)
        await says(world, launch, "out1")
        await end_of(container)
        assert (launch.folder / "log").read_text() == "out1\nerr1\nout2\nerr2\nout3\nerr3\nend"

    play(world, scenario)


def test_a_program_runs_inside_a_container(world: World) -> None:
    if not world.real:
        pytest.skip("a fake has no inside")

    async def scenario(runner: Runner) -> None:
        launch = world.launch("sh", "-c", WAITS, WORD="inner")
        container = await runner.start(launch)
        await says(world, launch, "ready")
        check = runner.inside(launch, ("sh", "-c", 'test "$WORD" = inner && exit 4'))
        assert await exit_code(check, SECONDS) == 4
        container.signal(signal.SIGKILL)
        await end_of(container)

    play(world, scenario)


def command_lines() -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.append(Path(f"/proc/{name}/cmdline").read_text())
            except OSError:
                continue
    return found
