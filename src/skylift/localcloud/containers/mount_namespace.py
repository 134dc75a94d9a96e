"""A process's own view of the file system, in which a container's volumes are mounted.

The process gets a mount namespace, and a user namespace if it is not root's. A mount point that exists is mounted over.
One that does not (``/opt/ml``) needs a folder that can take it: then its parents are made anew in memory and show what
is in the real ones, as bubblewrap does. Nobody else sees any of it, and it ends with the last process in it.

Only processes with one thread can do so: a container's, before its program. Imports only the standard library, because
a shim loads this file by its path. Run as ``python -I -S mount_namespace.py``: without arguments it tries, and says why
it cannot; ``PID FOLDER PROGRAM ARGUMENT...`` runs a program in the namespaces of another process.
Sources: mount_namespaces(7), user_namespaces(7), pivot_root(2), mount_setattr(2).
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping

FOLDER, LINK, TREE, FILE = "folder", "link", "tree", "file"
"""Steps: make a folder anew, copy a symbolic link, bind a folder with all that is mounted below, bind a file."""

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_BIND, _REC, _PRIVATE = 0x1000, 0x4000, 0x40000
_NOSUID, _NODEV, _DETACH = 2, 4, 2
_RDONLY_ATTRIBUTE, _RECURSIVE, _MOUNT_SETATTR, _PIVOT_ROOT = 1, 0x8000, 442, {"x86_64": 155, "aarch64": 41}
_OLD, _NEW = "/old", "/new"

Look = Callable[[str], Mapping[str, str]]
"""The entries of a folder and what each is (``LINK``, ``TREE``, ``FILE``); raises ``OSError``: it is no folder."""

Mount = tuple[str, str, bool]
"""Source, mount point, and whether the container may only read it."""


def plan(points: Iterable[str], look: Look) -> list[tuple[str, str]]:
    """How a root is built in which each mount point has a place: steps and paths, in order. Pure.

    Args:
        points: absolute paths without symbolic links.
        look: reads the real file system.
    """
    points = sorted(points)
    anew = {"/"}
    for point in points:
        if not _inside_another(point, points) and not _exists(point, look):
            anew |= {parent for parent in _parents(point) if _exists(parent, look)}
    steps: list[tuple[str, str]] = []

    def show(folder: str) -> None:
        for name, kind in sorted(look(folder).items()):
            path = os.path.join(folder, name)
            steps.append((FOLDER if path in anew else kind, path))
            if path in anew:
                show(path)

    show("/")
    return steps


def enter(mounts: Iterable[Mount], read_only: bool, spare: str) -> None:
    """Puts this process into a file system of its own. Raises ``OSError``; then the process must not go on.

    Args:
        mounts: sources exist, mount points are absolute.
        read_only: whether everything but what is mounted (and ``/dev/shm``) can only be read.
        spare: an empty folder.
    """
    wanted = sorted((os.path.realpath(point), os.path.realpath(source), locked) for source, point, locked in mounts)
    if read_only and os.path.isdir("/dev/shm"):  # noqa: S108 - shared memory, not a temporary file
        wanted.insert(0, ("/dev/shm", "/dev/shm", False))  # noqa: S108
    points = [point for point, _, _ in wanted]
    steps = plan(points, look_at)
    _unshare()
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", spare, "tmpfs", _NOSUID | _NODEV, "mode=755")
    os.mkdir(spare + _OLD)
    os.mkdir(spare + _NEW)
    _pivot(spare, spare + _OLD)
    os.chdir("/")
    _mount("tmpfs", _NEW, "tmpfs", _NOSUID | _NODEV, "mode=755")
    for kind, path in steps:
        try:
            _show(kind, path)
        except (FileNotFoundError, PermissionError):
            continue  # it is gone meanwhile, or a file system of another user
    for point, source, _ in wanted:
        if not _inside_another(point, points):
            _make(point, source)
    if read_only:
        _lock(_NEW, _RECURSIVE)
    for point, source, _ in wanted:
        _make(point, source)
        _mount(_OLD + source, _NEW + point, None, _BIND | _REC)
    for point, _, locked in wanted:
        if locked:
            _lock(_NEW + point, 0)
    _checked(_libc().umount2(_OLD.encode(), _DETACH))
    before = os.open("/", os.O_RDONLY)
    os.chdir(_NEW)
    _pivot(".", ".")
    os.fchdir(before)
    _checked(_libc().umount2(b".", _DETACH))
    os.close(before)
    os.chdir("/")


def join(pid: int) -> None:
    """Puts this process into another one's view. Raises ``OSError``."""
    spaces = [("mnt", _NEWNS)]
    if os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user"):
        spaces.insert(0, ("user", _NEWUSER))
    opened = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), kind) for name, kind in spaces]
    for descriptor, kind in opened:
        _checked(_libc().setns(descriptor, kind))
        os.close(descriptor)


def look_at(folder: str) -> dict[str, str]:
    """The entries of a real folder (``Look``)."""
    with os.scandir(folder) as entries:
        return {
            entry.name: LINK if entry.is_symlink() else TREE if entry.is_dir(follow_symlinks=False) else FILE
            for entry in entries
        }


def _parents(path: str) -> list[str]:
    found = []
    while (path := os.path.dirname(path)) != "/":
        found.append(path)
    return found


def _inside_another(point: str, points: Iterable[str]) -> bool:
    return any(parent in points for parent in _parents(point))


def _exists(path: str, look: Look) -> bool:
    folder, name = os.path.split(path)
    if folder != "/" and not _exists(folder, look):
        return False
    return name in look(folder)


def _show(kind: str, path: str) -> None:
    there, here = _OLD + path, _NEW + path
    if kind == LINK:
        os.symlink(os.readlink(there), here)
    elif kind == FILE:
        os.close(os.open(here, os.O_CREAT, 0o600))
        _mount(there, here, None, _BIND)
    else:
        os.mkdir(here)
        os.chmod(here, stat.S_IMODE(os.stat(there).st_mode))
        if kind == TREE:
            _mount(there, here, None, _BIND | _REC)


def _make(point: str, source: str) -> None:
    if os.path.isdir(_OLD + source):
        os.makedirs(_NEW + point, exist_ok=True)
    elif not os.path.exists(_NEW + point):
        os.makedirs(os.path.dirname(_NEW + point), exist_ok=True)
        os.close(os.open(_NEW + point, os.O_CREAT, 0o644))


def _unshare() -> None:
    """Root needs no user namespace, unless it is a root without capabilities."""
    if os.geteuid() == 0 and _libc().unshare(_NEWNS) == 0:
        return
    user, group = os.geteuid(), os.getegid()
    _checked(_libc().unshare(_NEWUSER | _NEWNS))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _lock(path: str, flags: int) -> None:
    """Makes a mount read-only; unlike a remount, keeps its other flags, which a user namespace may not change."""
    wanted = _MountAttributes(attr_set=_RDONLY_ATTRIBUTE)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    _checked(_libc().syscall(_MOUNT_SETATTR, -100, os.fsencode(path), flags, ctypes.byref(wanted), size))


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    _checked(_libc().mount(*words, ctypes.c_ulong(flags), os.fsencode(options)))


def _pivot(new: str, old: str) -> None:
    _checked(_libc().syscall(_PIVOT_ROOT.get(os.uname().machine, -1), os.fsencode(new), os.fsencode(old)))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def main(words: list[str]) -> None:
    """Tries, or runs a program: see above. Never returns."""
    try:
        if not words:
            _unshare()
            _mount(None, "/", None, _REC | _PRIVATE)
            os._exit(0)
        join(int(words[0]))
        os.chdir(words[1])
        os.execve(words[2], words[2:], os.environ)  # noqa: S606
    except OSError as error:
        os.write(2, f"{words[2] if words else 'unshare'}: {error.strerror}\n".encode())
        os._exit(126)


if __name__ == "__main__":
    main(sys.argv[1:])
