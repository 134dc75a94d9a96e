"""What PostgreSQL's last log lines mean, and what its pid file says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.localcloud.postgres.server import Postgres, postmaster, reason

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("words", "kind", "advice"),
    [
        ("FATAL: could not write: No space left on device", Refused, "disk is full"),
        ('could not access directory "/root/x": Permission denied', Refused, "ordinary user"),
        ("initdb: error: could not look up effective user ID 12345: user does not exist", Refused, "/etc/passwd"),
        ("FATAL: something new", Unavailable, "something new"),
    ],
)
def test_last_words_become_advice(words: str, kind: type[SkyliftError], advice: str) -> None:
    error = reason("PostgreSQL does not start", words)
    assert type(error) is kind
    assert advice in str(error)


def test_a_pid_file_of_a_stranger_is_no_server(tmp_path: Path) -> None:
    file = tmp_path / "postmaster.pid"
    assert postmaster.find(tmp_path) is None
    file.write_text(f"{os.getpid()}\n{tmp_path}\n1\n5432\n\n127.0.0.1\n 16041760 4\nready   \n")
    assert postmaster.find(tmp_path) is None
    postmaster.disown_reused_pid(tmp_path)
    first, *rest = file.read_text().splitlines()
    assert first == "4194304"  # above every pid; the shared memory's line is kept
    assert rest[5] == " 16041760 4"


def test_nothing_is_known_before_the_first_start(tmp_path: Path) -> None:
    server = Postgres(tmp_path)
    with pytest.raises(Refused, match="never started"):
        _ = server.port
    with pytest.raises(Refused, match="never started"):
        _ = server.password
    assert not server.is_running()
    server.stop()
    assert not server.folder.exists()
