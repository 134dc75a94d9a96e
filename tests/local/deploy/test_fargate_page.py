"""``docs/fargate.md`` from its first block to its last, with a real Airflow; and a DAG run through Airflow's API."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.deploy.fargate_cloud import Shell, everything, small_image

from skylift.localcloud.images.registry import NamedImage
from skylift.testing.cloud import Cloud, running_cloud

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "fargate.md").read_text()
BLOCK = re.compile(r"<!-- run -->\n```sh\n(.*?)```", re.DOTALL)
BIN = Path(sys.executable).parent
LOCAL = "skylift/airflow:3.3.2"
DAG = """
from airflow.sdk import dag, task

@dag(schedule=None, is_paused_upon_creation=False)
def {name}():
    @task
    def say():
        print("said by {name}")
    say()
{name}()
"""

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    # The Airflow that the tests have, under the name of our image: what is built is the image tier's matter.
    airflow = NamedImage(Path(sys.prefix))
    with running_cloud(tmp_path_factory.mktemp("fargate"), images={LOCAL: airflow}) as running:
        yield running


@pytest.fixture
def shell(cloud: Cloud, tmp_path: Path) -> Iterator[Shell]:
    before = everything(cloud)
    yield Shell(cloud, tmp_path)
    assert everything(cloud) == before


def test_the_page(tmp_path: Path) -> None:
    # The first of this file: one process runs one cloud, and the others share theirs to the end of the file.
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with running_cloud(tmp_path / "cloud", images={LOCAL: small_image()}) as cloud:
        shell = Shell(cloud, tmp_path)
        before = everything(cloud)
        run_blocks(shell, tmp_path)
        assert everything(cloud) == before


def test_a_dag_runs_and_its_history_outlives_the_container(cloud: Cloud, shell: Shell, tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "one.py").write_text(DAG.format(name="one"))
    following = shell.begin("up", "demo", "--dags", str(dags), "--yes", "--follow", "--wait", "300")
    try:
        api = Api(shell, 300)
        api.run("one", "first")
        (dags / "two.py").write_text(DAG.format(name="two"))
        api.until(lambda: "two" in api.dags(), 300)
    finally:
        following.kill()
        said = following.communicate()[0]
    assert "Airflow is HEALTHY" in said
    ecs = cloud.client("ecs")
    before = ecs.list_tasks(cluster="skylift-fargate-demo")["taskArns"]
    ecs.stop_task(cluster="skylift-fargate-demo", task=before[0])
    again = shell.type("up", "demo", "--yes", "--wait", "300", seconds=330)
    assert again.code == 0, again.err
    assert ecs.list_tasks(cluster="skylift-fargate-demo")["taskArns"] != before
    api = Api(shell, 300)
    assert api.state("one", "first") == "success", "the history is the old container's"
    down = shell.type("down", "demo", "--yes")
    assert down.code == 0, down.err


def run_blocks(shell: Shell, folder: Path) -> None:
    # The page is for people, whose --local starts a cloud of their own; here there is one.
    blocks = [text.replace(" --local", "") for text in BLOCK.findall(PAGE)]
    assert len(blocks) == 2
    for text in blocks:
        done = subprocess.run(
            ["bash", "-euc", text],
            cwd=folder,
            env={**shell.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert "HEALTHY" in done.stdout


class Api:
    """Airflow's API as the page's password opens it, once it answers."""

    def __init__(self, shell: Shell, seconds: float) -> None:
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._token = ""
        deadline = time.monotonic() + seconds
        while True:
            told = shell.type("open", "demo", "--password").out.split()
            try:
                self._url = told[0]
                body = {"username": told[1], "password": told[2]}
                self._token = self.call("POST", "/auth/token", body)["access_token"]
                return
            except (IndexError, OSError):
                assert time.monotonic() < deadline, told
                time.sleep(0.5)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._url + path, method=method, data=data, headers=headers)
        with self._opener.open(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def dags(self) -> list[str]:
        return [one["dag_id"] for one in self.call("GET", "/api/v2/dags")["dags"]]

    def state(self, dag: str, run: str) -> str:
        return str(self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")["state"])

    def run(self, dag: str, run: str) -> None:
        """Triggers a run, and waits until it has succeeded."""
        self.until(lambda: dag in self.dags(), 300)
        self.call("POST", f"/api/v2/dags/{dag}/dagRuns", {"dag_run_id": run, "logical_date": None})
        self.until(lambda: self.state(dag, run) in {"success", "failed"}, 300)
        assert self.state(dag, run) == "success"
        log = self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/say/logs/1")
        assert f"said by {dag}" in json.dumps(log)

    def until(self, condition: Any, seconds: float) -> None:
        """Asks again and again; on a busy machine, Airflow may not answer for a while."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(TimeoutError, ConnectionError):
                if condition():
                    return
            assert time.monotonic() < deadline
            time.sleep(0.5)
