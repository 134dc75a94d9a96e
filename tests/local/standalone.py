"""An Airflow without us, or with our executor only: `airflow standalone`, or its components, and a PostgreSQL (SQLite
locks under load)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.password_sign_in import password_sign_in

from skylift.cli.runs.airflow_api import AirflowApi
from skylift.localcloud.postgres.server import Postgres

PASSWORD = "standalone"


def image_of(home: Path) -> Path:
    """The command ``airflow`` of the image in a skylift's home; not that of the base, which has no plain Python."""
    (found,) = (path for path in (home / "images").glob("*/bin/airflow") if not path.parts[-3].startswith("base-"))
    return found


@contextmanager
def standalone(
    airflow: Path,
    dags: Path,
    home: Path,
    parallelism: int = 8,
    *,
    port: int = 0,
    more: Mapping[str, str] | None = None,
) -> Iterator[AirflowApi]:
    """Starts it from ``airflow``, the command of an image; ends it and all that it started.

    ``more`` are variables on top, with another executor if you like.
    """
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    postgres = Postgres(home / "database")
    postgres.start()
    (home / "passwords.json").write_text(json.dumps({"admin": PASSWORD}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    keep = ("SSL_", "PIP_", "UV_", "REQUESTS_", "HTTP", "http", "NO_PROXY")
    environ = {name: value for name, value in os.environ.items() if name.startswith(keep)} | {
        # As in the image's containers, so that both find the same Python for virtual environments of their own.
        "PATH": f"{airflow.parent}:{airflow.parents[1] / 'system' / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONUSERBASE": str(airflow.parents[1]),
        "HOME": str(home),
        # Examples keep virtual environments there, and would find those of an earlier test, whose Python is gone.
        "TMPDIR": str(home / "tmp"),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (
            f"postgresql+psycopg2://{postgres.superuser}:{postgres.password}@127.0.0.1:{postgres.port}/postgres"
        ),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(parallelism),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        **(more or {}),
    }
    parts = ["standalone"]
    if environ["AIRFLOW__CORE__EXECUTOR"] != "LocalExecutor":
        # `airflow standalone` knows no other: it "forces" LocalExecutor (3.3.2, standalone_command.py, calculate_env).
        subprocess.run([airflow, "db", "migrate"], env=environ, check=True, capture_output=True)
        parts = ["api-server", "scheduler", "dag-processor", "triggerer"]
    with open(home / "out.log", "ab") as log:
        processes = [
            subprocess.Popen([airflow, part], env=environ, stdout=log, stderr=log, start_new_session=True)
            for part in parts
        ]
    try:
        base = f"http://127.0.0.1:{port}"
        _wait(base, processes, home / "out.log")
        yield AirflowApi(base, password_sign_in(base, "admin", PASSWORD))
    finally:
        for process in processes:
            _end(process)
        postgres.stop()


def _wait(base: str, processes: Sequence[subprocess.Popen[bytes]], log: Path) -> None:
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes), log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"{base}/api/v2/monitor/health", timeout=2) as answer:
                parts = json.load(answer)
            if all(parts[name]["status"] == "healthy" for name in ("scheduler", "dag_processor", "triggerer")):
                return
        except (OSError, KeyError, TypeError):
            pass
        time.sleep(0.5)
    raise AssertionError(f"Airflow is not healthy:\n{log.read_text()[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its children share its session, not always its process group: the session is what ends."""
    members = [process.pid, *_session(process.pid)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in members:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            continue


def _session(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == leader and int(entry.name) != leader:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found
