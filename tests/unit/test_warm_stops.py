"""A container that stays, when it is told to stop between two workloads: in processes of its own, as it forks and takes signals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

STOPPED_BEFORE = """
import os, pathlib, signal, sys
from skylift.executors.aboard import in_container_stay as stay

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
