"""Copies a project's changed files to its bucket, and remembers which keys came from the folder."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skylift.aws.errors import calling
from skylift.cli.account import exists
from skylift.cli.home import Home, read_json, write_private
from skylift.cli.projects.project import (
    SINGLES,
    Project,
    Sync,
    changed_contents,
    contents,
    digest,
    plan_sync,
    up_command,
)
from skylift.cli.projects.snapshot_rule import SnapshotRule
from skylift.core.errors import Refused
from skylift.localcloud.damage import json_object, read_state


@dataclass(frozen=True)
class Followed:
    """A project that the server follows, as ``projects.json`` keeps it.

    Attributes:
        apply: whether saved files that an environment pins become an update.
        put: digests of the files that environments pin, as we put them into the bucket last.
        snapshots: the rule of skylift.toml, as it was last applied.
    """

    project: Project
    keys: tuple[str, ...]
    apply: bool = True
    put: Mapping[str, str] = field(default_factory=dict)
    snapshots: SnapshotRule | None = None


def followed(home: Home) -> dict[str, Followed]:
    """The stored projects, by environment."""
    try:
        return read_state(
            home.projects,
            _followed,
            "which project folders are followed",
            "skylift up with its folder follows one again.",
        )
    except FileNotFoundError:
        return {}


def _followed(text: str) -> dict[str, Followed]:
    return {
        name: Followed(
            Project(Path(entry["folder"]), name),
            tuple(entry["keys"]),
            bool(entry.get("apply", True)),
            entry.get("put", {}),
            SnapshotRule(**entry["snapshots"]) if entry.get("snapshots") else None,
        )
        for name, entry in json_object(text).items()
    }


def remember(home: Home, project: Project, keys: list[str], put: Mapping[str, str] | None = None) -> None:
    """Stores (or updates) a project.

    Args:
        put: digests of pinned files that were put now.

    Raises:
        Refused: another environment's name maps to the same bucket, or the name belongs to another folder.
    """
    with _recording(home):
        record = read_json(home.projects)
        for name in record:
            if name != project.name and Project(project.folder, name).bucket == project.bucket:
                raise Refused(
                    f"{project.name} and {name} would share the bucket {project.bucket}. Give another --name."
                )
        before = record.get(project.name, {})
        digests = {**before.get("put", {}), **(put or {})}
        record[project.name] = {**before, "folder": str(project.folder), "keys": sorted(keys), "put": digests}
        write_private(home.projects, json.dumps(record, indent=2) + "\n")


def applies(home: Home, project: Project) -> bool:
    """Whether a project's saved files become updates of its environment."""
    one = followed(home).get(project.name)
    return one is None or one.apply


def choose_apply(home: Home, project: Project, apply: bool) -> None:
    """Records whether a project's saved files become updates; the project must be on record."""
    with _recording(home):
        record = read_json(home.projects)
        if project.name in record and bool(record[project.name].get("apply", True)) != apply:
            record[project.name]["apply"] = apply
            write_private(home.projects, json.dumps(record, indent=2) + "\n")


def applied_settings(home: Home, project: Project) -> dict[str, str]:
    """Digests of what skylift.toml said when it was last applied (``settings_file.difference``)."""
    return dict(read_json(home.projects).get(project.name, {}).get("settings") or {})


def record_settings(home: Home, project: Project, digests: Mapping[str, str], snapshots: SnapshotRule | None) -> None:
    """Records what skylift.toml says, now that it is applied; the project must be on record."""
    said = {"settings": dict(digests), "snapshots": asdict(snapshots) if snapshots else {}}
    with _recording(home):
        record = read_json(home.projects)
        if project.name in record and any(record[project.name].get(name, {}) != value for name, value in said.items()):
            record[project.name] |= said
            write_private(home.projects, json.dumps(record, indent=2) + "\n")


def forget(home: Home, name: str) -> None:
    """Removes a project from ``projects.json``; its folder and bucket stay."""
    with _recording(home):
        record = read_json(home.projects)
        if record.pop(name, None) is not None:
            write_private(home.projects, json.dumps(record, indent=2) + "\n")


def sync(s3: Any, home: Home, project: Project) -> Sync:
    """Makes the bucket contain the folder's files. Returns what was done.

    Raises:
        Refused, Unavailable: from S3.
    """
    known = followed(home).get(project.name)
    if known is not None and known.project.folder != project.folder and known.project.folder.exists():
        raise Refused(
            f"The environment {project.name} belongs to {known.project.folder}. Give this project its own name: "
            f"{up_command(Project(project.folder, f'{project.name}-2'))}"
        )
    local = contents(project)
    todo = plan_sync(local, listing(s3, project.bucket), known.keys if known else (), known.put if known else {})
    _apply(s3, project.bucket, todo, local)
    put = _put_digests(local, todo, known)
    if known is None or known.project != project or set(known.keys) != set(local) or put:
        remember(home, project, list(local), put)
    return todo


def sync_paths(s3: Any, home: Home, project: Project, paths: Iterable[Path]) -> Sync:
    """Copies only these files and folders (changed, new or gone) to the bucket, without reading others. Otherwise like
    ``sync``."""
    known = followed(home).get(project.name)
    keys = set(known.keys) if known else set()
    local = changed_contents(project, paths, keys)
    remote = {key: etag for key in local if (etag := _etag(s3, project.bucket, key))}
    there = {key: body for key, body in local.items() if body is not None}
    gone = [key for key, body in local.items() if body is None and key in keys]
    todo = plan_sync(there, remote, gone, known.put if known else {})
    _apply(s3, project.bucket, todo, there)
    after = (keys | set(there)) - set(todo.remove)
    put = _put_digests(there, todo, known)
    if after != keys or put:
        remember(home, project, sorted(after), put)
    return todo


def _put_digests(local: Mapping[str, bytes], todo: Sync, known: Followed | None) -> dict[str, str]:
    """Digests to remember: of pinned files that were put, or that were found as they are here."""
    before = known.put if known else {}
    ours = {key: digest(local[key]) for key in SINGLES if key in local and key not in todo.kept}
    return {key: one for key, one in ours.items() if before.get(key) != one}


def listing(s3: Any, bucket: str) -> dict[str, str]:
    """Every key of a bucket with its ETag, without quotes."""
    found: dict[str, str] = {}
    with calling(f"s3 ListObjectsV2 {bucket}"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            found |= {item["Key"]: item["ETag"].strip('"') for item in page.get("Contents", [])}
    return found


def version_of(s3: Any, bucket: str, key: str) -> str:
    """The current version id of an object; empty if it does not exist."""
    with calling(f"s3 ListObjectVersions {bucket}/{key}"):
        answer = s3.list_object_versions(Bucket=bucket, Prefix=key)
    for item in answer.get("Versions", []):
        if item["Key"] == key and item["IsLatest"]:
            return str(item["VersionId"])
    return ""


@contextmanager
def _recording(home: Home) -> Iterator[None]:
    """One writer at a time: a command and the server's follower may both copy files."""
    with home.projects.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _apply(s3: Any, bucket: str, todo: Sync, bodies: Mapping[str, bytes]) -> None:
    for key in todo.put:
        with calling(f"s3 PutObject {bucket}/{key}"):
            s3.put_object(Bucket=bucket, Key=key, Body=bodies[key])
    for key in todo.remove:
        with calling(f"s3 DeleteObject {bucket}/{key}"):
            s3.delete_object(Bucket=bucket, Key=key)


def _etag(s3: Any, bucket: str, key: str) -> str:
    found: dict[str, Any] = {}
    exists(lambda: found.update(s3.head_object(Bucket=bucket, Key=key)), f"s3 HeadObject {bucket}/{key}")
    return str(found.get("ETag", "")).strip('"')
