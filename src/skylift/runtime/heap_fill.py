"""Fills the holes in a template's heaps, so that its forks write to pages of their own and not into the gaps of shared
ones.

What imports made and dropped leaves gaps of a few bytes in thousands of pages. A fork's new objects would go there
first, and
each copies a page of 4 KiB for some 60 bytes: 8 MB in each component, 900 page faults in each Airflow task. Filled
once, in 8 ms and for 3 MB that all forks share, new objects stand together on new pages. What fills a hole is never
freed.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterable, Iterator

_CLASS = re.compile(rb"^ +\d+ +(\d+) +\d+ +\d+ +(\d+)$", re.MULTILINE)
"""A line of ``sys._debugmallocstats``: class, size, pools, blocks in use, blocks that are free."""

_PAGE = 4096
_LARGEST = 120_000
"""Bytes; what is larger glibc does not take from the heap."""

_SMALL = range(_PAGE - 16, 8, -16)
"""Sizes of C's holes that are worth filling: a larger one has pages of its own."""

_FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc 2.33 and later."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS)


def fill() -> None:
    """Fills Python's own holes and, with glibc, C's. Nothing where the allocators are others."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallinfo2"):
        _fill_c(libc)
    allocate = ctypes.pythonapi.PyObject_Malloc
    allocate.restype, allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    for size, free in free_python_blocks().items():
        for _ in range(free):
            allocate(size)


def free_python_blocks() -> dict[int, int]:
    """Free blocks of each size (bytes) in pools of Python's allocator that are in use already; none with another
    allocator."""
    if not hasattr(os, "memfd_create"):
        return {}
    sys.stderr.flush()
    found, stderr = os.memfd_create("malloc-stats"), os.dup(2)
    try:
        os.dup2(found, 2)  # it is written there by C, whatever ``sys.stderr`` is
        sys._debugmallocstats()
        text = os.pread(found, 1 << 20, 0)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(found)
    return {int(size): int(free) for size, free in _CLASS.findall(text)}


def _fill_c(libc: ctypes.CDLL) -> None:
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.malloc_trim(0)
    large = list(_taken(libc, _large()))  # kept away meanwhile: to cut them up would only write to their pages
    for _ in _taken(libc, _SMALL):
        pass
    for block in large:
        libc.free(block)
    libc.malloc_trim(0)


def _large() -> Iterator[int]:
    size = _LARGEST
    while size >= _PAGE:
        yield size
        size = size * 3 // 4


def _taken(libc: ctypes.CDLL, sizes: Iterable[int]) -> Iterator[int]:
    """Addresses of blocks of these sizes, as long as there are holes for them."""
    end = _unused_end(libc)
    for size in sizes:
        while block := libc.malloc(size):
            if block >= end:  # no hole was left
                libc.free(block)
                break
            yield block


def _unused_end(libc: ctypes.CDLL) -> int:
    """Where the unused end of glibc's heap begins: what comes from there, or from a mapping, is no hole."""
    libc.mallinfo2.restype = _Mallinfo
    libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
    return int(libc.sbrk(0)) - int(libc.mallinfo2().keepcost)
