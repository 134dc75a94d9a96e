"""Archives: a layer's tar.gz (the same content gives the same bytes), and the user's untrusted plugins.zip."""

from __future__ import annotations

import errno
import gzip
import lzma
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from skylift.core.errors import Refused, Unavailable
from skylift.core.file_paths import unfit

MOST_UNPACKED = 2 * 1024**3
"""Most bytes that a plugins.zip may unpack to."""

MOST_MEMBERS = 100_000
"""Most members that a plugins.zip may have."""

SAME_TIME = 1_577_836_800
"""mtime of everything in a layer (2020-01-01). Its bytecode is not checked against the source, so any time will do."""

ENCRYPTED = 0x1
FOLDER = 0x10
"""MS-DOS's attribute of a folder; the Unix mode, if any, is in the upper half of ``external_attr``."""

NOT_AN_ARCHIVE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    LookupError,  # a header that is too short
    ValueError,  # a name that its encoding cannot decode, or an invalid date
    RuntimeError,  # a compression that Python does not support
    OSError,  # raised by bz2 and gzip
)
"""What Python's readers raise for a broken archive, or for bytes that are no archive of that kind."""

FULL = (errno.ENOSPC, errno.EDQUOT)


class ArchiveFailed(Refused):
    """The archive cannot be used; the text says which member and why."""


def pack_tar(folder: Path, target: Path) -> None:
    """Writes ``folder``'s content as a tar.gz: sorted, without owners, with one time, level 1 (layers are read more
    often than written)."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = SAME_TIME
        member.mode = 0o755 if member.isdir() or member.mode & stat.S_IXUSR else 0o644
        return member

    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed,
        # Without links: uv may install two equal files as one file with two names.
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, dereference=True) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            tar.add(path, str(path.relative_to(folder)), recursive=False, filter=plain)


def unpack_tar(archive: Path, target: Path) -> None:
    """Unpacks a layer: plain files and folders, none outside ``target``.

    Raises:
        ArchiveFailed: not an archive, or another member.
        Unavailable: the disk is full.
    """
    target.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if not (member.isfile() or member.isdir()):
                    raise ArchiveFailed(f"{member.name!r} is neither a file nor a folder")
                if ".." in member.name.split("/") or member.name.startswith("/"):
                    raise ArchiveFailed(f"{member.name!r} would be written outside its folder")
            if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later
                tar.extractall(target, filter="data")
            else:
                tar.extractall(target)  # noqa: S202  # names and kinds are checked above
    except NOT_AN_ARCHIVE as error:
        raise _told(error, f"{archive.name} cannot be unpacked") from error


def unpack_zip(archive: Path, target: Path, most: int = MOST_UNPACKED) -> None:
    """Unpacks a user's zip: plain files only, none outside ``target``, at most ``most`` bytes.

    Everything is checked before the first byte is written.

    Raises:
        ArchiveFailed: not a zip, broken, too large, encrypted, or a member that cannot be a file of its own below
            ``target``.
        Unavailable: the disk is full.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            for path, member in files_of(opened.infolist(), most).items():
                place = target / path
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, place.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)  # zipfile stops at the member's declared size
                if (member.external_attr >> 16) & stat.S_IXUSR:
                    place.chmod(0o755)
    except NOT_AN_ARCHIVE as error:
        raise _told(error, "it cannot be unpacked") from error


def unreadable_member(archive: Path, most: int = MOST_UNPACKED) -> str:
    """Why a zip cannot be read to its end; empty if it can, or if it is no zip at all. The text continues a sentence
    that begins with the file's name."""
    try:
        with zipfile.ZipFile(archive) as opened:
            left = most
            for member in opened.infolist():
                with opened.open(member) as source:
                    while left > 0 and (block := source.read(1 << 20)):
                        left -= len(block)
    except zipfile.BadZipFile:
        return ""
    except NOT_AN_ARCHIVE as error:
        return f"is a zip that cannot be read: {error or type(error).__name__}"
    return ""


def files_of(members: Iterable[zipfile.ZipInfo], most: int = MOST_UNPACKED) -> dict[str, zipfile.ZipInfo]:
    """The members that become files, by their path below the folder, without members that are folders.

    Raises:
        ArchiveFailed: a member may not become a file, two would be the same file, or all together are too large.
    """
    files: dict[str, zipfile.ZipInfo] = {}
    size = 0
    for number, member in enumerate(members):
        path = _path(member)
        if not path:
            continue
        size += member.file_size
        if number >= MOST_MEMBERS:
            raise ArchiveFailed(f"it has more than {MOST_MEMBERS} members")
        if size > most:
            raise ArchiveFailed(f"it holds more than {most // 1024**2} MB")
        other = files.setdefault(path, member)
        if (other.CRC, other.file_size) != (member.CRC, member.file_size):
            raise ArchiveFailed(f"{path!r} is in it twice, with different contents; keep one of them")
    folders = {parent for path in files for parent in _parents(path)}
    if both := sorted(folders & set(files)):
        raise ArchiveFailed(f"{both[0]!r} is a file in it and a folder, too; rename one of them")
    return files


def _path(member: zipfile.ZipInfo) -> str:
    """The path of a member, with ``/`` between its parts; empty for a folder.

    Windows' tools write ``\\`` between the parts, so it is replaced by ``/`` before any check.
    """
    given = member.orig_filename
    name = given.replace("\\", "/")
    if not name:
        raise ArchiveFailed("it has a member without a name")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        raise ArchiveFailed(f"{given!r} would be written outside its folder")
    if _is_folder(member, name):
        return ""
    path = "/".join(part for part in name.split("/") if part not in {"", "."})
    if reason := unfit(path):
        raise ArchiveFailed(f"the name {given[:300]!r} {reason}; rename it")
    return path


def _is_folder(member: zipfile.ZipInfo, name: str) -> bool:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise ArchiveFailed(f"{member.filename!r} is a symbolic link; put the file itself in its place")
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ArchiveFailed(f"{member.filename!r} is neither a file nor a folder")
    if member.flag_bits & ENCRYPTED:
        raise ArchiveFailed(f"{member.filename!r} is encrypted; make the zip without a password")
    return name.endswith("/") or (
        member.file_size == 0 and (kind == stat.S_IFDIR or bool(member.external_attr & FOLDER))
    )


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def _told(error: Exception, what: str) -> Refused | Unavailable:
    if isinstance(error, OSError) and error.errno in FULL:
        return Unavailable(f"{what}: {error.strerror}; free some disk space")
    return ArchiveFailed(f"{what}: {error or type(error).__name__}")
