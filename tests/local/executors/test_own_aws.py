"""``docs/own-aws.md`` from its first block to its last: the AWS CLI against the local cloud, then a real Airflow that
runs a DAG there."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.local.aws_cli import path_with_aws
from tests.local.localcloud.test_cloud_alone import Alone
from tests.local.standalone import standalone
from tests.local.upstream_cloud import shell_variables

from skylift.core.errors import Unavailable
from skylift.localcloud.postgres.server import Postgres

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "own-aws.md").read_text()
BLOCK = re.compile(r"<!-- run ?([\w-]*) -->\n```sh\n(.*?)```", re.DOTALL)
BIN = Path(sys.executable).parent
DAG = """
import os
from airflow.sdk import dag, task

@dag(schedule=None, is_paused_upon_creation=False)
def page():
    @task
    def where():
        return "batch" if "AWS_BATCH_JOB_ID" in os.environ else "ecs"
    @task
    def check(before):
        assert before == "{kind}"
    check(where())
page()
"""

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Alone]:
    started = Alone(tmp_path / "home", "--home", str(tmp_path / "home"))
    yield started
    assert started.end() == 0


@pytest.mark.parametrize("kind", ["ecs", "batch"])
def test_the_page_from_nothing_to_a_dag_that_ran(alone: Alone, tmp_path: Path, kind: str) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "page.py").write_text(DAG.format(kind=kind))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    postgres = Postgres(tmp_path / "database")
    postgres.start()
    shell = Shell(
        tmp_path,
        {
            **alone.environ,
            **shell_variables(alone.must("shellenv")),
            "PATH": path_with_aws(BIN),
            "AWS_PAGER": "",
            "HOME": str(tmp_path),
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW_API": f"http://127.0.0.1:{port}",
            "DAGS_FOLDER": str(dags),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (
                f"postgresql+psycopg2://{postgres.superuser}:{postgres.password}@127.0.0.1:{postgres.port}/postgres"
            ),
        },
    )
    try:
        for marked, text in BLOCK.findall(PAGE):
            if marked in {"", kind}:
                shell.run(text)
        # What the page leaves to docker.
        alone.must("image", "add", shell.environ["IMAGE"], sys.prefix)
        wanted = {name: value for name, value in shell.environ.items() if name.startswith(("AIRFLOW__", "AWS_"))}
        with standalone(BIN / "airflow", dags, tmp_path / "airflow", port=port, more=wanted) as api:
            until(lambda: "page" in api.dags(), 180, api.import_errors)
            api.trigger("page", "once", {})
            until(lambda: api.run_state("page", "once") in {"success", "failed"}, 240, lambda: end_of(tmp_path))
            lines = api.task_lines("page", "once")
            assert {line.task_id: line.state for line in lines} == {"where": "success", "check": "success"}, lines
        said = "".join(shell.run(text) for marked, text in BLOCK.findall(PAGE) if marked == f"after-{kind}")
        assert f"arn:aws:{kind}" in said
        assert "attempt=1.log" in said
    finally:
        postgres.stop()


class Shell:
    """A reader's shell: what one block exports, the next one has."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.environ = environ
        self._kept = folder / "environ"

    def run(self, text: str) -> str:
        # The AWS CLI (1.45) has an address of its own for RDS, whatever AWS_ENDPOINT_URL says; only the option goes
        # before.
        endpoint = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }'
        script = f"set -eu\n{endpoint}\n{text}\nenv -0 >{self._kept}\n"
        done = subprocess.run(
            ["bash", "-c", script], env=self.environ, text=True, capture_output=True, timeout=240, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        pairs = (pair.partition("=") for pair in self._kept.read_text().split("\0") if pair)
        self.environ = {name: value for name, _, value in pairs}
        return done.stdout


def end_of(folder: Path) -> str:
    """What Airflow said last."""
    return (folder / "airflow" / "out.log").read_text()[-5000:]


def until(condition: Callable[[], object], seconds: float, tell: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while not _holds(condition):
        assert time.monotonic() < deadline, f"still not so after {seconds} s: {tell()}"
        time.sleep(0.5)


def _holds(condition: Callable[[], object]) -> object:
    try:
        return condition()
    except Unavailable:
        # Airflow's API server on a busy machine: it is asked again.
        return False
