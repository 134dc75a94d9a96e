"""Fills free heap blocks of a template before it forks, so that forks do not copy shared pages (copy-on-write).

Objects that imports created and dropped leave free blocks of a few bytes in thousands of pages. A fork's new objects
would use those first, and each copies a page of 4 KiB for about 60 bytes: 8 MB in each component, 900 page faults in
each Airflow task. Filling takes 8 ms once, and 3 MB that all forks share; then new objects are next to each other on
new pages. The fill blocks are never freed.
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
"""Bytes; glibc does not take larger blocks from the heap."""

_SMALL = range(_PAGE - 16, 8, -16)
"""Sizes of C's free blocks that are worth filling: larger ones have pages of their own."""

_FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc 2.33 and later."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS)


def fill() -> None:
    """Fills the free blocks of Python's allocator and, with glibc, of C's. Does nothing with other allocators."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallinfo2"):
        _fill_c(libc)
    allocate = ctypes.pythonapi.PyObject_Malloc
    allocate.restype, allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    for size, free in free_python_blocks().items():
        for _ in range(free):
            allocate(size)


def free_python_blocks() -> dict[int, int]:
    """Free blocks of each size (bytes) in pools that Python's allocator already uses; none with another allocator."""
    if not hasattr(os, "memfd_create"):
        return {}
    sys.stderr.flush()
    found, stderr = os.memfd_create("malloc-stats"), os.dup(2)
    try:
        os.dup2(found, 2)  # C writes there, whatever ``sys.stderr`` is
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
    large = list(_taken(libc, _large()))  # held meanwhile: splitting them would only write to their pages
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
    """Addresses of allocated blocks of these sizes, as long as free blocks are left for them."""
    end = _unused_end(libc)
    for size in sizes:
        while block := libc.malloc(size):
            if block >= end:  # no free block was left
                libc.free(block)
                break
            yield block


def _unused_end(libc: ctypes.CDLL) -> int:
    """Where the unused end of glibc's heap begins: a block from there, or from a mapping, was no free block before."""
    libc.mallinfo2.restype = _Mallinfo
    libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
    return int(libc.sbrk(0)) - int(libc.mallinfo2().keepcost)
