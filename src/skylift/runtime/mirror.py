"""A folder that equals a prefix in S3: what changed is fetched, what vanished is removed.

A manifest beside the folder says which ETag each file has; one listing tells what differs. Not safe in several processes
at once: the caller holds a lock.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from skylift.aws.s3_objects import Listed, ObjectRef, S3Objects
from skylift.core.clock import Clock
from skylift.core.names import s3_url, split_s3_url
from skylift.runtime.shelf import Shelf

AGAIN_WITHIN = 60.0
"""A file that changes twice within so many seconds may change while Airflow is parsing it (see ``_download``)."""

AHEAD = 3.0
"""Seconds by which the second change's mtime lies in the future."""


@dataclass(frozen=True)
class Changes:
    """What must be done so that the folder equals the listing: relative paths."""

    fetch: tuple[str, ...]
    remove: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.fetch or self.remove)


def wanted_files(listing: Iterable[Listed], prefix: str) -> dict[str, str]:
    """ETag by relative path, of the objects that can be files of the folder.

    Left out: folder markers, ``__pycache__``, keys that would leave the folder (``..``, empty parts), and a key that is
    also another key's folder (S3 allows both ``a`` and ``a/b``, a file system does not).
    """
    files: dict[str, str] = {}
    for entry in listing:
        relative = entry.key[len(prefix) :]
        parts = relative.split("/")
        if relative and not {"", ".", "..", "__pycache__"} & set(parts) and "\0" not in relative:
            files[relative] = entry.etag
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    return {path: etag for path, etag in files.items() if path not in folders}


def compare(wanted: Mapping[str, str], have: Mapping[str, str]) -> Changes:
    """What differs between S3 (wanted) and the folder (have); both are ETags by relative path."""
    fetch = tuple(path for path, etag in wanted.items() if have.get(path) != etag)
    return Changes(fetch, tuple(path for path in have if path not in wanted))


class Mirror:
    """``base/dags`` as the mirror of ``s3://bucket/prefix``.

    Args:
        url: the prefix.
        base: folder of ours: the mirror, the manifest, and files that are arriving.
        objects: S3; made on first use when not given, because some who name a bundle never open it.
        clock: seconds since the epoch.
        shelf: contents that other containers of this machine have fetched.
    """

    def __init__(
        self,
        url: str,
        base: Path,
        objects: S3Objects | None = None,
        clock: Clock = time.time,
        shelf: Shelf | None = None,
    ) -> None:
        bucket, prefix = split_s3_url(url)
        self.url = url
        self.folder = base / "dags"
        self._bucket = bucket
        self._prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
        self._base = base
        self._objects = objects
        self._clock = clock
        self._shelf = shelf
        self._changed_at: dict[str, float] = {}

    def differs(self) -> bool:
        """Whether S3 holds something that the folder does not, or the reverse: one listing, no download."""
        return bool(compare(self._listing(), self._manifest()))

    def refresh(self) -> Changes:
        """Makes the folder equal to the prefix.

        Raises:
            Refused, Unavailable: S3 said no. Files that arrived stay, and are fetched again next time.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted, have = self._listing(), self._manifest()
        changes = compare(wanted, have)
        if changes:
            for relative in changes.remove:
                self._remove(relative)
            arrived = self._download({path: wanted[path] for path in changes.fetch})
            self._write_manifest({path: etag for path, etag in have.items() if path in wanted} | arrived)
        return changes

    def _download(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Brings files, ETag by path, and returns the ETags that they have.

        Airflow parses a file again when its mtime is later than the end of its last parse. A file that is replaced *while*
        it is being parsed would then wait for ``min_file_process_interval``; so a second change soon after the first
        gets an mtime that lies a little ahead, which costs one parse more and loses none.
        """
        arrived = {path: etag for path, etag in wanted.items() if self._at_hand(path, etag)}
        arrived |= self._fetched([path for path in wanted if path not in arrived])
        now = self._clock()
        for path in wanted:
            if path in arrived and now - self._changed_at.get(path, 0.0) < AGAIN_WITHIN:
                os.utime(self.folder / path, (now + AHEAD, now + AHEAD))
            self._changed_at[path] = now
        return arrived

    def _at_hand(self, path: str, etag: str) -> bool:
        if self._shelf is None:
            return False
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        return self._shelf.take(self._url_of(path), etag, self.folder / path)

    def _fetched(self, paths: Sequence[str]) -> dict[str, str]:
        if not paths:
            return {}
        workspace = self._base / "arriving"
        workspace.mkdir(exist_ok=True)
        refs = [(ObjectRef(self._bucket, self._prefix + path), self.folder / path) for path in paths]
        etags = self._s3().fetch_many(refs, workspace)
        arrived = {path: etag for path, etag in zip(paths, etags, strict=True) if etag is not None}
        for path, etag in arrived.items():
            if self._shelf is not None:
                self._shelf.put(self._url_of(path), etag, self.folder / path)
        return arrived

    def _url_of(self, path: str) -> str:
        return s3_url(self._bucket, self._prefix + path)

    def _remove(self, relative: str) -> None:
        target = self.folder / relative
        target.unlink(missing_ok=True)
        for parent in target.parents:
            if parent == self.folder or not parent.is_dir():
                return
            _forget_bytecode(parent)
            if any(parent.iterdir()):
                return
            parent.rmdir()

    def _listing(self) -> dict[str, str]:
        return wanted_files(self._s3().below(self._bucket, self._prefix), self._prefix)

    def _manifest(self) -> dict[str, str]:
        """What was fetched and is still there: ETag by relative path. Anything unreadable is fetched again."""
        try:
            known = json.loads((self._base / "manifest.json").read_text())
            return {path: etag for path, etag in known.items() if (self.folder / path).is_file()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _write_manifest(self, manifest: dict[str, str]) -> None:
        half = self._base / "manifest.new"
        half.write_text(json.dumps(manifest))
        half.replace(self._base / "manifest.json")

    def _s3(self) -> S3Objects:
        if self._objects is None:
            self._objects = S3Objects()
        return self._objects


def _forget_bytecode(folder: Path) -> None:
    """Removes ``__pycache__`` when nothing else is left in a folder."""
    if [path.name for path in folder.iterdir()] == ["__pycache__"]:
        for pyc in (folder / "__pycache__").iterdir():
            pyc.unlink(missing_ok=True)
        (folder / "__pycache__").rmdir()
