"""A local working directory as a package for Ray: one zip file, the same bytes for the same files."""

from __future__ import annotations

import fnmatch
import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from skylift.anyscale.refusals import AnyscaleRefused

LEFT_OUT = (".git", ".venv", "venv", "__pycache__")
MOST_BYTES = 500 * 1024 * 1024
"""Ray's own limit for a package."""
TOP = "working_dir"
"""Ray expects exactly one folder at the top of a package, and goes into it."""


def is_remote(place: str) -> bool:
    """Whether it is an address (``s3://``, ``https://``), which Anyscale fetches itself."""
    return "://" in place


def package(folder: str, excludes: Sequence[str]) -> bytes:
    """The zip file of a folder.

    Args:
        excludes: patterns like ``*.parquet`` or ``data/``, of names or of paths below the folder.

    Raises:
        AnyscaleRefused: there is no such folder, or it is too large.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise AnyscaleRefused(
            f"working_dir {folder} is no folder on the worker. Give a folder that is beside the DAG "
            "(Path(__file__).parent / 'scripts'), or the address of a zip file (s3://..., https://...)."
        )
    memory, total = io.BytesIO(), 0
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(root, excludes):
            content = path.read_bytes()
            total += len(content)
            if total > MOST_BYTES:
                raise AnyscaleRefused(
                    f"working_dir {folder} has more than {MOST_BYTES // 2**20} MB. Leave data out with excludes=[...], "
                    "or put it into a bucket and read it from there."
                )
            # The date is fixed: the same files are then the same package, which is uploaded once.
            entry = zipfile.ZipInfo(f"{TOP}/{path.relative_to(root).as_posix()}", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (path.stat().st_mode & 0o777) << 16
            archive.writestr(entry, content)
    if not total:
        raise AnyscaleRefused(f"working_dir {folder} has no files (after excludes): there is nothing to run.")
    return memory.getvalue()


def _files(root: Path, excludes: Sequence[str]) -> Iterator[Path]:
    for parent, folders, files in os.walk(root):
        here = Path(parent).relative_to(root)
        folders[:] = sorted(name for name in folders if not _is_excluded((here / name).as_posix(), excludes))
        for name in sorted(files):
            path = Path(parent) / name
            if path.is_file() and not _is_excluded((here / name).as_posix(), excludes):
                yield path


def _is_excluded(path: str, excludes: Sequence[str]) -> bool:
    name = path.rpartition("/")[2]
    if name in LEFT_OUT:
        return True
    patterns = [pattern.strip("/") for pattern in excludes]
    return any(fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(name, pattern) for pattern in patterns)
