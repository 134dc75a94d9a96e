"""Templates as processes: when one is made, what its forks share, and what happens when it breaks, hangs or is
killed."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.local.localcloud.test_ecs_runners import ROOT, Ground, context, drive, lives, written

from skylift.localcloud.containers.runner import ProcessRunner
from skylift.localcloud.containers.template import TemplateRunner

pytestmark = pytest.mark.local
WHO = "import sys; t = sys.modules.get('tiny_template'); print(t.PREPARED_BY[0] if t else 0)"


async def maker(place: Ground, **environment: str) -> int:
    """Pid of the template that a new container came from; 0 after a plain start."""
    code, log = await place.run("python", "-c", WHO, **environment)
    assert code == 0, log
    return int(log)


def test_containers_with_the_same_configuration_share_a_template(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with context("template", tmp_path, most=2) as place:
            first, *others = await asyncio.gather(*(maker(place, MINE=str(n)) for n in range(3)))
            assert first != 0
            assert set(others) == {first}
            second = await maker(place, AIRFLOW__CORE__DEFAULT_TIMEZONE="1")
            assert second not in {0, first}
            assert await maker(place, AIRFLOW__LOGGING__LOGGING_LEVEL="DEBUG") == first
            # No room for a third, unless it is asked for again: then the one that was used least lately goes.
            assert await maker(place, AIRFLOW__CORE__DEFAULT_TIMEZONE="2") == 0
            assert lives(second)
            third = await maker(place, AIRFLOW__CORE__DEFAULT_TIMEZONE="2")
            assert third not in {0, first, second}
            assert not lives(second)
            assert await maker(place) == first
            assert len(list((tmp_path / "templates").iterdir())) == 2
        assert not lives(first)
        assert not lives(third)
        assert list((tmp_path / "templates").iterdir()) == []

    drive(scenario)


def test_two_hundred_containers_of_two_environments_see_only_what_is_theirs(tmp_path: Path) -> None:
    """All at once, from two templates: variables, folders, files that are open, and what an earlier one has changed."""
    code = (
        "import json, os, sys, tiny_template as t; seen = getattr(t, 'seen', None); t.seen = os.environ['MINE']; "
        "mine = {k: v for k, v in os.environ.items() if k in ('MINE', 'SECRET', 'AIRFLOW__CORE__DEFAULT_TIMEZONE')}; "
        "files = sorted(int(n) for n in os.listdir('/proc/self/fd')); "
        "print(json.dumps([mine, seen, os.listdir('.'), files[:3], len(files)])); open('trace', 'w').write(t.seen)"
    )

    async def scenario() -> None:
        async with context("template", tmp_path, most=2) as place:
            zones = ("Europe/Berlin", "Asia/Tokyo")
            assert 0 not in [await maker(place, AIRFLOW__CORE__DEFAULT_TIMEZONE=zone) for zone in zones]
            wanted = [
                {"MINE": str(number), "AIRFLOW__CORE__DEFAULT_TIMEZONE": zones[number % 2]}
                | ({"SECRET": f"of {number}"} if number % 3 == 0 else {})
                for number in range(200)
            ]
            ended = await asyncio.gather(*(place.run("python", "-c", code, **one) for one in wanted))
            assert [exit_code for exit_code, _ in ended] == [0] * 200
            assert [json.loads(log) for _, log in ended] == [[one, None, [], [0, 1, 2], 4] for one in wanted]

    drive(scenario)


def test_chance_is_not_shared(tmp_path: Path) -> None:
    code = (
        "import random, uuid, ssl, secrets, tempfile, os; print(random.random(), uuid.uuid4(), "
        "ssl.RAND_bytes(8).hex(), os.getpid())"
    )

    async def scenario() -> None:
        async with context("template", tmp_path) as place:
            logs = [(await place.run("python", "-c", code))[1].split() for _ in range(3)]
            assert all(len(set(column)) == 3 for column in zip(*logs, strict=True))

    drive(scenario)


@pytest.mark.parametrize("trouble", ["AIRFLOW__TEST__BROKEN", "AIRFLOW__TEST__THREAD"])
def test_without_a_template_it_starts_plainly(tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture) -> None:
    """One line tells why; the next containers do not try again at once."""

    async def scenario() -> None:
        async with context("template", tmp_path) as place:
            assert [await maker(place, **{trouble: "1"}) for _ in range(3)] == [0, 0, 0]

    with caplog.at_level(logging.WARNING):
        drive(scenario)
    lines = [record.getMessage() for record in caplog.records if "no template" in record.getMessage()]
    assert len(lines) == 1
    assert "told to fail" in lines[0] or "2 threads" in lines[0]


def test_what_a_template_had_to_leave_out_is_said_once_and_it_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with context("template", tmp_path, most=2) as place:
            for zone in ("1", "2"):
                assert await maker(place, AIRFLOW__TEST__OMITTED="no first calls", AIRFLOW__CORE__DEFAULT_TIMEZONE=zone)

    with caplog.at_level(logging.INFO):
        drive(scenario)
    told = [record.getMessage() for record in caplog.records if "cost more CPU" in record.getMessage()]
    assert len(told) == 1
    assert "no first calls" in told[0]


def test_a_killed_template_harms_no_container(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with context("template", tmp_path) as place:
            first = await maker(place)
            running, folder = await place.start(
                "python",
                "-c",
                "import sys; print('up', flush=True); sys.stdin.read(); import time; time.sleep(1); sys.exit(4)",
            )
            await written(folder / "log", "up")
            os.kill(first, signal.SIGKILL)
            second = await maker(place) or await maker(place)  # the first may ask the dead one, and start plainly
            assert second not in {0, first}
            assert (await asyncio.wait_for(running.ended, 20)).code == 4

    drive(scenario)


def test_a_template_that_hangs_is_ended(tmp_path: Path) -> None:
    """The container is started plainly, and once only: the template can fork it no more."""

    async def scenario() -> None:
        async with context("template", tmp_path, fork_seconds=0.3) as place:
            first = await maker(place)
            os.kill(first, signal.SIGSTOP)
            assert await maker(place) == 0
            assert not lives(first)
            assert await maker(place) not in {0, first}

    drive(scenario)


def test_a_fork_that_was_given_up_is_no_second_container(tmp_path: Path) -> None:
    """The template has forked, but answers too late: whichever shim comes first, there is one container, and it is
    watched."""

    async def scenario() -> None:
        async with context("template", tmp_path, fork_seconds=0.004) as place:
            for _ in range(20):
                assert await place.run("python", "-c", "print('ran')") == (0, "ran\n")

    drive(scenario)


def test_an_idle_template_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with context("template", tmp_path, idle_seconds=0.2) as place:
            first = await maker(place)
            deadline = asyncio.get_running_loop().time() + 10
            while lives(first):
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.05)
            assert await maker(place) not in {0, first}

    drive(scenario)


def test_no_template_outlives_its_server(tmp_path: Path) -> None:
    """The server is killed: its template ends by itself, the container goes on, its exit code is kept."""
    script = tmp_path / "server.py"
    script.write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tests.local.localcloud.test_ecs_runners import context\n"
        "async def main():\n"
        "    async with context('template', Path(sys.argv[1])) as place:\n"
        "        program = 'import sys, time, tiny_template as t; print(t.PREPARED_BY[0], flush=True); time.sleep(2); "
        "sys.exit(6)'\n"
        "        container, folder = await place.start('python', '-c', program)\n"
        "        print(folder, flush=True)\n"
        "        await container.ended\n"
        "asyncio.run(main())\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True, env=environ) as server:
        assert server.stdout is not None
        folder = Path(server.stdout.readline().strip())

        async def scenario() -> None:
            await written(folder / "log", "\n")
            template = int((folder / "log").read_text())
            server.kill()
            server.wait()
            found = await ProcessRunner().find(folder)
            assert found is not None
            assert not found.ended.done()
            deadline = asyncio.get_running_loop().time() + 10
            while lives(template):
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.02)
            assert (await asyncio.wait_for(found.ended, 20)).code == 6

        drive(scenario)


def test_a_container_asks_for_its_template(tmp_path: Path) -> None:
    """Without ``Launch.template`` nothing is forked."""

    async def scenario() -> None:
        runner = TemplateRunner(ProcessRunner(), tmp_path / "templates")
        place = Ground(runner, tmp_path, "")
        assert await maker(place) == 0
        assert not (tmp_path / "templates").exists()
        await runner.close()

    drive(scenario)
