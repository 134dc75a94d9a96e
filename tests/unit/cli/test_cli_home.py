"""State in one private folder; credentials created once; the shell's lines without secrets."""

from __future__ import annotations

import configparser
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from skylift.cli.commands.machine import render
from skylift.cli.credentials import ensure_credentials, master_key
from skylift.cli.home import Home, find_home, read_json, write_private
from skylift.cli.serving.server import RunningServer, alive, record, recorded, start_time
from skylift.core.errors import Refused

pytestmark = pytest.mark.unit


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SKYLIFT_HOME": "/x/y", "XDG_DATA_HOME": "/data"}, "/x/y"),
        ({"XDG_DATA_HOME": "/data", "HOME": "/home/u"}, "/data/skylift"),
        ({"HOME": "/home/u"}, "/home/u/.local/share/skylift"),
    ],
)
def test_where_state_lives(environ: dict[str, str], expected: str) -> None:
    assert find_home(environ).folder == Path(expected)


def test_credentials_are_private_and_made_once(home: Home) -> None:
    first = ensure_credentials(home, 4747)
    again = ensure_credentials(home, 5000)
    assert first == again
    assert (len(first.access_key), len(first.secret)) == (20, 40)
    assert first.secret not in repr(first)
    assert {mode(home.credentials), mode(home.config)} == {0o600}
    assert {mode(home.folder), mode(home.credentials.parent)} == {0o700}
    config = configparser.ConfigParser()
    config.read(home.config)
    assert config["default"]["endpoint_url"] == "http://127.0.0.1:5000"


def test_the_master_key_survives(home: Home) -> None:
    assert master_key(home) == master_key(home)
    assert len(master_key(home)) == 32
    assert mode(home.master_key) == 0o600


def test_damaged_credentials_are_refused_with_advice(home: Home) -> None:
    home.credentials.write_text("[default]\naws_access_key_id = A\n")
    with pytest.raises(Refused, match="To go on without it: mv "):
        ensure_credentials(home, 4747)


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="SKYLIFT_HOME"):
        Home(tmp_path / "file" / "home").prepare()


def test_a_damaged_record_is_refused_with_its_path(home: Home) -> None:
    home.projects.write_text("{")
    with pytest.raises(Refused, match=r"projects\.json is damaged"):
        read_json(home.projects)


def test_private_files_are_replaced_whole(home: Home) -> None:
    target = home.folder / "x.json"
    write_private(target, json.dumps({"a": 1}))
    write_private(target, json.dumps({"a": 2}))
    assert read_json(target) == {"a": 2}
    assert [path.name for path in home.folder.glob(".x*")] == []


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_shell_lines_hold_no_secret_and_unset_what_leads_to_a_real_account(home: Home, shell: str) -> None:
    key = ensure_credentials(home, 4747)
    text = render(home, 4747, shell, {})
    assert key.secret not in text
    assert key.access_key not in text
    assert "AWS_PROFILE" in text


def test_bash_understands_the_lines(home: Home) -> None:
    environ = os.environ | {
        "AWS_ACCESS_KEY_ID": "real",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com",
    }
    lines = render(home, 4747, "bash", environ)
    script = f'{lines}\nprintf \'%s|\' "$AWS_ENDPOINT_URL" "${{AWS_ACCESS_KEY_ID-unset}}" "$AWS_CONFIG_FILE"'
    script += "; env | grep -E 'FIPS|DUALSTACK|IGNORE_CONFIGURED|ENDPOINT_URL_'; true"
    shown = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=True).stdout
    assert shown == f"http://127.0.0.1:4747|unset|{home.config}|"


def test_an_https_endpoint_comes_with_what_to_trust(home: Home) -> None:
    lines = render(home, 4747, "bash", {}, https=True)
    script = f'{lines}\nprintf \'%s|\' "$AWS_ENDPOINT_URL" "$AWS_CA_BUNDLE" "$NODE_EXTRA_CA_CERTS"'
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    trusted = home.folder / "authority" / "ca.pem"
    assert shown == f"https://127.0.0.1:4747|{trusted}|{trusted}|"
    assert "BEGIN CERTIFICATE" in trusted.read_text()
    assert "PRIVATE" not in trusted.read_text()


def test_aimed_calls_go_to_the_server_whatever_was_set(home: Home) -> None:
    script = (
        "import boto3; from pathlib import Path; from skylift.cli.home import Home, aim\n"
        f"aim(Home(Path({str(home.folder)!r})), 4747)\n"
        "print(boto3.client('s3').meta.endpoint_url, boto3.client('sqs').meta.endpoint_url)"
    )
    environ = os.environ | {
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com",
    }
    shown = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True
    ).stdout
    assert shown.split() == ["http://127.0.0.1:4747"] * 2


def test_a_server_is_known_by_pid_and_start_time(home: Home) -> None:
    me = RunningServer(os.getpid(), start_time(os.getpid()) or 0, 4747, "0", str(home.folder))
    record(home, me)
    assert recorded(home) == me
    assert alive(me)
    assert not alive(RunningServer(me.pid, me.started + 1, 4747, "0", str(home.folder)))
    assert mode(home.server_file) == 0o600


def test_no_or_strange_record_is_no_server(home: Home) -> None:
    assert recorded(home) is None
    home.server_file.write_text('{"pid": 1}')
    assert recorded(home) is None
