"""Applies saved files to environments: a changed requirements.txt, plugin or startup.sh becomes an update.

One update at a time for each environment. What is saved meanwhile is applied together, after it. A file that the
update refuses is not tried again until it changes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from skylift.aws.errors import calling
from skylift.cli import environments
from skylift.cli.called import as_typed
from skylift.cli.environments import USABLE, find, update_failure
from skylift.cli.projects.applied import files_request, not_applied, notice
from skylift.cli.projects.project import Project
from skylift.cli.terminal import seconds
from skylift.core.errors import Refused, SkyliftError

LOOK_SECONDS = 0.25
UPDATABLE = USABLE | {"UNAVAILABLE"}
GONE = frozenset({"CREATE_FAILED", "DELETING"})


class Applier:
    """Makes updates of saved files.

    Args:
        say: told what is done, and how it ended.
        wanted: whether a project's files are to be applied; else it is only said that they are not.
    """

    def __init__(
        self, s3: Any, mwaa: Any, say: Callable[[str], None], wanted: Callable[[Project], bool] = lambda _project: True
    ) -> None:
        self._s3 = s3
        self._mwaa = mwaa
        self._say = say
        self._wanted = wanted
        self._changed: set[str] = set()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._stop = threading.Event()

    def changed(self, project: Project) -> None:
        """A file that an environment pins was saved. Answers at once; call it in the event loop."""
        self._changed.add(project.name)
        if project.name not in self._running:
            self._running[project.name] = asyncio.create_task(self._run(project), name=f"apply-{project.name}")

    async def stop(self) -> None:
        """Ends the waiting. An update that was asked for goes on."""
        self._stop.set()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _run(self, project: Project) -> None:
        try:
            while project.name in self._changed and not self._stop.is_set():
                self._changed.discard(project.name)
                await asyncio.to_thread(self._apply, project)
        finally:
            del self._running[project.name]

    def _apply(self, project: Project) -> None:
        try:
            if not self._wanted(project):
                found = find(self._mwaa, project.name)
                files = not_applied(self._s3, project, found) if found else []
                self._tell(project, as_typed(notice(project, files)) if files else "")
                return
            self._update(project)
        except SkyliftError as error:
            self._tell(project, f"its saved files are not applied: {error}")

    def _update(self, project: Project) -> None:
        found = self._idle(project)
        files = not_applied(self._s3, project, found) if found else []
        if found is None or not files:
            return
        begun = time.monotonic()
        self._tell(project, f"{', '.join(files)} changed: updating the environment")
        with calling(f"mwaa UpdateEnvironment {project.name}"):
            self._mwaa.update_environment(Name=project.name, **files_request(self._s3, project, found))
        ended = self._idle(project)
        if ended is None:
            return
        if ended["LastUpdate"]["Status"] == "FAILED":
            raise Refused(update_failure(ended))
        self._tell(project, f"{', '.join(files)} applied in {seconds(time.monotonic() - begun)}")

    def _idle(self, project: Project) -> dict[str, Any] | None:
        """The environment once nothing is under way; None when it is not there, or skylift stops."""
        while not self._stop.is_set():
            found = environments.find(self._mwaa, project.name)
            if found is None or found["Status"] in GONE:
                return None
            if found["Status"] in UPDATABLE:
                return found
            self._stop.wait(LOOK_SECONDS)
        return None

    def _tell(self, project: Project, text: str) -> None:
        if text:
            self._say(f"{project.name}: {text}")
