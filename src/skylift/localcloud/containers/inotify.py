"""Linux's inotify, limited to what following log files needs: "tell me once when this file is written"."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

_IN_MODIFY = 0x2
_IN_ONESHOT = 0x80000000
_EVENT = struct.Struct("iIII")

T = TypeVar("T")


class Inotify(Generic[T]):
    """One-shot watches on files, each with a token from the caller."""

    def __init__(self, descriptor: int, libc: ctypes.CDLL, tell: Callable[[T], None]) -> None:
        self._descriptor = descriptor
        self._libc = libc
        self._tell = tell
        self._tokens: dict[int, T] = {}
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def once(self, path: Path, token: T) -> None:
        """Reports once when the file is written. Raises ``OSError``, e.g. if this machine has no watches left."""
        watch = self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_MODIFY | _IN_ONESHOT)
        if watch < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._tokens[watch] = token

    def forget(self, token: T) -> None:
        """Drops the watches of a token."""
        for watch in [watch for watch, known in self._tokens.items() if known is token]:
            del self._tokens[watch]
            self._libc.inotify_rm_watch(self._descriptor, watch)

    def close(self) -> None:
        """Drops everything."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        events = os.read(self._descriptor, 1 << 16)
        position = 0
        while position < len(events):
            watch, mask, _, length = _EVENT.unpack_from(events, position)
            position += _EVENT.size + length
            # A one-shot watch is gone after its event; its number is not reused while it is in the table.
            if mask & _IN_MODIFY and (token := self._tokens.pop(watch, None)) is not None:
                self._tell(token)


def open_inotify(tell: Callable[[T], None]) -> Inotify[T] | None:
    """An inotify instance, or ``None`` if there is none (not Linux, or no instance left)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    return Inotify(descriptor, libc, tell) if descriptor >= 0 else None
