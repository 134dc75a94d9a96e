"""Objects in S3 as the runtime uses them: list below a prefix, fetch whole files atomically, write results.

A fetch writes to a temporary file first and renames it, so that a reader sees the old file or the new one, never a
half.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling, code_of
from skylift.core.errors import Refused
from skylift.core.names import split_s3_url

AT_ONCE = 16
"""Downloads in flight; botocore's pool (``clients.client``) holds 32 connections."""


@dataclass(frozen=True)
class ObjectRef:
    """One object, or one version of it.

    Attributes:
        version: S3's VersionId; empty means the newest.
    """

    bucket: str
    key: str
    version: str = ""

    @staticmethod
    def parse(url: str) -> ObjectRef:
        """From ``s3://bucket/key`` or ``s3://bucket/key?versionId=v``. Raises ``ValueError`` for any other text."""
        place, _, version = url.partition("?versionId=")
        return ObjectRef(*split_s3_url(place), version)


@dataclass(frozen=True)
class Listed:
    """One line of a listing: the key, its ETag (changes with the content) and its size in bytes."""

    key: str
    etag: str
    size: int


class S3Objects:
    """A few typed calls to S3. Thread-safe. Every method raises ``Refused`` or ``Unavailable``."""

    def __init__(self, s3: Any | None = None) -> None:
        self._s3 = s3 or client("s3")

    def below(self, bucket: str, prefix: str) -> Iterator[Listed]:
        """All objects whose key begins with ``prefix``; one call for each 1,000."""
        with calling(f"s3 ListObjectsV2 s3://{bucket}/{prefix}"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for entry in page.get("Contents", ()):
                    yield Listed(entry["Key"], entry["ETag"], entry["Size"])

    def fetch(self, ref: ObjectRef, target: Path, workspace: Path | None = None) -> str | None:
        """Writes the object to ``target`` (folders are made) and returns its ETag; ``None`` if there is no such
        object.

        Args:
            target: replaced at once when the whole object has arrived; its mtime is then now.
            workspace: folder on the same file system for the half-written file; default: the target's own.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own: the target's may be as long as the file system allows.
        half = (workspace or target.parent) / f".{uuid4().hex}.part"
        try:
            with calling(f"s3 GetObject s3://{ref.bucket}/{ref.key}"):
                answer = self._get(ref)
                if answer is None:
                    return None
                with half.open("wb") as file:
                    shutil.copyfileobj(answer["Body"], file, 1 << 20)
            half.replace(target)
        finally:
            half.unlink(missing_ok=True)
        return str(answer["ETag"])

    def fetch_many(
        self, wanted: Iterable[tuple[ObjectRef, Path]], workspace: Path
    ) -> list[str | Refused | OSError | None]:
        """``fetch`` for each, ``AT_ONCE`` together; results in the order asked.

        An object that S3 refuses, or that cannot be written, has its error as its result and stops no other.

        Raises:
            Unavailable: S3 cannot be reached; raised after all ended.
        """
        pairs = list(wanted)

        def one(pair: tuple[ObjectRef, Path]) -> str | Refused | OSError | None:
            try:
                return self.fetch(pair[0], pair[1], workspace)
            except (Refused, OSError) as error:
                return error

        if len(pairs) <= 1:
            return [one(pair) for pair in pairs]
        with ThreadPoolExecutor(min(AT_ONCE, len(pairs))) as pool:
            return list(pool.map(one, pairs))

    def read(self, bucket: str, key: str) -> bytes | None:
        """A small object's content; ``None`` if there is no such object."""
        with calling(f"s3 GetObject s3://{bucket}/{key}"):
            answer = self._get(ObjectRef(bucket, key))
            return None if answer is None else bytes(answer["Body"].read())

    def put(self, bucket: str, key: str, body: bytes | Path) -> None:
        """Stores bytes or a file's content in one request (at most 5 GB, S3's limit)."""
        with calling(f"s3 PutObject s3://{bucket}/{key}"):
            if isinstance(body, bytes):
                self._s3.put_object(Bucket=bucket, Key=key, Body=body)
            else:
                with body.open("rb") as file:
                    self._s3.put_object(Bucket=bucket, Key=key, Body=file)

    def put_new(self, bucket: str, key: str, body: bytes) -> bool:
        """Stores bytes where nothing is yet, in one step (S3's conditional write); ``False`` if something is
        there."""
        with calling(f"s3 PutObject s3://{bucket}/{key}"):
            try:
                self._s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
            except ClientError as error:
                # 412; and 409 ConditionalRequestConflict when another write of that key is just under way.
                if code_of(error) in {"PreconditionFailed", "ConditionalRequestConflict"}:
                    return False
                raise
        return True

    def remove(self, bucket: str, key: str) -> None:
        """Deletes an object (its newest version, in a bucket with versions). A missing one is fine."""
        with calling(f"s3 DeleteObject s3://{bucket}/{key}"):
            self._s3.delete_object(Bucket=bucket, Key=key)

    def _get(self, ref: ObjectRef) -> Any | None:
        version = {"VersionId": ref.version} if ref.version else {}
        try:
            return self._s3.get_object(Bucket=ref.bucket, Key=ref.key, **version)
        except ClientError as error:
            if code_of(error) in {"NoSuchKey", "NoSuchVersion", "404"}:
                return None
            raise
