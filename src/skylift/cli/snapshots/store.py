"""Where snapshots are: below ``snapshots/`` in the environment's bucket, a folder for each.

A snapshot has the database (written by a container of the environment), the environment as GetEnvironment shows it, and
the versions of its DAG files. The database's manifest is written last: a folder without it is no snapshot.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from skylift.aws.errors import calling
from skylift.core.errors import Refused
from skylift.runtime.snapshots.words import ARCHIVE, MANIFEST

FOLDER = "snapshots"
ENVIRONMENT = "environment.json"
FORMAT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Snapshot:
    """One snapshot.

    Attributes:
        id: the time when it was begun, in UTC.
        size: bytes of the database's archive.
        rows: of all tables.
    """

    environment: str
    id: str
    size: int
    rows: int


def bucket_of(environment: dict[str, Any]) -> str:
    """The environment's bucket."""
    return str(environment["SourceBucketArn"]).rpartition(":")[2]


def prefix_of(environment: dict[str, Any], snapshot: str) -> str:
    """Where a snapshot is in the bucket."""
    return f"{FOLDER}/{environment['Name']}/{snapshot}"


def new_id() -> str:
    """The id of a snapshot that begins now."""
    return datetime.now(UTC).strftime(FORMAT)


def write_environment(s3: Any, environment: dict[str, Any], snapshot: str) -> None:
    """Writes what the snapshot knows beside the database."""
    bucket, prefix = bucket_of(environment), prefix_of(environment, snapshot)
    told = {"environment": environment, "objects": versions(s3, bucket, _dags(environment))}
    with calling(f"s3 PutObject {bucket}/{prefix}"):
        s3.put_object(Bucket=bucket, Key=f"{prefix}/{ENVIRONMENT}", Body=json.dumps(told, default=str).encode())


def read_environment(s3: Any, environment: dict[str, Any], snapshot: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The environment as it was, and the versions of its DAG files by key."""
    bucket, prefix = bucket_of(environment), prefix_of(environment, snapshot)
    with calling(f"s3 GetObject {bucket}/{prefix}"):
        found = json.loads(s3.get_object(Bucket=bucket, Key=f"{prefix}/{ENVIRONMENT}")["Body"].read())
    return found["environment"], found["objects"]


def listed(s3: Any, environment: dict[str, Any]) -> list[Snapshot]:
    """All snapshots of an environment, oldest first."""
    bucket, top = bucket_of(environment), f"{FOLDER}/{environment['Name']}/"
    sizes: dict[str, int] = {}
    with calling(f"s3 ListObjectsV2 {bucket}/{top}"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=top):
            sizes |= {one["Key"]: one["Size"] for one in page.get("Contents", [])}
    found = []
    for key in sorted(sizes):
        folder, _, name = key.rpartition("/")
        if name != MANIFEST:
            continue
        with calling(f"s3 GetObject {bucket}/{key}"):
            manifest = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        rows = sum(one["rows"] for one in manifest["tables"])
        size = sizes.get(f"{folder}/{ARCHIVE}", 0)
        found.append(Snapshot(environment["Name"], folder.rpartition("/")[2], size, rows))
    return found


def the_snapshot(s3: Any, environment: dict[str, Any], wanted: str | None) -> Snapshot:
    """The wanted snapshot, else the newest. Raises ``Refused`` with those that there are."""
    there = listed(s3, environment)
    if not there:
        raise Refused(
            f"There is no snapshot of {environment['Name']}. To take one: skylift snapshot {environment['Name']}"
        )
    chosen = [one for one in there if one.id == wanted] if wanted else there[-1:]
    if not chosen:
        raise Refused(f"There is no snapshot {wanted}. There are: {', '.join(one.id for one in there)}")
    return chosen[0]


def delete(s3: Any, environment: dict[str, Any], snapshot: str) -> None:
    """Deletes a snapshot; its manifest goes first, so what is left of it after a crash is none."""
    bucket, prefix = bucket_of(environment), prefix_of(environment, snapshot)
    for name in (MANIFEST, ARCHIVE, ENVIRONMENT):
        with calling(f"s3 DeleteObject {bucket}/{prefix}/{name}"):
            s3.delete_object(Bucket=bucket, Key=f"{prefix}/{name}")


def versions(s3: Any, bucket: str, prefix: str) -> dict[str, str]:
    """The current version of each object below a prefix."""
    found: dict[str, str] = {}
    with calling(f"s3 ListObjectVersions {bucket}/{prefix}"):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            found |= {one["Key"]: one["VersionId"] for one in page.get("Versions", []) if one["IsLatest"]}
    return found


def put_back_objects(s3: Any, environment: dict[str, Any], wanted: dict[str, str]) -> tuple[int, int]:
    """Makes the DAG files as they were; returns how many were put back and how many deleted."""
    bucket = bucket_of(environment)
    now = versions(s3, bucket, _dags(environment))
    changed = [key for key, version in wanted.items() if now.get(key) != version]
    more = [key for key in now if key not in wanted]
    for key in changed:
        with calling(f"s3 CopyObject {bucket}/{key}"):
            source = {"Bucket": bucket, "Key": key, "VersionId": wanted[key]}
            s3.copy_object(Bucket=bucket, Key=key, CopySource=source)
    for key in more:
        with calling(f"s3 DeleteObject {bucket}/{key}"):
            s3.delete_object(Bucket=bucket, Key=key)
    return len(changed), len(more)


def _dags(environment: dict[str, Any]) -> str:
    return str(environment["DagS3Path"]).strip("/") + "/"
