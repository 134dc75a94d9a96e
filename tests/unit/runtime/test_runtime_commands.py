"""Which of Airflow's commands may run over HTTP, and how one runs."""

from __future__ import annotations

import asyncio
import sys

import pytest

from skylift.core.errors import Refused
from skylift.runtime.auth.commands import ALLOWED, CommandRunner, words_of

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dags list", ("dags", "list")),
        ("  version\n", ("version",)),
        ("""dags trigger my_dag --conf '{"a": "b c"}'""", ("dags", "trigger", "my_dag", "--conf", '{"a": "b c"}')),
        ("variables set a $(reboot);ls", ("variables", "set", "a", "$(reboot);ls")),
    ],
)
def test_a_command_becomes_words_and_never_meets_a_shell(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text, fab=False) == words


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "There is no command"),
        ("users list", "'users' is not supported. Supported: assets,"),
        ("config list", "'config' is not supported"),
        ("connections export -", "'connections export' is not supported. Supported: connections add, delete"),
        ("db migrate", "'db migrate' is not supported"),
        ("dags", "'dags' is not supported"),
        ("--version", "'--version' is not supported"),
        ("dags trigger 'x", "cannot be read"),
        ("roles list", "belongs to the FAB auth manager.*airflow:CreateWebLoginToken"),
    ],
)
def test_what_is_not_on_the_list_is_refused_in_words(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        words_of(text, fab=False)


def test_roles_are_for_environments_with_fab() -> None:
    assert words_of("roles list", fab=True) == ("roles", "list")


def test_the_list_is_that_of_mwaa() -> None:
    commands = {f"{command} {one}".strip() for command, subs in ALLOWED.items() for one in (subs or {""})}
    assert len(commands) == 47
    assert not {one for one in commands if one.split()[0] in {"users", "config", "info", "scheduler", "kerberos"}}


PROGRAM = (sys.executable, "-c", "import sys; print(sys.argv[1:]); print('no', file=sys.stderr); sys.exit(3)")


def test_a_command_runs_to_its_end() -> None:
    done = asyncio.run(CommandRunner(PROGRAM).run(("dags", "a b")))
    assert (done.exit_code, done.stdout, done.stderr) == (3, b"['dags', 'a b']\n", b"no\n")


def test_a_command_that_does_not_end_is_ended() -> None:
    done = asyncio.run(CommandRunner((sys.executable, "-c", "import time; time.sleep(60)")).run((), seconds=0.3))
    assert done.exit_code == 1
    assert b"took longer" in done.stderr
