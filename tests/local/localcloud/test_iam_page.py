"""docs/enforce-iam.md as a reader types it: the commands exist, and ``--observed`` prints what somebody did."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from skylift.cli.main import cli

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "enforce-iam.md").read_text()
SKYLIFT = Path(sys.executable).with_name("skylift")

pytestmark = pytest.mark.local


@pytest.fixture
def observing(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A ``skylift cloud`` that notes who does what; its home, and the variables of a shell beside it."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SKYLIFT_"))}
    environ = clean | {"SKYLIFT_HOME": str(tmp_path), "SKYLIFT_IAM": "observe", "NO_COLOR": "1", "COLUMNS": "200"}
    process = subprocess.Popen(
        [SKYLIFT, "cloud", "--home", str(tmp_path)], env=environ, text=True, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = "".join(process.stderr.readline() for _ in range(4))
    try:
        assert "Point boto3" in said, said
        yield tmp_path, environ
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def _client(home: Path, service: str, **keys: str) -> Any:
    session = boto3.Session()
    server = json.loads((home / "server.json").read_text())
    if not keys:
        lines = (home / "aws" / "credentials").read_text().splitlines()[1:]
        keys = dict(re.split(r"\s*=\s*", line, maxsplit=1) for line in lines)  # type: ignore[misc]
    return session.client(service, endpoint_url=f"http://127.0.0.1:{server['port']}", region_name="us-east-1", **keys)


def test_what_was_done_is_printed_as_the_least_policy(observing: tuple[Path, dict[str, str]]) -> None:
    home, environ = observing

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([SKYLIFT, *words], env=environ, text=True, capture_output=True, timeout=120, check=False)

    iam = _client(home, "iam")
    iam.create_user(UserName="kim")
    key = iam.create_access_key(UserName="kim")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    _client(home, "s3").create_bucket(Bucket="data")
    s3 = _client(home, "s3", **keys)
    s3.put_object(Bucket="data", Key="in/a", Body=b"a")
    s3.list_objects_v2(Bucket="data")
    answer = run("iam-policy", "--observed", "--principal", "kim", "--since", "1h")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::data"]},
            {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::data/in/a"]},
        ],
    }
    assert list(json.loads(run("iam-policy", "--observed").stdout)) == ["arn:aws:iam::000000000000:user/kim"]
    calls = json.loads(run("iam-policy", "--observed", "--json").stdout)
    assert {one["action"] for one in calls if "no identity-based policy allows" in one["denied"]} == {
        "s3:ListBucket",
        "s3:PutObject",
    }
    assert "was not seen" in run("iam-policy", "--observed", "--principal", "nobody").stderr
    assert "give an age" in run("iam-policy", "--observed", "--since", "yesterday").stderr


def test_the_pages_commands_and_options_exist() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    typed = [shlex.split(line)[1:] for block in blocks for line in block.splitlines() if line.startswith("skylift ")]
    assert len(typed) >= 4
    for words in typed:
        command = cli.commands[words[0]]
        command.make_parser(_context(command)).parse_args(list(words[1:]))
    shown = set(re.findall(r"`(--[a-z-]+)", PAGE))
    known = {option for name in ("up", "iam-policy") for one in cli.commands[name].params for option in one.opts}
    assert shown <= known


def _context(command: Any) -> Any:
    return command.make_context(command.name, [], resilient_parsing=True)
