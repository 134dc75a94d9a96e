"""A folder kept equal to a prefix in S3: changed files are downloaded, vanished files are removed.

A manifest next to the folder contains the ETag of each file; comparing it with one listing shows what differs. Not safe
in several processes at once: the caller holds a lock.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import shutil
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from skylift.aws.s3_objects import Listed, ObjectRef, S3Objects
from skylift.core import file_paths
from skylift.core.clock import Clock
from skylift.core.errors import Refused
from skylift.core.names import s3_url, split_s3_url
from skylift.runtime.object_cache import ObjectCache

LOG = logging.getLogger(__name__)

AGAIN_WITHIN = 60.0
"""A file that changes twice within this many seconds may change while Airflow parses it (see ``_download``)."""

AHEAD = 3.0
"""How many seconds the mtime of the second change is in the future."""

LONGEST_NAME = 251
"""Most bytes in a file's name. Airflow's DAG processor writes a log for each file, with its name plus ``.log``, and
exits when it cannot."""

AGAIN_AFTER = 60.0
"""Seconds after which an object that could not be downloaded is tried again."""

MOST_WARNINGS = 20
"""Keys that are named in the warnings of one refresh; of the others only the number is logged."""

ABOUT_THE_NAME = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
        errno.EPERM,
    }
)
"""Errors of the operating system that concern one file only. Any other error (a full disk) stops the refresh."""


@dataclass(frozen=True)
class _Aside:
    """An object that could not be downloaded: its ETag at that time, and when to try again."""

    etag: str
    until: float


@dataclass(frozen=True)
class Changes:
    """What must be done so that the folder equals the listing: relative paths."""

    fetch: tuple[str, ...]
    remove: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.fetch or self.remove)


@dataclass(frozen=True)
class Keys:
    """The objects of a listing, by path relative to the prefix.

    Attributes:
        files: the ETag of each object that can be a file in the folder.
        unfit: why each of the others cannot. Folder markers (empty, with a slash at the end) and ``__pycache__`` are in
            neither.
    """

    files: Mapping[str, str]
    unfit: Mapping[str, str]


def sort_keys(listing: Iterable[Listed], prefix: str, case_matters: bool = True) -> Keys:
    """Decides which objects below a prefix can be files in one folder. S3 takes almost any text as a key; a file system
    does not.

    Args:
        case_matters: whether ``A`` and ``a`` are different files on the folder's file system.
    """
    files: dict[str, str] = {}
    unfit: dict[str, str] = {}
    spelt: dict[str, str] = {}
    for entry in listing:
        path = entry.key[len(prefix) :]
        marker = not path or (path.endswith("/") and not entry.size)
        if marker or "__pycache__" in path.split("/"):
            continue
        other = spelt.setdefault(path if case_matters else path.casefold(), path)
        if reason := file_paths.unfit(path):
            unfit[path] = reason
        elif (size := len(path.rpartition("/")[2].encode())) > LONGEST_NAME:
            unfit[path] = f"has a name of {size} bytes; Airflow's log of it, .log longer, would have more than 255"
        elif other != path:
            unfit[path] = f"differs from {other!r} only in case, which this file system does not see"
        else:
            files[path] = entry.etag
    folders = {parent for path in files for parent in _folders_of(path)}
    for path in folders & files.keys():
        del files[path]
        unfit[path] = "is a folder, too: other keys lie below it"
    return Keys(files, unfit)


def _folders_of(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def compare(wanted: Mapping[str, str], have: Mapping[str, str]) -> Changes:
    """The differences between S3 (wanted) and the folder (have); both are ETags by relative path."""
    fetch = tuple(path for path, etag in wanted.items() if have.get(path) != etag)
    return Changes(fetch, tuple(path for path in have if path not in wanted))


class Mirror:
    """``base/dags`` as the mirror of ``s3://bucket/prefix``.

    Args:
        url: the prefix.
        base: our folder: the mirror, the manifest, and files being downloaded.
        objects: S3; created at first use when not given, because some processes name a bundle but never open it.
        clock: seconds since the epoch.
        cache: contents that other containers of this machine have downloaded.
    """

    def __init__(
        self,
        url: str,
        base: Path,
        objects: S3Objects | None = None,
        clock: Clock = time.time,
        cache: ObjectCache | None = None,
    ) -> None:
        bucket, prefix = split_s3_url(url)
        self.url = url
        self.folder = base / "dags"
        self._bucket = bucket
        self._prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
        self._base = base
        self._objects = objects
        self._clock = clock
        self._cache = cache
        self._changed_at: dict[str, float] = {}
        self._aside: dict[str, _Aside] = {}
        self._told: Mapping[str, str] = {}

    def differs(self) -> bool:
        """Whether S3 and the folder differ: one listing, no download."""
        return bool(self._changes(self._listing(), self._manifest()))

    def refresh(self) -> Changes:
        """Makes the folder equal to the prefix. A key that cannot be a file, or cannot be downloaded, is skipped with a
        warning.

        Raises:
            Refused: S3 refuses everything below this prefix.
            Unavailable: S3 cannot be reached. Downloaded files stay, and are downloaded again next time.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted, have = self._listing(), self._manifest()
        changes = self._changes(wanted, have)
        if changes:
            for relative in changes.remove:
                self._remove(relative)
            arrived = self._download({path: wanted[path] for path in changes.fetch}, others=bool(have))
            self._write_manifest({path: etag for path, etag in have.items() if path in wanted} | arrived)
        return changes

    def _changes(self, wanted: Mapping[str, str], have: Mapping[str, str]) -> Changes:
        """Like ``compare``, without objects whose download failed a moment ago."""
        changes = compare(wanted, have)
        self._aside = {path: aside for path, aside in self._aside.items() if wanted.get(path) == aside.etag}
        now = self._clock()
        due = (path for path in changes.fetch if path not in self._aside or self._aside[path].until <= now)
        return Changes(tuple(due), changes.remove)

    def _download(self, wanted: Mapping[str, str], *, others: bool) -> dict[str, str]:
        """Downloads files (ETag by path) and returns the ETags that they have. ``others``: whether there are files
        already.

        Airflow parses a file again when its mtime is later than the end of its last parse. A file that is replaced
        *during* a parse would then wait for ``min_file_process_interval``. So a second change soon after the first
        gets an mtime slightly in the future: that costs one more parse, but misses no change.
        """
        arrived = {path: etag for path, etag in wanted.items() if self._at_hand(path, etag)}
        left = {path: etag for path, etag in wanted.items() if path not in arrived}
        arrived |= self._fetched(left, others=others or bool(arrived))
        now = self._clock()
        for path in wanted:
            if path in arrived and now - self._changed_at.get(path, 0.0) < AGAIN_WITHIN:
                os.utime(self.folder / path, (now + AHEAD, now + AHEAD))
            self._changed_at[path] = now
        return arrived

    def _at_hand(self, path: str, etag: str) -> bool:
        with contextlib.suppress(OSError):  # the download meets the same error, and reports it
            self._make_way(path)
            return self._cache is not None and self._cache.take(self._url_of(path), etag, self.folder / path)
        return False

    def _fetched(self, wanted: Mapping[str, str], *, others: bool) -> dict[str, str]:
        if not wanted:
            return {}
        workspace = self._base / "arriving"
        workspace.mkdir(exist_ok=True)
        refs = [(ObjectRef(self._bucket, self._prefix + path), self.folder / path) for path in wanted]
        results = dict(zip(wanted, self._s3().fetch_many(refs, workspace), strict=True))
        arrived = {path: result for path, result in results.items() if isinstance(result, str)}
        for path in [path for path in arrived if self._poison(path)]:
            self._aside[path] = _Aside(arrived.pop(path), math.inf)
            del results[path]
        for path, etag in arrived.items():
            if self._cache is not None:
                self._cache.put(self._url_of(path), etag, self.folder / path)
        failed = {path: result for path, result in results.items() if not isinstance(result, str)}
        self._set_aside(failed, wanted, others=others or bool(arrived))
        return arrived

    def _poison(self, path: str) -> bool:
        """Whether a file would end Airflow's DAG processor, which opens every zip, whatever its name. Such a file is
        removed."""
        file = self.folder / path
        if path.endswith(".py") or not zipfile.is_zipfile(file):
            return False
        from skylift.runtime.archive import unreadable_member  # lazy: few people have zips among their DAGs

        reason = unreadable_member(file)
        if reason:
            file.unlink(missing_ok=True)
            self._warn(path, reason)
        return bool(reason)

    def _set_aside(
        self, failed: Mapping[str, Refused | OSError | None], wanted: Mapping[str, str], *, others: bool
    ) -> None:
        """Remembers objects that could not be downloaded, so that the rest continues. Raises errors that are not about
        single keys.

        Args:
            wanted: ETags by path.
            others: whether any other object of the prefix could be downloaded; if not, S3 refuses the whole prefix.
        """
        now = self._clock()
        for path, error in failed.items():
            if isinstance(error, OSError) and error.errno not in ABOUT_THE_NAME:
                raise error
            if isinstance(error, Refused) and not others:
                raise error
            if error is None and path not in self._aside:
                self._aside[path] = _Aside(wanted[path], now)  # probably deleted a moment ago: try again at once
                continue
            self._aside[path] = _Aside(wanted[path], now + AGAIN_AFTER)
            reason = error.strerror if isinstance(error, OSError) else error
            self._warn(path, f"cannot be had: {reason or 'S3 lists it, but has no such object'}")

    def _url_of(self, path: str) -> str:
        return s3_url(self._bucket, self._prefix + path)

    def _make_way(self, relative: str) -> None:
        """Removes what is in the way of our file: a folder that user code filled, or a file that was no DAG file."""
        target = self.folder / relative
        for folder in _folders_of(relative):
            if (self.folder / folder).is_file():
                (self.folder / folder).unlink()
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)

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

    def _listing(self) -> Mapping[str, str]:
        case_matters = not (self.folder.exists() and self.folder.with_name(self.folder.name.upper()).exists())
        found = sort_keys(self._s3().below(self._bucket, self._prefix), self._prefix, case_matters)
        fresh = [path for path, reason in found.unfit.items() if self._told.get(path) != reason]
        for path in fresh[:MOST_WARNINGS]:
            self._warn(path, found.unfit[path])
        if len(fresh) > MOST_WARNINGS:
            LOG.warning("%d more keys below %s are left out for such reasons", len(fresh) - MOST_WARNINGS, self.url)
        self._told = found.unfit
        return found.files

    def _warn(self, path: str, reason: object) -> None:
        url = self._url_of(path)
        LOG.warning(
            "the key %r is left out, and nothing else: it %s", url if len(url) < 300 else url[:250] + "…", reason
        )

    def _manifest(self) -> dict[str, str]:
        """The files that were downloaded and still exist: ETag by relative path. Unreadable ones are downloaded
        again."""
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


DAGS_FOLDER = "AIRFLOW__CORE__DAGS_FOLDER"


def copy_dags(url: str, environ: Mapping[str, str]) -> Path:
    """Copies what is below ``s3://bucket/prefix`` into Airflow's DAG folder, at a container's start; other files of
    the folder stay. Returns the folder.

    Raises:
        Refused: it is no such URL, S3 refuses it, or the folder cannot be written.
        Unavailable: S3 cannot be reached.
    """
    home = Path(environ["AIRFLOW_HOME"])
    folder = Path(environ.get(DAGS_FOLDER) or home / "dags")
    try:
        mirror = Mirror(url, home / ".dags-from-s3")
        mirror.folder.parent.mkdir(parents=True, exist_ok=True)
        mirror.refresh()
        shutil.copytree(mirror.folder, folder, dirs_exist_ok=True)
    except (OSError, ValueError) as error:
        raise Refused(f"the DAGs of {url} cannot be copied to {folder}: {error}") from error
    return folder
