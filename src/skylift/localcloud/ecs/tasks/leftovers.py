"""Folders of ended containers, removed once nobody needs them: their output is in CloudWatch Logs, and how they ended
is on the disk. Until then a restart would ask the folder, and without it run the container again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from skylift.localcloud.ecs.model.store import EcsStore, EcsTask
from skylift.localcloud.ecs.tasks.volumes import remove_folders

LOOK_SECONDS = 1.0


class Leftovers:
    """Those of one engine. What is left when it closes goes with the ECS task, an hour later."""

    def __init__(self, store: EcsStore) -> None:
        self._store = store
        self._waiting: list[tuple[EcsTask, Sequence[Path]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, task: EcsTask, folders: Sequence[Path]) -> None:
        """These folders of an ECS task that has stopped can go."""
        self._waiting.append((task, folders))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def close(self) -> None:
        """Removes nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        written, waiting = list[Path](), []
        for task, folders in self._waiting:
            if self._store.is_written(task):
                written += folders
            else:
                waiting.append((task, folders))
        self._waiting = waiting
        self._timer = loop.call_later(LOOK_SECONDS, self._look) if self._waiting else None
        if written:
            loop.run_in_executor(None, remove_folders, written)
