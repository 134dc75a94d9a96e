"""What is printed can be typed as it is: the program's name, the commands in texts, and what a wrong word suggests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from skylift.cli import called
from skylift.cli.called import COMMANDS, activation, as_typed, word
from skylift.cli.main import cli, run
from skylift.cli.words import MEANT
from skylift.localcloud.installing import line_for

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src" / "skylift"
SCRIPT = Path(sys.executable).with_name("skylift")


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a script in ``.venv/bin``, and we stand in it."""
    made = tmp_path / ".venv" / "bin" / "skylift"
    made.parent.mkdir(parents=True)
    made.write_text("#!/bin/sh\n")
    made.chmod(0o755)
    (made.parent / "activate").touch()
    (made.parent / "activate.fish").touch()
    monkeypatch.chdir(tmp_path)
    return made


def test_the_word_is_the_path_by_which_it_was_started(script: Path) -> None:
    nowhere = {"PATH": "/nowhere"}
    assert word(".venv/bin/skylift", nowhere) == ".venv/bin/skylift"
    assert word(str(script), nowhere) == str(script)
    os.chdir(script.parent)
    assert word("skylift", nowhere) == "./skylift"


def test_the_word_is_short_only_where_the_path_leads_to_this_very_program(script: Path, tmp_path: Path) -> None:
    assert word(".venv/bin/skylift", {"PATH": str(script.parent)}) == "skylift"
    linked = tmp_path / "bin"
    linked.mkdir()
    (linked / "skylift").symlink_to(script)
    assert word(".venv/bin/skylift", {"PATH": str(linked)}) == "skylift"
    (linked / "skylift").unlink()
    (linked / "skylift").write_text("#!/bin/sh\n")
    (linked / "skylift").chmod(0o755)
    assert word(".venv/bin/skylift", {"PATH": str(linked)}) == ".venv/bin/skylift", "another program of that name"


def test_a_path_with_blanks_is_quoted(tmp_path: Path) -> None:
    made = tmp_path / "my clone" / "skylift"
    made.parent.mkdir()
    made.touch()
    assert word(str(made), {"PATH": ""}) == f"'{made}'"


def test_started_as_a_module_the_script_beside_this_python_is_meant() -> None:
    assert word("/x/skylift/cli/__main__.py", {"PATH": ""}) == str(SCRIPT)


def test_who_cannot_type_it_short_is_told_how_once(script: Path) -> None:
    program = ".venv/bin/skylift"
    assert activation(program, {"PATH": "", "SHELL": "/bin/bash"}) == "source .venv/bin/activate"
    assert activation(program, {"PATH": "", "SHELL": "/usr/bin/fish"}) == "source .venv/bin/activate.fish"
    assert activation(program, {"PATH": str(script.parent)}) == ""


@pytest.mark.usefixtures("script")
def test_commands_in_a_text_become_what_can_be_typed() -> None:
    def typed(text: str) -> str:
        return as_typed(text, ".venv/bin/skylift", {"PATH": "/nowhere"})

    assert typed('eval "$(skylift shellenv)"') == 'eval "$(.venv/bin/skylift shellenv)"'
    assert typed("HOME=/x skylift down && skylift up p") == "HOME=/x .venv/bin/skylift down && .venv/bin/skylift up p"
    for other in (
        "skylift runs already",
        "the skylift environment",
        "/opt/skylift up",
        "skylift-up",
        "~/skylift/status",
    ):
        assert typed(other) == other
    once = typed("Start it with: skylift up")
    assert typed(once) == once


def test_the_words_that_make_a_command_are_the_commands() -> None:
    assert set(COMMANDS) == set(cli.commands)


def test_no_text_of_the_command_line_has_a_placeholder_or_names_a_release() -> None:
    """``skylift up PROJECT`` cannot be typed, and there is nothing on PyPI to install."""
    for file in [
        *SOURCE.rglob("*.py"),
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        ROOT / "examples/pytest/README.md",
    ]:
        text = file.read_text()
        assert not re.search(r"""pip install ["']skylift\[""", text), file
        assert "ITS_HOME" not in text, file
    for file in (SOURCE / "cli").rglob("*.py"):
        for found in re.findall(
            r"skylift (?:up|down|env|logs|exec) [A-Z_]{3,}\b|--(?:port|dag|env|name) [A-Z_]+\b", file.read_text()
        ):
            raise AssertionError(f"{file}: {found!r} cannot be typed as it stands")


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (["launch"], "skylift up"),
        (["halt"], "skylift down"),
        (["new"], "skylift init"),
        (["ls"], "skylift env list"),
        (["lgos"], "skylift logs"),
        (["env", "rm"], "skylift env delete"),
        (["env", "lst"], "skylift env list"),
        (["image", "ls"], "skylift image list"),
        (["fault", "set", "throtle"], "skylift fault set throttle"),
    ],
)
def test_a_wrong_word_leads_to_the_right_command(
    words: list[str], right: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    told = capfd.readouterr().err
    assert f"Did you mean: {as_typed(right)}" in told


def test_every_word_that_is_known_to_be_wrong_leads_to_a_command_that_is_there() -> None:
    for group, words in MEANT.items():
        there: click.Command = cli.commands[group] if group else cli
        for wrong, right in words.items():
            found: click.Command = there
            assert isinstance(there, click.Group)
            assert wrong not in there.commands, wrong
            for part in right.split():
                assert isinstance(found, click.Group)
                found = found.commands[part]


@pytest.mark.parametrize("words", [["help"], ["help", "up"], ["env", "help", "delete"], ["version"], ["--version"]])
def test_help_and_version_are_given_whatever_way_they_are_asked_for(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 0
    assert ("version" if "version" in words[-1] else "Usage") in capfd.readouterr().out


def test_usage_and_help_show_the_word_that_can_be_typed() -> None:
    done = subprocess.run(
        [".venv/bin/skylift", "shellenv", "--help"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert "Usage: .venv/bin/skylift shellenv" in done.stdout
    assert '"$(.venv/bin/skylift shellenv)"' in done.stdout
    found = subprocess.run(
        ["skylift", "nope"], env={"PATH": f"{SCRIPT.parent}:/usr/bin:/bin"}, text=True, capture_output=True, check=False
    )
    assert found.returncode == 2
    assert "Try 'skylift --help'" in found.stderr


def test_shell_completion_is_given_for_the_plain_name() -> None:
    done = subprocess.run(
        [str(SCRIPT)],
        env={"PATH": "/usr/bin:/bin", "_SKYLIFT_COMPLETE": "bash_source"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert "complete -o nosort -F _skylift_completion skylift" in done.stdout


def test_what_is_missing_is_installed_from_where_this_skylift_came_from(tmp_path: Path) -> None:
    clone = tmp_path / "my clone"
    clone.mkdir()
    (clone / "pyproject.toml").touch()
    (clone / "Makefile").touch()
    url = f"file://{tmp_path}/my%20clone"
    own, other = clone / ".venv", Path("/opt/airflow")
    assert line_for(url, own, own / "bin/python", has_pip=False) == f"make -C '{clone}' install"
    expected = f"/opt/airflow/bin/python -m pip install '{clone}[local]'"
    assert line_for(url, other, other / "bin/python", has_pip=True) == expected
    assert "uv pip install --python /opt/airflow/bin/python" in line_for(
        url, other, other / "bin/python", has_pip=False
    )
    for gone in (f"file://{tmp_path}/gone", "", "https://example.com/skylift.whl"):
        assert "in a clone of skylift's repository" in line_for(gone, other, other / "bin/python", has_pip=True)


def test_the_server_gives_absolute_commands_which_stay_as_they_are() -> None:
    line = f"Another server already has /h. Stop it with: {SCRIPT} down"
    assert as_typed(line) == line
    assert called.as_typed("skylift: stage") == "skylift: stage"
