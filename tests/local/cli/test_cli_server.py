"""The background process as a user sees it: started once, found again, refused where necessary, stopped without
loss."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.stack import SKYLIFT, Stack, running

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A skylift that this module may stop and kill. It makes no environment, so it builds no image."""
    with running(tmp_path_factory.mktemp("server") / "home") as started:
        yield started


def state(stack: Stack) -> dict[str, object]:
    found = json.loads(stack.run("status", "--json").stdout)
    assert isinstance(found, dict)
    return found


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except OSError:
        return True


def test_a_second_up_finds_the_running_one(own: Stack) -> None:
    before = state(own)
    assert "runs already" in own.run("up").stderr
    assert state(own)["pid"] == before["pid"]


def test_what_it_leaves_on_disk_is_private(own: Stack) -> None:
    assert stat.S_IMODE(own.home.stat().st_mode) == 0o700
    for name in ("server.json", "aws/credentials", "aws/config", "aws/master.key"):
        assert stat.S_IMODE((own.home / name).stat().st_mode) == 0o600, name


def test_it_listens_on_loopback_only(own: Stack) -> None:
    pid = state(own)["pid"]
    inodes = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    listening = [
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and f"socket:[{line.split()[9]}]" in inodes
    ]
    assert listening
    assert all(address.split(":")[0].endswith("7F") for address in listening), listening


def test_its_secrets_appear_in_no_log(own: Stack) -> None:
    key = [line.split("=", 1)[1].strip() for line in (own.home / "aws/credentials").read_text().splitlines()[1:]]
    text = (own.home / "server.log").read_text() + own.must("shellenv") + own.must("status", "--json")
    assert not [word for word in [*key, (own.home / "aws/master.key").read_text()] if word in text]


def test_another_home_on_the_same_port_is_refused_and_told_whose_it_is(own: Stack, tmp_path: Path) -> None:
    port = str(own.must("shellenv")).partition("AWS_ENDPOINT_URL=http://127.0.0.1:")[2].split()[0].strip("'\"")
    other = Stack(tmp_path / "other", own.environ | {"SKYLIFT_HOME": str(tmp_path / "other")})
    refused = other.run("up", "--port", port)
    assert refused.returncode == 1
    assert f"Another skylift (home {own.home}" in refused.stderr
    assert "--port" in refused.stderr
    assert state(own)["running"]
    assert not (tmp_path / "other").exists()


def test_a_port_of_another_program_is_refused(own: Stack, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = Stack(tmp_path / "other", own.environ | {"SKYLIFT_HOME": str(tmp_path / "other")})
        refused = other.run("up", "--port", str(taken.getsockname()[1]))
    assert refused.returncode == 1
    assert "taken by another program" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_second_server_of_the_same_home_is_refused(own: Stack) -> None:
    refused = own.run("serve", "--port", "1")
    assert refused.returncode == 1
    assert "Another server already has" in refused.stderr


def test_a_server_that_cannot_start_says_why(own: Stack, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "postgres").mkdir(parents=True)
    (home / "postgres" / "data").write_text("in the way")
    other = Stack(home, own.environ | {"SKYLIFT_HOME": str(home)})
    refused = other.run("up", "--port", "5999")
    assert refused.returncode == 1
    assert "did not start" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (home / "server.json").exists()


def test_a_machine_is_examined_in_one_line_per_finding(own: Stack) -> None:
    done = own.run("doctor", "--json")
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert {"Python", "disk", "port", "loopback", "PostgreSQL", "leftovers"} <= set(findings)
    assert findings["port"]["level"] == "ok"
    assert done.returncode == (1 if any(one["level"] == "bad" for one in findings.values()) else 0)


def test_down_and_up_lose_nothing(own: Stack) -> None:
    s3, secrets, logs = own.client("s3"), own.client("secretsmanager"), own.client("logs")
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket="kept", Key="k", Body=body)["VersionId"] for body in (b"1", b"2")]
    secrets.create_secret(Name="kept", SecretString="s")
    logs.create_log_group(logGroupName="kept")
    pid = int(str(state(own)["pid"]))
    own.must("down")
    assert gone(pid)
    assert state(own) == {"running": False, "home": str(own.home)}
    own.must("up")
    assert state(own)["pid"] != pid
    assert [s3.get_object(Bucket="kept", Key="k", VersionId=one)["Body"].read() for one in versions] == [b"1", b"2"]
    assert secrets.get_secret_value(SecretId="kept")["SecretString"] == "s"
    assert logs.describe_log_groups(logGroupNamePrefix="kept")["logGroups"]


def test_a_killed_server_is_followed_by_a_new_one(own: Stack) -> None:
    pid = int(str(state(own)["pid"]))
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid))
    assert not state(own)["running"]
    own.must("up")
    assert state(own)["pid"] != pid
    assert own.client("s3").list_objects_v2(Bucket="kept")["KeyCount"] == 1


def test_down_after_a_kill_ends_what_was_left(own: Stack) -> None:
    pid = int(str(state(own)["pid"]))
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid))
    assert "leftovers: processes of an earlier run" in own.run("doctor").stdout
    assert "ended the processes of a killed server" in own.run("down").stderr
    assert "leftovers: no process" in own.run("doctor").stdout
    own.must("up")


def test_closing_the_terminal_does_not_end_it(own: Stack) -> None:
    own.must("down")
    shell = subprocess.Popen([str(SKYLIFT), "up"], env=own.environ, start_new_session=True, stderr=subprocess.DEVNULL)
    assert shell.wait(60) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGHUP)  # nothing of the command's process group is left to be hung up
    assert state(own)["running"]
