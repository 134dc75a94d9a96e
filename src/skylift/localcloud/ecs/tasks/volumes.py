"""The folders behind the volumes of an ECS task, and what each of its containers mounts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from skylift.localcloud.containers.mounts import Mount
from skylift.localcloud.containers.runner import CannotStart, Launch
from skylift.localcloud.ecs.model.store import EcsTask
from skylift.localcloud.ecs.model.volumes import mount_points, refuse_host_path
from skylift.localcloud.ecs.tasks.launch import FOLDERS
from skylift.localcloud.ports import CloudContext, Document
from skylift.wire.errors import AwsError


class TaskVolumes:
    """Those of one ECS task: empty folders that are deleted with it, and folders of this machine."""

    def __init__(self, cloud: CloudContext, task: EcsTask, definition: Document) -> None:
        self._folder = cloud.folder / "volumes" / task.id
        self._allowed = cloud.host_folders
        self._containers = {one["name"]: one for one in definition["containerDefinitions"]}
        self._hosts = {
            one["name"]: one["host"]["sourcePath"]
            for one in definition.get("volumes", ())
            if one.get("host", {}).get("sourcePath")
        }

    def mounts(self, container: str) -> tuple[Mount, ...]:
        """What a container mounts. Creates no folder.

        Raises ``CannotStart``: it may no longer mount a folder of this machine.
        """
        points = mount_points(container, self._containers)
        return tuple(Mount(self._source(one.volume), one.path, one.read_only) for one in points)

    def remove(self, containers: Sequence[Path]) -> None:
        """Deletes the empty volumes with what was written there, and the file systems of containers; blocks. What these
        containers said, and how they ended, stays in their folders."""
        remove_folders([self._folder, *(folder / name for folder in containers for name in FOLDERS)])

    def _source(self, volume: str) -> Path:
        path = self._hosts.get(volume)
        if path is None:
            return self._folder / volume
        try:
            refuse_host_path(volume, path, self._allowed)
        except AwsError as error:
            raise CannotStart(f"CannotCreateContainerError: {error.message}") from error
        return Path(path)


def remove_folders(folders: Sequence[Path]) -> None:
    """Deletes folders as far as it can; blocks."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def make_sources(launch: Launch) -> None:
    """Creates what is mounted and does not exist: a folder, like Docker.

    Raises ``CannotStart``: a mount would hide what a process needs where it is, or a folder cannot be created.
    """
    found = () if launch.arguments[0].startswith("/") else (launch.executable,)
    needed = () if launch.image else (launch.folder, *found)
    for mount in launch.mounts:
        real = Path(os.path.realpath(mount.target))
        for path in needed:
            if path.is_relative_to(real):
                raise CannotStart(
                    f"CannotCreateContainerError: the mount point {mount.target} would hide {path}, which the "
                    "container needs because it is a process. Move SKYLIFT_HOME or the image, or use skylift up "
                    "--runner podman."
                )
        try:
            mount.source.mkdir(mode=0o755, parents=True, exist_ok=True)
        except FileExistsError:
            continue  # a file is mounted
        except OSError as error:
            raise CannotStart(f"CannotCreateContainerError: {mount.source}: {error.strerror}") from error
