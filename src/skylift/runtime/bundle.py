"""The DAG bundle of an environment: a folder in S3, mirrored into the container.

Airflow's DAG processor asks each bundle once per ``bundle_refresh_check_interval`` whether it is due: it compares the age
of the last refresh with ``refresh_interval``. A *due* bundle costs much more than a listing: a scan of all files, two
queries that look for vanished DAGs, an update, and three log lines. So ``refresh_interval`` answers here by looking at
S3 (one ListObjectsV2): 0 when something changed, the configured number of seconds when nothing did. A new DAG is then
seen within a second, and an idle environment stays idle. Measured in ``docs/decisions/0002-dag-latency.md``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from airflow.dag_processing.bundles.base import BaseDagBundle

from skylift.aws.s3_objects import Listed, ObjectRef, S3Objects
from skylift.core.clock import Clock
from skylift.core.errors import SkyliftError
from skylift.core.names import split_s3_url

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
    """ETag by relative path, of the objects that can be DAG files.

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


class S3Bundle(BaseDagBundle):
    """DAGs from ``s3://bucket/prefix``.

    Args:
        url: where the DAGs are.
        objects: S3; made on first use when not given, so that the API server, which only asks for names, needs none.
        clock: seconds since the epoch.
        kwargs: Airflow's own: ``name``, ``refresh_interval``, ``version``, ``view_url_template``.
    """

    supports_versioning = False

    def __init__(
        self, *, url: str, objects: S3Objects | None = None, clock: Clock = time.time, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        bucket, prefix = split_s3_url(url)
        self._bucket = bucket
        self._prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
        self._objects = objects
        self._clock = clock
        self._changed_at: dict[str, float] = {}

    @property
    def path(self) -> Path:
        """The folder with the DAG files."""
        return Path(self.base_dir) / "dags"

    @property
    def refresh_interval(self) -> int:
        """Seconds between refreshes: 0 while S3 holds something that the folder does not (see the file's docstring)."""
        if not self.is_initialized:
            return self._quiet_interval
        try:
            return 0 if compare(self._listing(), self._manifest()) else self._quiet_interval
        except SkyliftError:
            return 0  # S3 cannot be read: let refresh() say so, whose errors Airflow logs and survives

    @refresh_interval.setter
    def refresh_interval(self, seconds: int) -> None:
        self._quiet_interval = seconds

    def initialize(self) -> None:
        """Brings the folder up to date; called in the DAG processor, and in each container that runs a DAG's task."""
        self.refresh()
        super().initialize()

    def refresh(self) -> None:
        """Makes the folder equal to the prefix in S3. Safe in several processes at once.

        Raises:
            Refused, Unavailable: S3 said no. Files that arrived stay.
        """
        with self.lock():
            self.path.mkdir(parents=True, exist_ok=True)
            wanted, have = self._listing(), self._manifest()
            changes = compare(wanted, have)
            if changes:
                for relative in changes.remove:
                    self._remove(relative)
                self._write_manifest({path: etag for path, etag in have.items() if path not in set(changes.remove)})
                arrived = self._download(changes.fetch)
                self._write_manifest({path: etag for path, etag in have.items() if path in wanted} | arrived)

    def get_current_version(self) -> None:
        """None: the bundle has no versions; each task attempt takes the newest files, as on MWAA."""
        return

    def __repr__(self) -> str:
        return f"S3Bundle(name={self.name!r}, url='s3://{self._bucket}/{self._prefix}')"

    def _download(self, paths: tuple[str, ...]) -> dict[str, str]:
        """Fetches files and returns their ETags.

        Airflow parses a file again when its mtime is later than the end of its last parse. A file that is replaced *while*
        it is being parsed would then wait for ``min_file_process_interval``; so a second change soon after the first
        gets an mtime that lies a little ahead, which costs one parse more and loses none.
        """
        workspace = Path(self.base_dir) / "arriving"
        workspace.mkdir(exist_ok=True)
        refs = [(ObjectRef(self._bucket, self._prefix + path), self.path / path) for path in paths]
        etags = self._s3().fetch_many(refs, workspace)
        now = self._clock()
        for path, etag in zip(paths, etags, strict=True):
            if etag is not None and now - self._changed_at.get(path, 0.0) < AGAIN_WITHIN:
                os.utime(self.path / path, (now + AHEAD, now + AHEAD))
            self._changed_at[path] = now
        return {path: etag for path, etag in zip(paths, etags, strict=True) if etag is not None}

    def _remove(self, relative: str) -> None:
        target = self.path / relative
        target.unlink(missing_ok=True)
        for folder in target.parents:
            if folder == self.path or not folder.is_dir() or any(folder.iterdir()):
                return
            folder.rmdir()

    def _listing(self) -> dict[str, str]:
        return wanted_files(self._s3().below(self._bucket, self._prefix), self._prefix)

    def _manifest(self) -> dict[str, str]:
        """What was fetched and is still there: ETag by relative path. Anything unreadable is fetched again."""
        try:
            known = json.loads((Path(self.base_dir) / "manifest.json").read_text())
            return {path: etag for path, etag in known.items() if (self.path / path).is_file()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _write_manifest(self, manifest: dict[str, str]) -> None:
        target = Path(self.base_dir) / "manifest.json"
        half = target.with_suffix(f".{os.getpid()}")
        half.write_text(json.dumps(manifest))
        half.replace(target)

    def _s3(self) -> S3Objects:
        if self._objects is None:
            self._objects = S3Objects()
        return self._objects
