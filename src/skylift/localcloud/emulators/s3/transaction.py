"""What one request changes among S3's files: all of it or nothing, whatever the disk does, and whenever the process is
killed.

New contents are written beside the files that they are to replace: that takes all the room that is needed. Then a note
of what is to be done is left (``commit``), the files are moved to their places, and the note goes. A start that finds a
note does it to its end.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from skylift.localcloud.state_file import write_file

NOTE = "s3.commit"
BESIDE = ".tmp"
"""Ministack leaves files with this ending alone."""


class Transaction:
    """Files to replace and files to remove, in order.

    Args:
        folder: where the note is left.
    """

    def __init__(self, folder: Path) -> None:
        self._note = folder / NOTE
        self._steps: list[tuple[str, str]] = []

    def write(self, path: str, content: bytes) -> None:
        """Puts new content beside a file. Raises ``OSError``."""
        beside = path + BESIDE
        self._steps = [step for step in self._steps if step != ("replace", path)] + [("replace", path)]
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)

    def remove(self, path: str) -> None:
        """A file is to go."""
        self._steps.append(("remove", path))

    def commit(self) -> None:
        """Does it all. Raises ``OSError`` before anything was done."""
        if len(self._steps) > 1:  # one step is whole by itself
            write_file(self._note, json.dumps(self._steps).encode())
        _do(self._steps)
        if len(self._steps) > 1:
            self._note.unlink()
        self._steps = []

    def abort(self) -> None:
        """Forgets it all."""
        for step, path in self._steps:
            if step == "replace":
                with suppress(OSError):
                    os.unlink(path + BESIDE)
        self._steps = []


def finish(folder: Path) -> None:
    """Does what a killed process had left a note of. A note that cannot be read was not whole: nothing of it had
    begun."""
    note = folder / NOTE
    try:
        steps = [(str(step), str(path)) for step, path in json.loads(note.read_bytes())]
    except FileNotFoundError:
        return
    except (ValueError, TypeError):
        steps = []
    _do(steps)
    note.unlink()


def _do(steps: list[tuple[str, str]]) -> None:
    for step, path in steps:
        with suppress(FileNotFoundError):  # done before
            if step == "replace":
                os.replace(path + BESIDE, path)
            else:
                os.unlink(path)
