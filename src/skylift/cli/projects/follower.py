"""Follows project folders while the server runs: a saved file is in the environment's bucket within a second.

watchfiles (inotify) reports the changed paths. An editor that saves by renaming appears as one change of the final
name, because the path is read from disk again when the change is handled. Edits made while skylift was down are copied
at start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from watchfiles import awatch

from skylift.cli.home import Home
from skylift.cli.projects.buckets import Followed, followed, sync, sync_paths
from skylift.cli.projects.project import SINGLES, Project, belongs, linked_folders, through_links
from skylift.core.errors import SkyliftError

STEP_MILLISECONDS = 50
"""How long watchfiles waits for further changes before it reports: its default (up to 1600 ms) is more than a second.
"""

DEBOUNCE_MILLISECONDS = 200
LOOK_SECONDS = 0.5
RETRY_SECONDS = 2.0


class Follower:
    """Follows every stored project; notices when ``projects.json`` changes.

    Args:
        say: told what was done.
        changed: told when a file was brought over that an environment pins to one version.
    """

    def __init__(
        self,
        home: Home,
        s3: Any,
        say: Callable[[str], None],
        changed: Callable[[Project], None] = lambda _project: None,
    ) -> None:
        self._home = home
        self._s3 = s3
        self._say = say
        self._changed = changed
        self._stop = asyncio.Event()
        self._following: dict[str, tuple[Path, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Runs until ``stop``. Problems of one project are reported and retried; they end nothing."""
        while not self._stop.is_set():
            self._adjust(self._record())
            try:
                await asyncio.wait_for(self._stop.wait(), LOOK_SECONDS)
            except TimeoutError:
                continue
        for _, following in self._following.values():
            following.cancel()
        await asyncio.gather(*(one for _, one in self._following.values()), return_exceptions=True)

    def stop(self) -> None:
        """Ends ``run`` soon."""
        self._stop.set()

    def _record(self) -> dict[str, Followed]:
        try:
            return followed(self._home)
        except SkyliftError as error:
            self._say(f"following projects: {error}")
            return {}

    def _adjust(self, wanted: dict[str, Followed]) -> None:
        for name, (folder, following) in list(self._following.items()):
            if name not in wanted or wanted[name].project.folder != folder or following.done():
                following.cancel()
                del self._following[name]
        for name, one in wanted.items():
            if name not in self._following and (one.project.folder / "dags").is_dir():
                follow = asyncio.create_task(self._follow(one.project), name=f"follow-{name}")
                self._following[name] = (one.project.folder, follow)

    async def _follow(self, project: Project) -> None:
        self._say(f"following {project.folder} for environment {project.name}")
        links = await asyncio.to_thread(linked_folders, project)
        changes = awatch(
            project.folder,
            *links,
            watch_filter=lambda _, path: any(belongs(project, one) for one in through_links(links, Path(path))),
            step=STEP_MILLISECONDS,
            debounce=DEBOUNCE_MILLISECONDS,
            # An event of its own: awatch sets it when cancelled, and the other followers must continue.
            stop_event=asyncio.Event(),
        )
        # The first step sets up the watch, so that no change is missed between copying everything and listening.
        upcoming = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        try:
            await self._until_done(project, None)
            while not self._stop.is_set():
                changed = await upcoming
                upcoming = asyncio.ensure_future(anext(changes))
                named = [through_links(links, Path(path)) for _, path in changed]
                await self._until_done(project, set().union(*named))
                if await asyncio.to_thread(linked_folders, project) != links:
                    return  # ``_adjust`` begins again, with the new ones
        # The user can act (for example, inotify's limits are reached): report it and start again.
        except Exception as error:  # noqa: BLE001
            self._say(f"{project.name}: its files cannot be followed, trying again: {error!r}")
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            upcoming.cancel()

    async def _until_done(self, project: Project, paths: set[Path] | None) -> None:
        """Copies paths (``None``: all), again and again while S3 or the disk refuses."""
        while not self._stop.is_set():
            try:
                if paths is None:
                    done = await asyncio.to_thread(sync, self._s3, self._home, project)
                else:
                    done = await asyncio.to_thread(sync_paths, self._s3, self._home, project, paths)
            except (SkyliftError, OSError) as error:
                self._say(f"{project.name}: not brought over, trying again: {error}")
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for verb, keys in (("put", done.put), ("removed", done.remove)):
                for key in keys:
                    self._say(f"{project.name}: {verb} {key}")
            for notice in done.notices(project.bucket):
                self._say(f"{project.name}: {notice}")
            if not set(SINGLES).isdisjoint({*done.put, *done.remove}):
                self._changed(project)
            return
