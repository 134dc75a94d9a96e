"""A journal: every change is a line on disk before its answer. A killed process loses no change, and the cost of a
change does not grow with the size of the state.

Now and then the whole state is written. It contains the number of the journal that continues it. So a crash between
writing the whole and removing the older journals replays nothing twice.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from skylift.localcloud.damage import damaged


class Journal:
    """Appends lines of JSON to ``{folder}/{name}-{number}.journal``.

    Attributes:
        number: of the journal that is being written.
        size: bytes of all journals that are still needed.
    """

    def __init__(
        self, folder: Path, name: str, number: int = 0, encode: Callable[[Any], Any] | None = None, holds: str = ""
    ) -> None:
        """
        Args:
            encode: ``default`` of ``json.dumps``.
            holds: what the journal contains, for the message when it is damaged.
        """
        self._folder = folder
        self._name = name
        self._encode = encode
        self._holds = holds
        self._descriptor = -1
        self.number = number
        self.size = self._on_disk()

    def append(self, *entries: Any) -> int:
        """Writes all entries or none. Returns their offset, for ``take_back``.

        Raises:
            OSError: the disk is full.
        """
        if self._descriptor < 0:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._descriptor = os.open(self._path(self.number), flags, 0o600)
        lines = (json.dumps(entry, separators=(",", ":"), default=self._encode).encode() + b"\n" for entry in entries)
        content = b"".join(lines)
        begin = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, content)
            if written < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path(self.number)))
        except OSError:
            os.ftruncate(self._descriptor, begin)
            raise
        self.size += written
        return begin

    def take_back(self, begin: int) -> None:
        """Removes what the last ``append`` wrote, because the change was refused."""
        self.size -= os.fstat(self._descriptor).st_size - begin
        os.ftruncate(self._descriptor, begin)

    def next(self) -> int:
        """Starts the journal that continues the whole file now being written; returns its number."""
        self.close()
        self.number += 1
        return self.number

    def forget_before(self, number: int) -> None:
        """Removes the journals that a whole file has made unnecessary."""
        for path in self._all():
            if self._number_of(path) < number:
                path.unlink(missing_ok=True)
        self.size = self._on_disk()

    def close(self) -> None:
        """Closes the file; a later ``append`` opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def entries(self, hook: Callable[[dict[str, Any]], Any] | None = None) -> Iterator[Any]:
        """The entries since the whole file, from our number on. An incomplete last line (after a crash) is cut off.

        Raises:
            Damaged: another line cannot be read.
        """
        numbers = sorted(self._number_of(path) for path in self._all())
        for number in (number for number in numbers if number >= self.number):
            path, good = self._path(number), 0
            with path.open("rb") as lines:
                for place, line in enumerate(lines, 1):
                    if not line.endswith(b"\n"):
                        break
                    good += len(line)
                    yield self._read(path, place, line, hook)
            if good < path.stat().st_size:  # or the next line would be written behind the piece
                os.truncate(path, good)
            self.number = number

    def _read(self, path: Path, place: int, line: bytes, hook: Callable[[dict[str, Any]], Any] | None) -> Any:
        try:
            return json.loads(line, object_hook=hook)
        except ValueError as error:
            without = "What changed since the whole was written last is lost then."
            raise damaged(path, f"line {place} is not JSON: {error}", self._holds, without) from error

    def _all(self) -> list[Path]:
        return list(self._folder.glob(f"{self._name}-*.journal"))

    def _on_disk(self) -> int:
        return sum(path.stat().st_size for path in self._all())

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._name}-{number:08d}.journal"

    def _number_of(self, path: Path) -> int:
        return int(path.stem.removeprefix(f"{self._name}-"))
