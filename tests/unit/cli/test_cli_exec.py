"""``skylift exec``: its options in any order before the command; the command's own words are left alone."""

from __future__ import annotations

import pytest

from skylift.cli.commands.exec import execute
from skylift.cli.main import run

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("words", "component", "container", "command"),
    [
        ("demo --component triggerer -- ls -l", "triggerer", "", ["ls", "-l"]),
        ("--component triggerer demo ls -l", "triggerer", "", ["ls", "-l"]),
        ("demo --component=triggerer -c side", "triggerer", "side", []),
        ("-c side demo --component triggerer ls --component x", "triggerer", "side", ["ls", "--component", "x"]),
        ("demo -- ls -c x", None, "", ["ls", "-c", "x"]),
        ("demo ls -l -- -x", None, "", ["ls", "-l", "--", "-x"]),
        ("demo -- -weird", None, "", ["-weird"]),
        ("-- demo ls", None, "", ["ls"]),
        ("demo", None, "", []),
    ],
)
def test_own_options_stand_anywhere_before_the_command(
    words: str, component: str | None, container: str, command: list[str]
) -> None:
    found = execute.make_context("exec", words.split()).params
    assert (found["where"], found["component"], found["container"], list(found["words"])) == (
        "demo",
        component,
        container,
        command,
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("exec demo --componet triggerer -- ls", "No such option"),
        ("exec", "Missing argument"),
        (f"exec {'0' * 32} --component scheduler", "--component selects a component of an environment"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(words: str, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(words.split()) == 2
    assert told in capfd.readouterr().err


def test_help_is_found_after_the_environment_too(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["exec", "demo", "--help"]) == 0
    assert "--component" in capfd.readouterr().out
