"""A local working directory as a package for Ray: one zip file, the same bytes for the same files."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from skylift.anyscale.refusals import AnyscaleRefused

LEFT_OUT = (".git/", ".venv/", "venv/", "__pycache__/")
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
        excludes: patterns as in a ``.gitignore`` at the top of the folder: ``*.parquet``, ``/data/``, ``!keep.csv``.
            The folder's own files of this name count, too.

    Raises:
        AnyscaleRefused: there is no such folder, or it is too large.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise AnyscaleRefused(
            f"{folder} is no folder on the worker. Give a folder that is beside the DAG "
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


def put_in_bucket(bucket: str, name: str, content: bytes) -> str:
    """Puts a package into a bucket of the user's, unless it is there; returns its address.

    Args:
        bucket: ``s3://bucket`` or ``s3://bucket/prefix``.

    Raises:
        Refused: the worker's role may not write there.
        Unavailable: S3 does not answer.
    """
    from skylift.aws.s3_objects import S3Objects  # lazy: only who has such a bucket needs boto3

    where, _, prefix = bucket.removeprefix("s3://").strip("/").partition("/")
    key = f"{prefix}/{name}".lstrip("/")
    S3Objects().put_new(where, key, content)
    return f"s3://{where}/{key}"


def _files(root: Path, excludes: Sequence[str]) -> Iterator[Path]:
    import pathspec  # lazy: only packing needs it

    rules = [(root, pathspec.GitIgnoreSpec.from_lines([*LEFT_OUT, *excludes]))]

    def left_out(path: Path) -> bool:
        return any(
            spec.match_file(path.relative_to(top).as_posix() + "/" * path.is_dir())
            for top, spec in rules
            if path.is_relative_to(top)
        )

    for parent, folders, files in os.walk(root):
        here = Path(parent)
        if ".gitignore" in files:
            lines = (here / ".gitignore").read_text(errors="replace").splitlines()
            rules.append((here, pathspec.GitIgnoreSpec.from_lines(lines)))
        folders[:] = sorted(name for name in folders if not left_out(here / name))
        for name in sorted(files):
            if (path := here / name).is_file() and not left_out(path):
                yield path
