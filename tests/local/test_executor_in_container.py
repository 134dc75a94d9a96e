"""The container's command against Airflow's real execution API: which exit code tells what."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest
from tests.local.executor_api import ExecutionApi, execution_api

from skylift.core.attempt import Exit

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExecutionApi]:
    with execution_api(tmp_path_factory.mktemp("execution") / "home") as running:
        yield running


def ended(process: subprocess.Popen[str], seconds: float = 90) -> tuple[int, str]:
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


def until_state(api: ExecutionApi, task_id: str, state: str) -> None:
    deadline = time.monotonic() + 60
    while api.state(task_id) != state:
        assert time.monotonic() < deadline, api.state(task_id)
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("task_id", "code", "state"),
    [
        ("good", Exit.DONE, "success"),
        ("bad", Exit.DONE, "failed"),
        ("killed", Exit.ENDED_BADLY, "failed"),
        ("again", Exit.DONE, "up_for_reschedule"),
    ],
)
def test_what_airflow_was_told_is_not_told_again(api: ExecutionApi, task_id: str, code: int, state: str) -> None:
    got, output = ended(api.start(task_id))
    assert got == code, output
    assert api.state(task_id) == state


def test_a_task_instance_that_nobody_wants_any_more_is_not_run(api: ExecutionApi) -> None:
    api.set_state("unwanted", "failed")
    code, output = ended(api.start("unwanted"))
    assert code == Exit.NOT_OURS, output
    assert "must not run" not in output


def test_a_cleared_task_instance_ends_on_airflows_word(api: ExecutionApi) -> None:
    process = api.start("cleared")
    until_state(api, "cleared", "running")
    api.set_state("cleared", "restarting")
    code, output = ended(process)
    assert code == Exit.ENDED_BADLY, output


def test_a_stop_of_the_container_is_told_to_airflow(api: ExecutionApi) -> None:
    process = api.start("late")
    until_state(api, "late", "running")
    process.send_signal(signal.SIGTERM)
    code, output = ended(process)
    assert code == Exit.ENDED_BADLY, output
    assert api.state("late") == "failed"


def test_an_image_without_skylift_may_say_which_executor_the_scheduler_has(api: ExecutionApi) -> None:
    """Schedulers and workers often share their settings; in the worker's image the executor's class is not installed."""
    api.set_state("unwanted", "queued")
    code, output = ended(api.start("unwanted", AIRFLOW__CORE__EXECUTOR="installed.elsewhere.Executor"))
    assert code == Exit.DONE, output
    assert api.state("unwanted") == "success"


@pytest.mark.parametrize("name", ["told", "untold"])
def test_a_callback_of_the_dag_bundle_runs_and_its_end_is_told(api: ExecutionApi, name: str) -> None:
    if name not in api.workloads:
        pytest.skip("Airflow 3.1 gives executors no callbacks")
    mark = api.home / "workloads.json.told"
    mark.unlink(missing_ok=True)
    code, output = ended(api.start(name))
    assert (code == Exit.DONE) is (name == "told"), output
    assert mark.exists() is (name == "told"), output


@pytest.mark.parametrize("fault", ["token", "unreachable", "no workload", "no json"])
def test_what_never_began_says_so(api: ExecutionApi, fault: str) -> None:
    workload = json.loads(api.workloads["late"])
    environ: dict[str, str] = {}
    if fault == "token":
        workload["token"] = "forged"
    if fault == "unreachable":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            closed = probe.getsockname()[1]
        environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"http://127.0.0.1:{closed}/execution/"
    inline = {"no workload": "", "no json": "{"}.get(fault, json.dumps(workload))
    code, output = ended(api.start("late", inline=inline, **environ))
    assert code == Exit.NEVER_BEGAN, output


class Bucket(BaseHTTPRequestHandler):
    """Serves one object as S3 would, and deletes it when it may."""

    body = b""
    deletes = 204
    deleted: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/bucket/w.json" else 404, self.body)

    def do_DELETE(self) -> None:
        self.deleted.append(self.path)
        self.answer(self.deletes, b"" if self.deletes == 204 else b"<Error><Code>AccessDenied</Code></Error>")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.mark.parametrize("deletes", [204, 403])
def test_the_workload_comes_by_reference_and_is_deleted_once_fetched(api: ExecutionApi, deletes: int) -> None:
    api.set_state("unwanted", "queued")
    Bucket.body, Bucket.deletes = api.workloads["unwanted"].encode(), deletes
    Bucket.deleted.clear()
    server = HTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        process = api.start(
            "unwanted",
            inline="",
            SKYLIFT_WORKLOAD="s3://bucket/w.json",
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_port}",
            AWS_ACCESS_KEY_ID="x",
            AWS_SECRET_ACCESS_KEY="x",
            AWS_REGION="us-east-1",
        )
        code, output = ended(process)
    finally:
        server.shutdown()
        server.server_close()
    assert code == Exit.DONE, output
    assert api.state("unwanted") == "success"
    assert Bucket.deleted == ["/bucket/w.json"]
    assert ("stays, with its token" in output) is (deletes == 403), output
