"""Containers that are told to stop at an awkward moment: in processes of their own, as they fork and take signals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

STOPPED_BEFORE = """
import os, pathlib, signal, sys
from skylift.executors.in_container import stay as stay

signal.signal(signal.SIGTERM, stay.stopped)
os.kill(os.getpid(), signal.SIGTERM)
for turn in range(20):
    code = stay.apart(lambda: pathlib.Path(sys.argv[1]).write_text("taken") and "{}")
    assert code == 72, (turn, code)
"""


def test_nothing_is_taken_once_a_stop_was_asked_for(tmp_path: Path) -> None:
    words = [sys.executable, "-c", STOPPED_BEFORE, str(tmp_path / "taken")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "taken").exists()


TOO_EARLY = """
import os, signal, time
from skylift.executors.in_container import main as in_container

signal.signal(signal.SIGTERM, in_container.again)
os.kill(os.getpid(), signal.SIGTERM)
heard = []
# As Airflow's supervisor does, some time after it has told Airflow that the task instance runs.
signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
deadline = time.monotonic() + 60
while not heard and time.monotonic() < deadline:
    time.sleep(0.01)
assert heard
"""


def test_a_stop_that_comes_before_the_supervisor_listens_is_heard_by_it() -> None:
    done = subprocess.run([sys.executable, "-c", TOO_EARLY], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


ENDS = """
import os, signal, sys
from skylift.executors.in_container import stay as stay

def killed(number):
    os.kill(os.getpid(), number)

assert stay.apart(lambda: killed(signal.SIGKILL)) == 137, "out of memory: the reason has to name SIGKILL"
assert stay.apart(lambda: killed(signal.SIGSEGV)) == 139
assert stay.apart(lambda: sys.exit(3)) == 3
assert stay.apart(lambda: sys.exit()) == 0
assert stay.apart(lambda: b"{}") == 72, "what cannot be read has not begun"
assert stay.CHILDREN == []
assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, []), "a stop would never arrive again"
"""


def test_a_workload_that_a_signal_killed_ends_as_in_a_container_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
