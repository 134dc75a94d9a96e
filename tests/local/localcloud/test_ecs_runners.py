"""The contract of ``Runner``, for plain starts and for forks of a template alike: what a Python program sees, and how
it ends."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from skylift.localcloud.containers.runner import CannotStart, Launch, ProcessRunner, Runner, RunningContainer
from skylift.localcloud.containers.template import TemplateRunner

pytestmark = pytest.mark.local
ROOT = Path(__file__).parents[3]
MODULES = f"{ROOT / 'src'}:{Path(__file__).parents[1] / 'templates'}"
PYTHON = Path(sys.executable)


@dataclass
class Ground:
    """Starts containers in folders of their own."""

    runner: Runner
    folder: Path
    template: str
    count: int = 0

    def launch(self, *words: str, executable: Path = PYTHON, **environment: str) -> Launch:
        self.count += 1
        folder = self.folder / f"container-{self.count}"
        for name in ("home", "tmp", "work"):
            (folder / name).mkdir(parents=True)
        own = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "PYTHONPATH": MODULES, "LANG": "C.UTF-8"}
        library = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        whole = {**library, **own, "AIRFLOW__CORE__EXECUTOR": "none", **environment}
        return Launch(folder, executable, words, whole, folder / "work", template=self.template)

    async def start(self, *words: str, **environment: str) -> tuple[RunningContainer, Path]:
        launch = self.launch(*words, **environment)
        return await self.runner.start(launch), launch.folder

    async def run(self, *words: str, **environment: str) -> tuple[int | None, str]:
        container, folder = await self.start(*words, **environment)
        ended = await asyncio.wait_for(container.ended, 30)
        return ended.code, (folder / "log").read_text()


@asynccontextmanager
async def context(kind: str, folder: Path, **options: Any) -> AsyncIterator[Ground]:
    runner = ProcessRunner() if kind == "plain" else TemplateRunner(ProcessRunner(), folder / "templates", **options)
    try:
        yield Ground(runner, folder, "" if kind == "plain" else "tiny_template")
    finally:
        await runner.close()


@pytest.fixture(params=["plain", "template"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def drive(scenario: Callable[[], Any]) -> None:
    asyncio.run(scenario())


SEEN = """
import json, os, signal, sys
print(json.dumps({
    "environment": dict(os.environ), "cwd": os.getcwd(), "argv": sys.argv, "orig_argv": sys.orig_argv[1:],
    "path": sys.path[0], "leader": os.getsid(0) == os.getpid(), "files": sorted(os.listdir("/proc/self/fd"))[:3],
    "open": len(os.listdir("/proc/self/fd")), "stdin": os.readlink("/proc/self/fd/0"), "name": __name__,
    "signals": [str(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD, signal.SIGHUP)],
    "mask": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "threads": len(os.listdir("/proc/self/task")),
    "buffered": type(sys.stdout.buffer).__name__, "encoding": sys.stdout.encoding, "errors": sys.stderr.errors,
}))
"""


def test_a_program_sees_the_same(tmp_path: Path) -> None:
    """Everything but its folders is equal, whichever way it was started."""
    seen: dict[str, list[Any]] = {"plain": [], "template": []}

    async def look(kind: str) -> None:
        async with context(kind, tmp_path / kind) as place:
            script = tmp_path / "script.py"
            script.write_text(SEEN)
            for words in (("-c", SEEN, "one", "-x"), (str(script), "two")):
                for extra in ({}, {"PYTHONUNBUFFERED": "1", "MINE": "ü=1\n"}):
                    code, log = await place.run("python", *words, **extra)
                    assert code == 0, log
                    folder = str(place.folder / f"container-{place.count}")
                    seen[kind].append(json.loads(log.replace(folder, "FOLDER")))

    for name in seen:
        drive(lambda name=name: look(name))
    assert seen["plain"] == seen["template"]
    assert seen["plain"][0]["leader"]
    assert seen["plain"][0]["environment"].keys() - {"LC_CTYPE", "LD_LIBRARY_PATH"} == {
        "HOME", "TMPDIR", "PYTHONPATH", "LANG", "AIRFLOW__CORE__EXECUTOR",
    }  # fmt: skip


ENDINGS = [
    ("pass", 0, ""),
    ("import sys; sys.exit(7)", 7, ""),
    ("import sys; sys.exit()", 0, ""),
    ("import sys; sys.exit(True)", 1, ""),
    ("import sys; sys.exit('no luck')", 1, "no luck\n"),
    ("1/0", 1, "ZeroDivisionError: division by zero\n"),
    ("raise KeyboardInterrupt", 130, "KeyboardInterrupt\n"),
    ("import os; os._exit(9)", 9, ""),
    ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 139, ""),
    ("import atexit; atexit.register(print, 'last'); print('first')", 0, "first\nlast\n"),
    (
        "import threading, time; threading.Thread(target=lambda: (time.sleep(0.2), print('waited'))).start()",
        0,
        "waited\n",
    ),
    ("import threading, time; threading.Thread(target=time.sleep, args=[60], daemon=True).start()", 0, ""),
    ("from concurrent.futures import ThreadPoolExecutor as P; P(1).submit(print, 'pool').result()", 0, "pool\n"),
    ("import sys; print('out'); sys.stdout.flush(); print('err', file=sys.stderr)", 0, "out\nerr\n"),
    (
        "import os; pid = os.fork(); os.waitpid(pid, 0) if pid else None; print('child' if not pid else 'parent')",
        0,
        "child\nparent\n",
    ),
]


def test_a_program_ends_the_same(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        async with context(kind, tmp_path) as place:
            for program, code, tail in ENDINGS:
                got = await place.run("python", "-c", program)
                assert got[0] == code, (program, got)
                assert got[1].endswith(tail), (program, got)
            (tmp_path / "container-99" / "work").mkdir(parents=True)
            assert await place.run("python", "-m", "calendar", "2026", "11") == (
                0,
                (await place.run("cal", "-m", "calendar", "2026", "11"))[1],
            )
            assert (await place.run("python", "-m", "no_such_module"))[0] == 1
            assert (await place.run("python", "no_such_file.py"))[0] == 2
            assert await place.run("python", "-X", "dev", "-c", "import sys; print(sys.flags.dev_mode)") == (
                0,
                "True\n",
            )

    drive(scenario)


def test_signals_reach_the_program(tmp_path: Path, kind: str) -> None:
    stubborn = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); print('up', "
        "flush=True); time.sleep(60)"
    )

    async def scenario() -> None:
        async with context(kind, tmp_path) as place:
            for program, number, code in (
                ("import time; print('up', flush=True); time.sleep(60)", signal.SIGTERM, 143),
                (stubborn, signal.SIGTERM, 5),
                (stubborn, signal.SIGKILL, 137),
                (stubborn, signal.SIGINT, 130),
            ):
                container, folder = await place.start("python", "-c", program)
                await written(folder / "log", "up")
                container.signal(number)
                assert (await asyncio.wait_for(container.ended, 20)).code == code

    drive(scenario)


def test_nothing_of_a_container_outlives_it(tmp_path: Path, kind: str) -> None:
    """What it left running in sessions of its own is killed when its first process ends."""
    program = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '300'], start_new_session=True); print(p.pid, "
        "flush=True)"
    )

    async def scenario() -> None:
        async with context(kind, tmp_path) as place:
            code, log = await place.run("python", "-c", program)
            assert code == 0
            assert not Path(f"/proc/{int(log)}").exists()

    drive(scenario)


def test_it_is_found_again(tmp_path: Path, kind: str) -> None:
    """Another runner, as after a restart of the server, finds what runs and what has ended."""

    async def scenario() -> None:
        async with context(kind, tmp_path) as place:
            container, folder = await place.start("python", "-c", "import sys; input() if 0 else None; sys.exit(3)")
            await container.ended
            found = await ProcessRunner().find(folder)
            assert found is not None
            assert (await found.ended).code == 3
            running, other = await place.start("python", "-c", "import time; time.sleep(60)")
            again = await ProcessRunner().find(other)
            assert again is not None
            again.signal(signal.SIGKILL)
            assert (await running.ended).code == (await again.ended).code == 137

    drive(scenario)


def test_ulimits(tmp_path: Path, kind: str) -> None:
    """Soft and hard; what is above our own hard limit is cut; what the kernel counts for a whole user is left alone."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    program = (
        "import resource as r; print(*r.getrlimit(r.RLIMIT_NOFILE), *r.getrlimit(r.RLIMIT_CORE), "
        "*r.getrlimit(r.RLIMIT_NPROC))"
    )

    async def scenario() -> None:
        async with context(kind, tmp_path) as place:
            for asked, got in (((200, 300), "200 300"), ((250, 1 << 60), f"250 {hard}"), ((-1, -1), f"{hard} {hard}")):
                ulimits = (("nofile", *asked), ("core", 0, 4096), ("nproc", 1, 1))
                launch = replace(place.launch("python", "-c", program), ulimits=ulimits)
                container = await place.runner.start(launch)
                assert (await asyncio.wait_for(container.ended, 20)).code == 0
                nproc = " ".join(map(str, resource.getrlimit(resource.RLIMIT_NPROC)))
                assert (launch.folder / "log").read_text() == f"{got} 0 4096 {nproc}\n"

    drive(scenario)


def test_a_folder_has_one_container(tmp_path: Path, kind: str) -> None:
    """A second start, by a server that did not see the first one's ``pid`` in time, is given the first container."""

    async def scenario() -> None:
        async with context(kind, tmp_path) as place:
            launch = place.launch("python", "-c", "import time; print('ran', flush=True); time.sleep(60)")
            first = await place.runner.start(launch)
            again = await ProcessRunner().start(launch)
            assert again.pid == first.pid
            await written(launch.folder / "log", "ran")
            again.signal(signal.SIGTERM)
            assert (await asyncio.wait_for(again.ended, 20)).code == (await first.ended).code == 143
            assert (launch.folder / "log").read_text() == "ran\n"

    drive(scenario)


def test_a_killed_shim_leaves_nothing(tmp_path: Path, kind: str) -> None:
    """What has a session of its own ends too."""
    program = (
        "import subprocess as s, sys, time; p = s.Popen(['sh', '-c', 'sleep 300 & echo $! $$; wait'], "
        "start_new_session=True);"
        "time.sleep(300)"
    )

    async def scenario() -> None:
        async with context(kind, tmp_path) as place:
            container, folder = await place.start("python", "-c", program)
            await written(folder / "log", "\n")
            pids = [container.pid, *map(int, (folder / "log").read_text().split())]
            os.kill(int((folder / "pid").read_text().split()[0]), signal.SIGKILL)
            assert (await asyncio.wait_for(container.ended, 20)).code is None
            deadline = time.monotonic() + 10
            while any(lives(pid) for pid in pids if pid):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

    drive(scenario)


def test_what_cannot_start(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        async with context(kind, tmp_path) as place:
            with pytest.raises(CannotStart, match="no such file"):
                await place.runner.start(place.launch("nope", executable=Path("/nope")))
            with pytest.raises(CannotStart, match="NUL"):
                await place.runner.start(place.launch("python", "-c", "a\0b"))
            assert (await place.run("python", "-c", "print(1)")) == (0, "1\n")

    drive(scenario)


def lives(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def written(path: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < deadline, f"{path} does not say {text}"
        await asyncio.sleep(0.01)
