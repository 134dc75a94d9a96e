"""Makes a template's objects immortal, so that its forks do not copy their pages only to count references.

Each use of an object writes its reference count, and after a fork each first write to a page copies 4 KiB. CPython 3.12
and 3.13 do not count references to objects whose 32-bit count has the highest value (PEP 683). A template sets it for
everything that it has imported: of 20,000 page faults of a container, 9,000 are left (``docs/decisions``, 0025). These
objects are never freed, and a fork lives with them to its end; what it makes later is freed as ever.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import sysconfig
from types import CodeType
from typing import Any

VERSIONS = ((3, 12), (3, 13))
"""Later versions count otherwise (3.14: flags beside the count, deferred counting)."""

IMMORTAL = 0xFFFFFFFF
"""The lower half of ``ob_refcnt`` that ``Py_INCREF`` and ``Py_DECREF`` leave as it is."""

_MOST_ADDRESS = 1 << 56
"""Processes get 47 bits on x86-64 (56 with five levels), 48 or 52 on ARM."""
_BATCH = 1000


class CannotBeImmortal(Exception):
    """This Python counts references in another way; the text says what is different."""


def make_immortal() -> int:
    """Makes all objects immortal that the garbage collector knows, and what they refer to; returns how many. To be
    called before ``gc.freeze``, which hides objects.

    Raises:
        CannotBeImmortal: nothing was changed.
    """
    _check()
    counts = _counts()
    made = 0
    todo: list[Any] = gc.get_objects()
    while todo:
        batch, todo[-_BATCH:] = todo[-_BATCH:], ()
        new = []
        for found in batch:
            place = id(found) >> 2
            if counts[place] != IMMORTAL:
                counts[place] = IMMORTAL
                new.append(found)
        made += len(new)
        todo += gc.get_referents(*new)
        for found in new:
            if type(found) is CodeType:  # the collector does not look into code
                todo += (found.co_consts, found.co_names, found.co_filename, found.co_name, found.co_qualname)
                todo += (found.co_linetable, found.co_exceptiontable)
    return made


def _counts() -> Any:
    """All memory as an array of 32-bit numbers; an object's count is at a quarter of its address (little-endian)."""
    return (ctypes.c_uint32 * (_MOST_ADDRESS >> 2)).from_address(0)


def _check() -> None:
    """Tries on an object of its own whether this Python counts as we think."""
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in VERSIONS:
        version = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
        raise CannotBeImmortal(f"{version}, and not CPython 3.12 or 3.13")
    if sysconfig.get_config_var("Py_GIL_DISABLED") or sysconfig.get_config_var("Py_DEBUG"):
        raise CannotBeImmortal("a free-threaded or debug build")
    if ctypes.sizeof(ctypes.c_void_p) != 8 or sys.byteorder != "little":
        raise CannotBeImmortal("not a 64-bit little-endian machine")
    counts, tried = _counts(), bytearray(1)
    place = id(tried) >> 2
    before = counts[place]
    if counts[id(None) >> 2] != IMMORTAL or before != sys.getrefcount(tried) - 1 or counts[place + 1]:
        raise CannotBeImmortal("its objects do not begin with the count")
    counts[place] = IMMORTAL
    held = [tried, tried]
    stays = counts[place] == IMMORTAL
    held.clear()
    stays = stays and counts[place] == IMMORTAL
    counts[place] = before
    if not stays:
        raise CannotBeImmortal("it counts references to immortal objects")
