"""S3 objects that the containers of one machine share: each content is fetched once, and copied from there.

On a laptop each Airflow task's container would otherwise fetch the whole DAG folder from S3 for itself.
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
    """The newest content of each object. Safe in several processes at once; what goes wrong here costs a fetch, no
    more.

    Attributes:
        folder: made when something is put.
    """

    folder: Path

    def take(self, url: str, etag: str, target: Path) -> bool:
        """Copies the content with that ETag to ``target``, which is there whole or not at all; false when we do not
        have it.

        Args:
            target: replaced; its mtime is then now.
        """
        try:
            _copy(self._folder_of(url) / _name(etag), target)
        except OSError:
            return False
        return True

    def put(self, url: str, etag: str, source: Path) -> None:
        """Keeps a content, and forgets those that the object had before."""
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
