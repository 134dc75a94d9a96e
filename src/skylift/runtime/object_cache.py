"""S3 objects that the containers of one machine share: each content is downloaded once, and copied from here.

Otherwise each Airflow task's container on a laptop would download the whole DAG folder from S3.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4


@dataclass(frozen=True)
class ObjectCache:
    """The newest content of each object. Safe in several processes at once; an error here only costs another download.

    Attributes:
        folder: created at the first ``put``.
    """

    folder: Path

    def take(self, url: str, etag: str, target: Path) -> bool:
        """Copies the content with that ETag to ``target``, completely or not at all; false when it is not in the cache.

        Args:
            target: replaced; its mtime becomes the current time.
        """
        try:
            _copy(self._folder_of(url) / _name(etag), target)
        except OSError:
            return False
        return True

    def put(self, url: str, etag: str, source: Path) -> None:
        """Stores a content, and removes the object's earlier ones."""
        folder = self._folder_of(url)
        with contextlib.suppress(OSError):  # a full disk, say
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            old = [path for path in folder.iterdir() if path.name != _name(etag)]
            _copy(source, folder / _name(etag))
            for path in old:
                path.unlink(missing_ok=True)

    def _folder_of(self, url: str) -> Path:
        return self.folder / hashlib.sha256(url.encode()).hexdigest()[:32]


def _name(etag: str) -> str:
    return hashlib.sha256(etag.encode()).hexdigest()[:32]


def _copy(source: Path, target: Path) -> None:
    # A name of its own: the target's may be as long as the file system allows, and containers may have the same process
    # id.
    half = target.with_name(f".{uuid4().hex}.part")
    try:
        shutil.copyfile(source, half)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)
