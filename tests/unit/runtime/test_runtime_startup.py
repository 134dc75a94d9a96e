"""startup.sh with a real bash: what it exports is kept, however it ends; failure and time limit are said."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from skylift.runtime.startup import StartupFailed, run

pytestmark = pytest.mark.unit
BASE = {"PATH": "/usr/bin:/bin"}


def script(folder: Path, text: str) -> Path:
    file = folder / "startup.sh"
    file.write_text(text)
    return file


def test_exports_are_kept_with_any_text_in_them(tmp_path: Path) -> None:
    text = "#!/bin/bash\nexport A=$'two\\nlines = \"x\"'\nlocal_only=1\nexport WHERE=$MWAA_AIRFLOW_COMPONENT\n"
    found = run(script(tmp_path, text), BASE, "webserver", 20)
    assert (found["A"], found["WHERE"]) == ('two\nlines = "x"', "webserver")
    assert "local_only" not in found


def test_a_script_may_end_with_exit(tmp_path: Path) -> None:
    assert run(script(tmp_path, "export A=1\nexit 0\n"), BASE, "worker", 20)["A"] == "1"


@pytest.mark.parametrize(("text", "code"), [("exit 7\n", 7), ("set -e\nfalse\nexport A=1\n", 1), ("nosuch\n", 127)])
def test_failure_is_said_with_its_code(text: str, code: int, tmp_path: Path) -> None:
    with pytest.raises(StartupFailed, match=f"exit code {code}$"):
        run(script(tmp_path, text), BASE, "worker", 20)


def test_a_failure_tells_the_last_lines_where_they_are_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "for n in $(seq 100); do echo line $n; done\necho to stderr >&2\nexit 3\n"
    with pytest.raises(StartupFailed) as failed:
        run(script(tmp_path, text), BASE, "worker", 20, tmp_path / "record")
    told = str(failed.value)
    assert told.startswith("startup.sh failed with exit code 3. Its last lines:\nline 82\n")
    assert told.endswith("line 100\nto stderr")
    assert capfd.readouterr().out.startswith("line 1\nline 2\n"), "the log has all of it"


def test_told_lines_have_a_limit(tmp_path: Path) -> None:
    with pytest.raises(StartupFailed) as failed:
        run(script(tmp_path, f"echo {'x' * 5000}; echo why; exit 1\n"), BASE, "worker", 20, tmp_path / "record")
    assert len(str(failed.value)) <= 1000
    assert str(failed.value).endswith("xxx\nwhy")


def test_what_was_said_before_the_time_limit_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartupFailed, match=r"longer than 1 s\. Its last lines:\nwaiting for the moon"):
        run(script(tmp_path, "echo waiting for the moon; sleep 60\n"), BASE, "worker", 1, tmp_path / "record")


def test_a_script_whose_variables_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupFailed, match="cannot be read"):
        run(script(tmp_path, "exec true\n"), BASE, "worker", 20)


def test_a_script_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    began = time.monotonic()
    with pytest.raises(StartupFailed, match="longer than 1 s"):
        run(script(tmp_path, f"sleep 60 & echo $! > {mark}\nwait\n"), BASE, "worker", 1)
    assert time.monotonic() - began < 10
    deadline = time.monotonic() + 10
    while alive(int(mark.read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(int(mark.read_text()))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
