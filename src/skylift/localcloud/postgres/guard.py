"""Starts PostgreSQL again when it is gone: killed, out of memory, crashed.

It waits for the server's process, not for a clock, so it notices an end at once and watching costs nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from skylift.core.errors import SkyliftError
from skylift.localcloud.postgres import postmaster
from skylift.localcloud.postgres.server import Postgres

_LOOK_SECONDS = 0.5
"""How often to poll if a process cannot be waited for."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class PostgresGuard:
    """Guards one PostgreSQL from ``run`` to its cancellation; cancel it before the server is stopped on purpose.

    Args:
        note: called with one line each when it died and when it is back.
    """

    def __init__(self, postgres: Postgres, note: Callable[[str], None]) -> None:
        self._postgres = postgres
        self._note = note

    async def run(self) -> None:
        """Guards until cancelled."""
        while True:
            found = await asyncio.to_thread(postmaster.find, self._postgres.data)
            if found is not None:
                await _until_gone(found.pid)
                self._note(f"PostgreSQL (pid {found.pid}) is gone: starting it again")
            await self._start()

    async def _start(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            starting = asyncio.ensure_future(asyncio.to_thread(self._postgres.start))
            try:
                await asyncio.shield(starting)
            except asyncio.CancelledError:  # a start must not outlive us: somebody is about to stop the server
                await asyncio.gather(starting, return_exceptions=True)
                raise
            except SkyliftError as error:
                # A full disk, a port in use by another program: the user can act; all calls fail until then.
                self._note(f"PostgreSQL does not start, trying again in {pause:.0f} s: {error}")
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._note("PostgreSQL runs")
                return


async def _until_gone(pid: int) -> None:
    """Until the process has ended, whoever's child it is (Linux: told by the kernel)."""
    if not hasattr(os, "pidfd_open"):
        while _exists(pid):
            await asyncio.sleep(_LOOK_SECONDS)
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    gone, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs as another user
        return True
    return True
