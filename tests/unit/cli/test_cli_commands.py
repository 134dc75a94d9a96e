"""The command line as a whole: exit codes, messages instead of tracebacks, checks before anything starts."""

from __future__ import annotations

import errno
import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest

from skylift.cli.commands.up import check_disk
from skylift.cli.entry import QUICK
from skylift.cli.home import Home
from skylift.cli.main import cli, run
from skylift.cli.serving import daemon
from skylift.cli.serving.serve import bound_log
from skylift.cli.terminal import seconds
from skylift.core.errors import Broken, Refused

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["up", "--help"], ["env", "--help"], ["env", "run", "-h"]]
)
def test_asking_for_help_succeeds(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert "skylift" in capfd.readouterr().out


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_command_is_the_same_and_imports_no_other(name: str, tmp_path: Path) -> None:
    module, attribute = QUICK[name]
    assert vars(importlib.import_module(f"skylift.cli.commands.{module}"))[attribute] is cli.commands[name]
    words = (
        f"import sys; sys.argv[1:] = [{name!r}, '--help']; from skylift.cli import entry\n"
        "try: entry.main()\n"
        "finally: print([one for one in sys.modules if one in ('skylift.cli.main', 'skylift.cli.commands.up')])"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f" {name} " in done.stdout
    assert done.stdout.endswith("[]\n")


def test_every_command_says_what_it_does_and_serve_is_hidden() -> None:
    for command in [*cli.commands.values(), *cli.commands["env"].commands.values()]:  # type: ignore[attr-defined]
        assert command.help, command.name
    assert [name for name, command in cli.commands.items() if command.hidden] == ["serve"]


@pytest.mark.parametrize("absent", ["click", "rich"])
def test_who_installed_the_executors_alone_is_told_what_is_missing(absent: str) -> None:
    words = f"import sys; sys.modules[{absent!r}] = None; from skylift.cli.entry import main; main()"
    done = subprocess.run([sys.executable, "-c", words, "status"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert absent in done.stderr
    assert f"make -C {ROOT} install" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_servers_log_is_cut_while_it_runs(tmp_path: Path) -> None:
    log, other = tmp_path / "server.log", tmp_path / "terminal"
    with log.open("ab", buffering=0) as writing, other.open("ab", buffering=0) as elsewhere:
        writing.write(b"x" * 101)
        assert not bound_log(log, elsewhere.fileno(), most=100), "it is not ours"
        assert not bound_log(log, writing.fileno(), most=101)
        assert bound_log(log, writing.fileno(), most=100)
        writing.write(b"after")
    assert log.read_bytes() == b"after"
    assert (tmp_path / "server.log.1").read_bytes() == b"x" * 101


@pytest.mark.parametrize(
    "words", [["nope"], ["up", "--port", "0"], ["up", "--run"], ["logs", "-n", "0"], ["env", "run"]]
)
def test_wrong_usage_is_exit_code_2(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["logs"],
        ["logs", "scheduler"],
        ["shellenv"],
        ["env", "list"],
        ["env", "delete", "x"],
        ["env", "open"],
    ],
)
def test_without_a_server_each_says_how_to_start_it(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 1
    shown = capfd.readouterr()
    assert "skylift up" in shown.out + shown.err
    assert "Traceback" not in shown.err


def test_a_project_without_dags_is_refused_before_anything_starts(
    tmp_path: Path, home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["up", str(tmp_path)]) == 1
    assert "no folder dags/" in capfd.readouterr().err
    assert not home.folder.exists()


def test_this_folder_is_the_project_if_it_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["up", "--plan"]) == 2
    (tmp_path / "dags").mkdir()
    assert run(["up", "--plan"]) == 1
    assert "skylift does not run here" in capfd.readouterr().err


def test_down_without_a_server_is_no_failure(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["down"]) == 0
    assert "does not run" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Refused("do [this]"), "skylift: do [this]"),
        (Broken("we erred"), "bug of skylift: Broken: we erred"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "The disk is full (/x)"),
        (ZeroDivisionError("oops"), "bug of skylift: ZeroDivisionError: oops"),
    ],
)
def test_errors_become_one_line(error: Exception, expected: str, home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    @click.command("fail-for-test")
    def fail() -> None:
        raise error

    cli.add_command(fail)
    try:
        assert run(["fail-for-test"]) == 1
    finally:
        del cli.commands["fail-for-test"]
    shown = capfd.readouterr().err
    assert expected in shown
    assert "Traceback" not in shown
    assert (home.folder / "cli.log").exists() == ("bug" in expected)


def test_a_full_disk_is_refused_before_anything_starts(home: Home) -> None:
    class Full(Home):
        """A home on Linux's always-empty file system: ``/proc`` has no free space."""

    with pytest.raises(Refused, match="disk is full"):
        check_disk(Full(Path("/proc/self")))


def test_stages_and_last_words_are_found_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("stage: of an earlier start\nskylift: earlier\n")
    begin = log.stat().st_size
    assert daemon.newest_stage(log, begin) == ""
    assert daemon.failure(log, begin) == "it said nothing"
    with log.open("a") as file:
        file.write("stage: one\nnoise\nstage: two\nmore\n")
    assert daemon.newest_stage(log, begin) == "two"
    assert daemon.failure(log, begin) == "noise | more"
    with log.open("a") as file:
        file.write("skylift: the cause\n")
    assert daemon.failure(log, begin) == "the cause"


def test_the_port_of_the_last_start_is_remembered(home: Home) -> None:
    assert daemon.last_port(home) == 4747
    home.prepare()
    home.config.write_text("[default]\nregion = us-east-1\nendpoint_url = http://127.0.0.1:5151\n")
    assert daemon.last_port(home) == 5151


def test_durations_for_people() -> None:
    assert [seconds(value) for value in (0.44, 12.3, 185)] == ["0.4 s", "12 s", "3 min 05 s"]


def test_a_home_that_is_no_folder_is_said_with_advice(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    home.folder.write_text("a file")
    for words in (["up"], ["status"], ["down"]):
        assert run(words) == 1
        told = " ".join(capfd.readouterr().err.split())
        assert "cannot be used (Not a directory)" in told
        assert "Set SKYLIFT_HOME" in told
        assert "bug" not in told
