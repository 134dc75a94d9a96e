"""Volumes of task definitions: which are accepted, and what each container mounts. Pure.

Sources: "Use bind mounts with Amazon ECS", API reference of Volume, MountPoint, VolumeFrom. The text about an unknown
volume is AWS's; the other texts are ours.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skylift.localcloud.containers.mounts import HOST_FOLDERS, allowed
from skylift.localcloud.ecs.model.shapes import client_error
from skylift.localcloud.ports import Document

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")
_POINT = re.compile(r"/[^\x00-\x1f:]*")
_SERVED = frozenset({"name", "host"})


@dataclass(frozen=True)
class MountPoint:
    """A volume of the ECS task at a path of one container."""

    volume: str
    path: str
    read_only: bool


def check_volumes(definition: Mapping[str, Any], host_folders: Sequence[Path]) -> None:
    """Refuses volumes, mount points and ``volumesFrom`` that ECS would not register, or that are not served here.

    Args:
        definition: RegisterTaskDefinition's request.
        host_folders: what ``host.sourcePath`` may name.
    """
    names: set[str] = set()
    for volume in definition.get("volumes", ()):
        name = volume.get("name", "")
        if not _NAME.fullmatch(name):
            raise client_error(f"Invalid volume name '{name}': up to 255 letters, numbers, hyphens and underscores.")
        if name in names:
            raise client_error(f"Duplicate volume '{name}'.")
        names.add(name)
        _check_kind(name, volume, host_folders)
    containers = {container["name"]: container for container in definition["containerDefinitions"]}
    for container in containers.values():
        _check_points(container, names)
        _check_from(container, containers)
    for name in containers:
        mount_points(name, containers)


def refuse_host_path(name: str, path: str, host_folders: Sequence[Path]) -> None:
    """Refuses a folder of this machine that the user has not allowed (``ClientException``)."""
    if not path.startswith("/") or not _POINT.fullmatch(path) or not allowed(Path(path), host_folders):
        raise client_error(
            f"Volume '{name}': host.sourcePath {path} is not below a folder that skylift's local cloud may mount. "
            f"To allow one, start it with {HOST_FOLDERS.env}=FOLDER (several: separated by colons)."
        )


def mount_points(name: str, containers: Mapping[str, Document]) -> list[MountPoint]:
    """What a container mounts: its own mount points, then those of the containers in ``volumesFrom``.

    Raises ``ClientException``: containers mount from each other in a circle.
    """
    found = {point.path: point for point in _all_points(name, containers, ())}
    return list(found.values())


def _all_points(name: str, containers: Mapping[str, Document], asked: tuple[str, ...]) -> Iterable[MountPoint]:
    """Those of others first, because a later one wins."""
    if name in asked:
        raise client_error("Circular dependency between containers: volumesFrom.")
    container = containers[name]
    for other in container.get("volumesFrom", ()):
        for point in _all_points(other["sourceContainer"], containers, (*asked, name)):
            yield MountPoint(point.volume, point.path, point.read_only or bool(other.get("readOnly")))
    for point in container.get("mountPoints", ()):
        path = posixpath.normpath(point["containerPath"])
        yield MountPoint(point["sourceVolume"], path, bool(point.get("readOnly")))


def _check_kind(name: str, volume: Document, host_folders: Sequence[Path]) -> None:
    foreign = sorted(member for member, value in volume.items() if value and member not in _SERVED)
    if foreign:
        raise client_error(
            f"Volume '{name}': {', '.join(foreign)} is not supported by skylift's local cloud, which has empty volumes "
            "and host.sourcePath."
        )
    if path := volume.get("host", {}).get("sourcePath"):
        refuse_host_path(name, path, host_folders)


def _check_points(container: Document, names: set[str]) -> None:
    paths: set[str] = set()
    for point in container.get("mountPoints", ()):
        volume, path = point.get("sourceVolume", ""), point.get("containerPath", "")
        if volume not in names:
            raise client_error(f"Unknown volume '{volume}'.")
        if not _POINT.fullmatch(path) or posixpath.normpath(path).strip("/") == "":
            raise client_error(
                f"Container '{container['name']}': containerPath '{path}' must be an absolute path other than /."
            )
        if posixpath.normpath(path) in paths:
            raise client_error(f"Container '{container['name']}': duplicate mount point: {path}")
        paths.add(posixpath.normpath(path))


def _check_from(container: Document, containers: Mapping[str, Document]) -> None:
    for other in container.get("volumesFrom", ()):
        if other.get("sourceContainer") not in containers:
            raise client_error(
                f"Container '{container['name']}': volumesFrom names a container that does not exist: "
                f"{other.get('sourceContainer')}"
            )
