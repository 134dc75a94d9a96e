"""The supervisor's wait ends with its child: without our change Airflow asks a moment too early and sleeps for five
seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

PROGRAM = """
import os, selectors, signal, sys, time
from skylift.executors.in_container.main import notice_the_end

notice_the_end()
notice_the_end()  # a container that stays for another workload does it again
child = os.fork()
if child == 0:
    ours = {signal.getsignal(number) for number in (signal.SIGCHLD, signal.SIGALRM)}
    time.sleep(float(sys.argv[1]))
    os._exit(0 if ours == {signal.SIG_DFL} else 1)
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    pass
began = time.monotonic()
found = selectors.DefaultSelector().select(60)
print(time.monotonic() - began, found, os.waitpid(child, os.WNOHANG)[1])
"""


@pytest.mark.parametrize(("child_sleeps", "supervisor_works"), [(0.3, 0.0), (0.0, 0.3)])
def test_a_wait_without_files_ends_with_the_child(child_sleeps: float, supervisor_works: float) -> None:
    words = [sys.executable, "-c", PROGRAM, str(child_sleeps), str(supervisor_works)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    seconds, found, status = done.stdout.split()
    assert float(seconds) < 30
    assert (found, status) == ("[]", "0")


ENDING = """
import os
from skylift.executors.in_container.main import notice_the_end

notice_the_end()
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_program_that_ends_soon_after_its_child_is_not_killed_by_the_alarm() -> None:
    """Python takes its signal handlers away some milliseconds before it ends: now and then an alarm came just then."""
    codes = [subprocess.run([sys.executable, "-c", ENDING], timeout=90, check=False).returncode for _ in range(8)]
    assert codes == [0] * 8
