"""The changes of one request to S3's files: all or none, whatever the disk does, and whenever the process is killed.

New contents are written next to the files that they replace; this takes all the disk space that is needed. Then a note
of the steps is written (``commit``), the files are moved into place, and the note is removed. A start that finds a note
completes its steps.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from skylift.localcloud.state_file import write_file

NOTE = "s3.commit"
BESIDE = ".tmp"
"""Ministack ignores files with this ending."""


class Transaction:
    """Files to replace and files to remove, in order.

    Args:
        folder: where the note is written.
    """

    def __init__(self, folder: Path) -> None:
        self._note = folder / NOTE
        self._steps: list[tuple[str, str]] = []

    def write(self, path: str, content: bytes) -> None:
        """Writes new content next to a file. Raises ``OSError``."""
        beside = path + BESIDE
        self._steps = [step for step in self._steps if step != ("replace", path)] + [("replace", path)]
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)

    def remove(self, path: str) -> None:
        """Adds a file to remove."""
        self._steps.append(("remove", path))

    def commit(self) -> None:
        """Applies all steps. Raises ``OSError`` before anything was changed."""
        if len(self._steps) > 1:  # a single step is atomic by itself
            write_file(self._note, json.dumps(self._steps).encode())
        _do(self._steps)
        if len(self._steps) > 1:
            self._note.unlink()
        self._steps = []

    def abort(self) -> None:
        """Drops all steps."""
        for step, path in self._steps:
            if step == "replace":
                with suppress(OSError):
                    os.unlink(path + BESIDE)
        self._steps = []


def finish(folder: Path) -> None:
    """Completes the steps in a note that a killed process left. A note that cannot be read is incomplete: none of its
    steps had begun."""
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
