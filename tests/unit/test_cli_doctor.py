"""What measured facts mean: each unfit machine has one line that says what to do."""

from __future__ import annotations

import urllib.error
from dataclasses import replace

import pytest

from skylift.cli.doctor import GIGABYTE, Level, Machine, examine, registry_state

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
