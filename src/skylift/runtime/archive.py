"""Archives: a layer's tar.gz (the same content gives the same bytes), and the user's plugins.zip, which is not trusted."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

from skylift.core.errors import Refused

MOST_UNPACKED = 2 * 1024**3
"""Bytes that a plugins.zip may hold unpacked."""

SAME_TIME = 1_577_836_800
"""mtime of everything in a layer (2020-01-01): bytecode in it is checked by nobody, so it need not agree."""


class ArchiveFailed(Refused):
    """The archive cannot be used; the text says which member and why."""


def pack_tar(folder: Path, target: Path) -> None:
    """Writes ``folder``'s content as a tar.gz: sorted, no owner, one time, level 1 (layers are read more than stored)."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = SAME_TIME
        member.mode = 0o755 if member.isdir() or member.mode & stat.S_IXUSR else 0o644
        return member

    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            tar.add(path, str(path.relative_to(folder)), recursive=False, filter=plain)


def unpack_tar(archive: Path, target: Path) -> None:
    """Unpacks a layer. Members that would leave ``target`` are refused.

    Raises:
        ArchiveFailed: not an archive, or such a member.
    """
    target.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                _refuse_outside(member.name)
            if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later
                tar.extractall(target, filter="data")
            else:
                tar.extractall(target)  # noqa: S202  # names are checked above, and a layer holds no links
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise ArchiveFailed(f"{archive.name} cannot be unpacked: {error}") from error


def unpack_zip(archive: Path, target: Path, most: int = MOST_UNPACKED) -> None:
    """Unpacks a user's zip: plain files only, none outside ``target``, at most ``most`` bytes.

    Raises:
        ArchiveFailed: not a zip, broken, too large, encrypted, or a member that would leave the folder.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            if sum(member.file_size for member in members) > most:
                raise ArchiveFailed(f"it holds more than {most // 1024**2} MB")
            for member in members:
                place = _place(member, target)
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, place.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                if (member.external_attr >> 16) & stat.S_IXUSR:
                    place.chmod(0o755)
    except (zipfile.BadZipFile, RuntimeError, OSError) as error:  # RuntimeError: encrypted, or an unknown compression
        raise ArchiveFailed(f"it cannot be unpacked: {error}") from error


def _place(member: zipfile.ZipInfo, target: Path) -> Path:
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ArchiveFailed(f"{member.filename!r} is a symbolic link")
    _refuse_outside(member.filename)
    return target.joinpath(*Path(member.filename.replace("\\", "/")).parts)


def _refuse_outside(name: str) -> None:
    parts = Path(name.replace("\\", "/")).parts
    if ".." in parts or os.path.isabs(name) or not parts:
        raise ArchiveFailed(f"{name!r} would be written outside its folder")
