"""A fake runner that ships for tests: containers without processes, which run until a test says how they end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from skylift.core.clock import Clock
from skylift.localcloud.containers.program import Program
from skylift.localcloud.containers.runner import CannotStart, Ended, Launch, Runner


class FakeContainer:
    """Ends when ``end`` is called, or by a signal unless it is ``deaf`` to SIGTERM."""

    pid = None

    def __init__(self, launch: Launch, clock: Clock, deaf: bool) -> None:
        self.launch = launch
        self.signals: list[int] = []
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._clock = clock
        self._deaf = deaf

    def signal(self, number: int) -> None:
        """Records the signal and acts like a program."""
        self.signals.append(number)
        if number == signal.SIGKILL or not self._deaf:
            self.end(128 + number)

    def end(self, code: int | None) -> None:
        """The program ends; once is enough."""
        if not self.ended.done():
            self.ended.set_result(Ended(code, self._clock()))


class FakeRunner(Runner):
    """Fulfils the contract of ``Runner``; ``find`` uses ``known``, which a test may keep over a restart."""

    def __init__(self, clock: Clock) -> None:
        self.known: dict[Path, FakeContainer] = {}
        self.deaf = False
        self.broken = ""
        self.sick = False
        self._clock = clock

    async def start(self, launch: Launch) -> FakeContainer:
        """Starts nothing, or fails with ``broken``."""
        if self.broken:
            raise CannotStart(self.broken)
        if launch.folder in self.known:
            raise CannotStart("started twice")
        launch.folder.mkdir(parents=True, exist_ok=True)
        self.known[launch.folder] = FakeContainer(launch, self._clock, self.deaf)
        return self.known[launch.folder]

    async def find(self, folder: Path) -> FakeContainer | None:
        """What was started in that folder."""
        return self.known.get(folder)

    # The arguments are the seam's.
    def inside(self, launch: Launch, words: Sequence[str], *, terminal: bool = False) -> Program:  # noqa: ARG002
        """Really a process: the system's ``true`` or ``false``, as ``sick`` says."""
        return Program(("/bin/false" if self.sick else "/bin/true", *words), {}, Path("/"))

    async def close(self) -> None:
        """Nothing to end."""

    @property
    def running(self) -> list[FakeContainer]:
        """Containers that have not ended, oldest first."""
        return [container for container in self.known.values() if not container.ended.done()]
