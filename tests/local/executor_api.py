"""Airflow's execution API alone (SQLite, no scheduler) with queued task instances: what an executor's container
meets."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skylift.executors.in_container import programs

DAGS = """
import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.exceptions import AirflowRescheduleException
from airflow.sdk import BaseOperator, dag, task, timezone


class Graceful(BaseOperator):
    asked = False

    def execute(self, context):
        Path(__file__).with_name(f"{self.task_id}.began").touch()
        while not self.asked:
            time.sleep(0.1)

    def on_kill(self):
        with Path(__file__).with_name(f"{self.task_id}.killed").open("a") as file:
            file.write("once ")
        self.asked = True


@dag(schedule=None)
def d():
    @task
    def good(): print("hello from the task")
    @task
    def bad(): raise ValueError("no")
    @task
    def killed(): os.kill(os.getpid(), 9)
    @task
    def again(): raise AirflowRescheduleException(timezone.utcnow() + timedelta(hours=1))
    @task
    def cleared(): time.sleep(120)
    @task
    def late(): time.sleep(120)
    @task
    def unwanted(): print("must not run")
    @task
    def asleep():
        Path(__file__).with_name("asleep.began").touch()
        time.sleep(200)
    @task
    def leaves(): os._exit(3)
    good(); bad(); killed(); again(); cleared(); late(); unwanted(); asleep(); leaves()
    Graceful(task_id="graceful"), Graceful(task_id="graceful_again", retries=1), Graceful(task_id="graceful_cleared")


d()
"""

CALLBACKS = """
from pathlib import Path


def told(file): Path(file).write_text("told")
def untold(file): raise ValueError("no")
"""

PREPARE = """
import json, sys, uuid
from sqlalchemy import select
from airflow.cli.cli_parser import get_parser
for words in (["db", "migrate"], ["dags", "reserialize"], ["dags", "trigger", "d"]):
    args = get_parser().parse_args(words)
    args.func(args)
from airflow.executors.local_executor import LocalExecutor
from airflow.executors.workloads import ExecuteTask
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
generator = LocalExecutor().jwt_generator
workloads = {}
with create_session() as session:
    for run in session.scalars(select(DagRun)):
        run.state = "running"
    for ti in session.scalars(select(TaskInstance)):
        ti.state, ti.try_number, ti.external_executor_id = "queued", 1, str(uuid.uuid4())
        workloads[ti.task_id] = ExecuteTask.make(ti, generator=generator).model_dump_json()
from airflow.executors import workloads as known
if hasattr(known, "ExecuteCallback"):
    callback = known.ExecuteCallback.model_fields["callback"].annotation
    for name in ("told", "untold"):
        data = {"path": f"callbacks_of_d.{name}", "kwargs": {"file": sys.argv[1] + ".told"}}
        workloads[name] = known.ExecuteCallback(
            callback=callback(id=uuid.uuid4(), fetch_method="import_path", data=data),
            dag_rel_path="d.py", bundle_info={"name": "dags-folder"}, log_path=f"callbacks/{name}", token=generator.generate({"sub": "x"}),
        ).model_dump_json()
open(sys.argv[1], "w").write(json.dumps(workloads))
"""


@dataclass(frozen=True)
class ExecutionApi:
    """A running execution API.

    Attributes:
        workloads: JSON by task id, and where there are such, those of callbacks by their function's name.
    """

    home: Path
    environ: dict[str, str]
    workloads: dict[str, str]

    def start(
        self, task_id: str, *, inline: str | None = None, words: Sequence[str] = (), **environ: str
    ) -> subprocess.Popen[str]:
        """Runs the container's command for a task instance: ``words``, or the program with its workload in them."""
        words = words or programs.inline("", self.workloads[task_id] if inline is None else inline)[0]
        return subprocess.Popen(
            [sys.executable, *words[1:]],
            env=self.environ | environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def state(self, task_id: str) -> str:
        """The task instance's state in the database."""
        return str(self._sql("select state from task_instance where task_id = ?", task_id)[0][0])

    def set_state(self, task_id: str, state: str) -> None:
        """As if the scheduler or a person had."""
        self._sql("update task_instance set state = ? where task_id = ?", state, task_id)

    def _sql(self, statement: str, *values: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.home / "airflow.db", timeout=30) as database:
            return database.execute(statement, values).fetchall()


def for_containers(environ: Mapping[str, str], **more: str) -> list[dict[str, str]]:
    """The environment of a definition whose containers run Airflow with the tiny image, and meet the API of
    ``environ``.

    The tiny image is this Python behind a link, which does not find its own packages, nor what is installed to be
    edited.
    """
    path = f"{sysconfig.get_path('purelib')}:{Path(__file__).parents[2] / 'src'}"
    airflow = {name: value for name, value in environ.items() if name.startswith("AIRFLOW")}
    return [{"name": name, "value": value} for name, value in (airflow | {"PYTHONPATH": path} | more).items()]


@contextmanager
def execution_api(home: Path, dags: str = DAGS) -> Iterator[ExecutionApi]:
    """Starts it; ends it by its process group. ``dags``: text of a DAG file with the DAG ``d``."""
    home.mkdir(parents=True)
    (home / "dags").mkdir()
    (home / "dags" / "d.py").write_text(dags)
    (home / "dags" / "callbacks_of_d.py").write_text(CALLBACKS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    unwanted = ("AWS_", "SKYLIFT_", "AIRFLOW", "PYTHONDONTWRITEBYTECODE")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-tests-" * 5,
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "1",
        # A busy machine takes longer for these tests than a token lives.
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "7200",
        "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME": "7200",
    }
    prepared = subprocess.run(
        [sys.executable, "-c", PREPARE, str(home / "workloads.json")],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert prepared.returncode == 0, prepared.stdout + prepared.stderr
    words = [str(Path(sys.executable).with_name("airflow")), "api-server", "--apps", "execution"]
    with open(home / "api.log", "wb") as log:
        server = subprocess.Popen(
            [*words, "--host", "127.0.0.1", "--port", str(port)],
            env=environ,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/execution/health", server, home / "api.log")
        yield ExecutionApi(home, environ, json.loads((home / "workloads.json").read_text()))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])
