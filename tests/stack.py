"""A whole skylift for tests: the real command in a home of its own, as a user has it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from skylift.cli.runs.airflow_api import AirflowApi
from skylift.cli.runs.sign_in import WebSignIn

ROOT = Path(__file__).parents[1]
SKYLIFT = Path(sys.executable).with_name("skylift")
QUICKSTART = ROOT / "examples" / "quickstart"


@dataclass(frozen=True)
class Stack:
    """A running skylift and the means to talk to it."""

    home: Path
    environ: dict[str, str]

    def run(self, *words: str, seconds: float = 900) -> subprocess.CompletedProcess[str]:
        """The ``skylift`` command; its output is text, whatever its exit code."""
        return subprocess.run(
            [str(SKYLIFT), *words], env=self.environ, text=True, capture_output=True, timeout=seconds, check=False
        )

    def must(self, *words: str, seconds: float = 900) -> str:
        """As ``run``, and the exit code must be 0."""
        done = self.run(*words, seconds=seconds)
        assert done.returncode == 0, f"skylift {' '.join(words)}\n{done.stdout}\n{done.stderr}\n{self.log()}"
        return done.stdout

    def log(self, lines: int = 40) -> str:
        """The end of the server's log."""
        file = self.home / "server.log"
        return "\n".join(file.read_text().splitlines()[-lines:]) if file.exists() else ""

    def client(self, service: str, **credentials: str) -> Any:
        """A boto3 client with nothing of ours: endpoint and credentials as ``skylift shellenv`` gives them, or other
        credentials."""
        session = boto3.Session()
        answer = self.must("shellenv")
        words = dict(
            line.removeprefix("export ").partition("=")[::2]
            for line in answer.splitlines()
            if line.startswith("export ")
        )
        values = {name: value.strip("'\"") for name, value in words.items()}
        keys = _profile(Path(values["AWS_SHARED_CREDENTIALS_FILE"]))
        return session.client(
            service,
            region_name=values["AWS_REGION"],
            endpoint_url=values["AWS_ENDPOINT_URL"],
            **(credentials or {name: keys[name] for name in ("aws_access_key_id", "aws_secret_access_key")}),
            config=Config(inject_host_prefix=False, retries={"total_max_attempts": 2}),
        )

    def airflow(self, environment: str) -> AirflowApi:
        """Airflow's API of an environment, signed in with the owner's credentials."""
        shown = json.loads(self.must("env", "show", environment, "--json"))
        return AirflowApi(shown["WebserverUrl"], WebSignIn(self.client("mwaa"), environment).session)


@contextmanager
def running(home: Path, iam: str = "observe") -> Iterator[Stack]:
    """Starts skylift on a free port; takes it down at the end, whatever happened.

    Args:
        iam: ``observe``: it notes which calls IAM's policies would deny, and refuses nothing; or ``enforce``.
    """
    # Not what records which test runs which line: this server outlives the test that asks for it first.
    unwanted = ("AWS_", "SKYLIFT_", "AIRFLOW", "PYTHONDONTWRITEBYTECODE", "COVERAGE_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    more = {"SKYLIFT_HOME": str(home), "SKYLIFT_IAM": iam, "COLUMNS": "200", "NO_COLOR": "1"}
    stack = Stack(home, environ | more)
    try:
        stack.must("up", "--port", str(_free_port()))
        yield stack
    finally:
        stack.run("down")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _profile(file: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in file.read_text().splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}
