"""After a process has filled its free heap blocks, its forks copy few pages when they create objects."""

from __future__ import annotations

import subprocess
import sys

import pytest

from skylift.runtime import heap_fill

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not heap_fill.free_python_blocks(), reason="Python's own allocator cannot be asked here"),
]
FORK = """
import gc, os, resource, sys
from skylift.runtime import heap_fill
gc.disable()
kept = [bytes(size) for _ in range(40_000) for size in (20, 60, 150)]
kept = [one for number, one in enumerate(kept) if number % 20]  # a free block in every page
large = [bytes(900 + number % 700) for number in range(20_000)]
large = [one for number, one in enumerate(large) if number % 10]
gc.collect()
before = sum(heap_fill.free_python_blocks().values())
if sys.argv[1] == "fill":
    heap_fill.fill()
after = sum(heap_fill.free_python_blocks().values())
reading, writing = os.pipe()
if os.fork() == 0:
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    new = [bytes(size) for _ in range(1_500) for size in (20, 60, 150)], [bytes(900) for _ in range(1_500)]
    os.write(writing, str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin).encode())
    os._exit(0)
os.wait()
print(before, after, int(os.read(reading, 99)))
"""


def test_a_fork_of_a_filled_process_copies_less() -> None:
    before, left, copied = _measured("leave")
    assert left == pytest.approx(before, abs=500)
    holes_found, left, copied_filled = _measured("fill")
    assert holes_found > 3_000
    assert left < holes_found / 3
    assert copied_filled < copied / 2


def test_what_was_there_stays() -> None:
    script = (
        "from skylift.runtime import heap_fill\n"
        "made = [str(n) * 9 for n in range(9999)]\n"
        "heap_fill.fill()\n"
        "print(made == [str(n) * 9 for n in range(9999)])"
    )
    assert subprocess.check_output([sys.executable, "-c", script]) == b"True\n"


def _measured(what: str) -> tuple[int, int, int]:
    """Free blocks before and after, and the fork's page faults."""
    before, after, faults = subprocess.check_output([sys.executable, "-c", FORK, what]).split()
    return int(before), int(after), int(faults)
