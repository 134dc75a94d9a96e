"""What measured facts mean: each problem of a machine has one line that says what to do."""

from __future__ import annotations

import os
import tempfile
import urllib.error
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from skylift.cli.doctor import GIGABYTE, Level, Machine, examine, home_problem, registry_state, user_name
from skylift.cli.home import find_home
from skylift.core.errors import Refused

pytestmark = pytest.mark.unit

FIT = Machine(
    python=(3, 11),
    system="Linux",
    processor="x86_64",
    home="/h",
    free_disk=50 * GIGABYTE,
    memory=8 * GIGABYTE,
    port=4747,
    port_user="",
    refused_aliases=(),
    registry="https://pypi.org/simple",
    registry_error="",
    postgres_found=True,
    root=False,
    switchable_user=True,
    leftovers=(),
)


def test_a_fit_machine_has_nothing_to_do() -> None:
    findings = examine(FIT)
    assert {finding.level for finding in findings} == {Level.OK}
    assert not any(finding.advice for finding in findings)


@pytest.mark.parametrize(
    ("machine", "subject", "level", "advice"),
    [
        (replace(FIT, python=(3, 10)), "Python", Level.BAD, "3.11, 3.12 or 3.13"),
        (replace(FIT, python=(3, 14)), "Python", Level.BAD, "3.11, 3.12 or 3.13"),
        (replace(FIT, system="Darwin"), "platform", Level.BAD, "Linux only"),
        (replace(FIT, free_disk=GIGABYTE // 4), "disk", Level.BAD, "SKYLIFT_HOME"),
        (replace(FIT, free_disk=GIGABYTE), "disk", Level.WARN, "1.5 GB"),
        (replace(FIT, memory=GIGABYTE), "memory", Level.WARN, "1.3 GB"),
        (replace(FIT, port_user="another program", other_port=4750), "port", Level.WARN, "skylift up --port 4750"),
        (replace(FIT, user=""), "user", Level.BAD, ">> /etc/passwd"),
        (replace(FIT, home_problem="/h is not yours to write to"), "home", Level.BAD, "SKYLIFT_HOME"),
        (replace(FIT, refused_aliases=("127.64.0.1",)), "loopback", Level.BAD, "127.0.0.0/8"),
        (replace(FIT, mount_problem="unshare: not permitted"), "volumes", Level.WARN, "skylift up --runner podman"),
        (replace(FIT, registry_error="timed out"), "packages", Level.WARN, "UV_DEFAULT_INDEX"),
        (replace(FIT, postgres_found=False), "PostgreSQL", Level.BAD, "make -C "),
        (replace(FIT, root=True, switchable_user=False), "PostgreSQL", Level.BAD, "normal user"),
        (replace(FIT, leftovers=(12, 13)), "leftovers", Level.WARN, "kill 12 13"),
    ],
)
def test_each_fault_is_one_line_with_advice(machine: Machine, subject: str, level: Level, advice: str) -> None:
    findings = examine(machine)
    faults = [finding for finding in findings if finding.level is not Level.OK]
    assert [(fault.subject, fault.level) for fault in faults] == [(subject, level)]
    assert advice in faults[0].advice


def test_registry_in_use_is_asked_and_its_password_is_not_shown() -> None:
    asked: list[str] = []
    shown, error = registry_state({"UV_DEFAULT_INDEX": "https://me:secret@host/simple/"}, asked.append)
    assert (asked, shown, error) == (["https://me:secret@host/simple/uv/"], "https://host/simple", "")

    def refuse(url: str) -> None:
        raise urllib.error.URLError("no route")

    assert registry_state({}, refuse) == ("https://pypi.org/simple", "no route")


def as_nobody_known(look: Callable[[], str]) -> str:
    """What a look gives to a user whom the passwd file does not know: in a child process, because there is no way
    back."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(54321, 54321, 54321)
            os.setresuid(54321, 54321, 54321)
            told = look()
        except Exception as error:  # noqa: BLE001 - told to the parent
            told = f"{type(error).__name__}: {error}"
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return told


def test_a_user_who_is_not_in_the_passwd_file_is_seen() -> None:
    assert as_nobody_known(user_name) == ""
    assert user_name() != ""


def test_a_home_that_cannot_be_written_is_seen_before_anything_is() -> None:
    with tempfile.TemporaryDirectory() as made:  # pytest's own folders are closed to others
        open_to_all = Path(made)
        open_to_all.chmod(0o755)
        assert home_problem(open_to_all / "new") == ""
        assert "not yours to write to" in as_nobody_known(lambda: home_problem(open_to_all / "new" / "deep"))
        theirs = open_to_all / "theirs"
        theirs.mkdir()
        theirs.chmod(0o777)
        assert "belongs to another user" in as_nobody_known(lambda: home_problem(theirs))
        (open_to_all / "file").touch()
        assert "is not a folder" in home_problem(open_to_all / "file")
        assert not (open_to_all / "new").exists()


def test_without_any_home_the_advice_is_to_name_one(tmp_path: Path) -> None:
    assert find_home({"SKYLIFT_HOME": str(tmp_path)}).folder == tmp_path

    def look() -> str:
        os.environ.pop("HOME", None)
        try:
            return str(find_home({}).folder)
        except Refused as error:
            return f"refused: {error}"

    assert as_nobody_known(look).startswith("refused: This user has no home folder")
