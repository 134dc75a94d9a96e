"""Immortal objects: a fork that uses everything copies little of it, and all else is as before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from skylift.localcloud.containers.immortal import VERSIONS

pytestmark = pytest.mark.unit
FITS = sys.version_info[:2] in VERSIONS

COPIED = """
import gc, os, sys
from skylift.localcloud.containers import immortal
class Thing:
    def __init__(self, n): self.name, self.pair = f"thing {n}", (n, str(n))
things = [Thing(n) for n in range(100_000)]
if sys.argv[1] == "immortal":
    immortal.make_immortal()
gc.freeze()
gc.disable()
pid = os.fork()
if not pid:
    used = [(one, one.name, one.pair, one.pair[1]) for one in things]  # counts a reference to each
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    print(sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""

AS_BEFORE = """
import asyncio, collections, functools, gc, json, logging, re, sys, threading, weakref
from skylift.localcloud.containers import immortal
class Freed: pass
kept, cached = collections.OrderedDict(a=1), functools.lru_cache(lambda n: n + 1)
word = sys.intern("a word that nobody else has")
immortal.make_immortal()
gc.freeze()
async def waited():
    return await asyncio.gather(*(asyncio.sleep(0, n) for n in range(10)))
assert asyncio.run(waited()) == list(range(10))
kept["b"] = 2
assert (list(kept), cached(1), json.loads('{"a": [1]}'), re.sub("a+", "b", "caat")) == (["a", "b"], 2, {"a": [1]}, "cbt")
freed = Freed()
gone = weakref.ref(freed)
del freed
assert gone() is None, "what is made later is freed as ever"
circle = []
circle.append(circle)
del circle
assert gc.collect() >= 1
thread = threading.Thread(target=logging.getLogger("x").warning, args=("told",))
thread.start()
thread.join()
assert sys.intern("a word that " + "nobody else has") is word
print("as before")
"""


@pytest.mark.skipif(not FITS, reason="this Python counts in another way")
def test_a_fork_that_uses_everything_copies_little() -> None:
    plain, immortal = (int(_run(COPIED, word)) for word in ("plain", "immortal"))
    assert immortal < plain / 2, f"{immortal} kB of {plain} kB"


@pytest.mark.skipif(not FITS, reason="this Python counts in another way")
def test_all_else_is_as_before_to_the_end_of_the_process() -> None:
    assert "as before" in _run(AS_BEFORE)


@pytest.mark.skipif(FITS, reason="this Python can")
def test_another_python_is_told_and_left_as_it_is() -> None:
    words = "from skylift.localcloud.containers import immortal\ntry: immortal.make_immortal()\n"
    assert _run(f"{words}except immortal.CannotBeImmortal as error: print(error)").startswith("cpython 3.")


def _run(program: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
