"""Writes files of state: whole or not at all, with the previous copy beside them, readable only by their owner."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from skylift.localcloud.damage import copy_of


def write_file(path: Path, content: bytes, *, copy: bool = False) -> None:
    """Replaces a file. Does not sync: this protects against a killed process, not against power loss.

    Args:
        copy: keep the replaced file as the previous copy; costs two operations on the folder.

    Raises:
        OSError: it cannot be written (a full disk); then it is unchanged.
    """
    replace_file(path, write_beside(path, content), copy=copy)


def write_beside(path: Path, content: bytes) -> Path:
    """The first half of ``write_file``: everything that needs disk space. Raises ``OSError``."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    return beside


def replace_file(path: Path, beside: Path, *, copy: bool = False) -> None:
    """The second half. Raises ``OSError``."""
    if copy:
        keep_copy(path)
    try:
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def keep_copy(path: Path) -> None:
    """Keeps a file that will be replaced as its previous copy, if the file system can: the file itself matters
    more."""
    link = path.with_name(f"{path.name}.linked")
    with suppress(OSError):
        link.unlink(missing_ok=True)
        os.link(path, link)
        link.replace(copy_of(path))


def copy_content(path: Path) -> None:
    """Copies a small file that never changes, once it is known to be whole."""
    with suppress(OSError):
        content, copy = path.read_bytes(), copy_of(path)
        if not copy.exists() or copy.read_bytes() != content:
            write_file(copy, content)
