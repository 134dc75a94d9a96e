"""Airflow alone in one container: API server, scheduler, DAG processor and triggerer, with LocalExecutor and SQLite.

This file's text is the command of the container (``python -c``), so any image with Airflow 3 will do; it imports
nothing of skylift, unless the image has it. Airflow is imported once, and its four components are forks of that
process: that saves CPU at the start, and memory. A component that ends is started again; one that ends again and again
ends the container, and ECS starts another. The database is copied to S3 every few minutes and at the end, and fetched
from there at the start: a new container goes on where the old one was.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import importlib
import importlib.util
import json
import os
import signal
import sqlite3
import sys
import time
import urllib.request
import uuid
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

COMPONENTS = ("scheduler", "dag-processor", "triggerer", "api-server")
PORT = 8080
KEEP_SECONDS = 300.0
STOP_SECONDS = 40.0
OWNER_SECONDS = 75.0
MOST_ENDS, ENDS_WITHIN = 4, 600.0
AS_LIBRARY = "_AIRFLOW__AS_LIBRARY"
MODULES = (
    "airflow.__main__",
    "airflow.cli.cli_parser",
    "airflow.executors.local_executor",
    "airflow.cli.commands.scheduler_command",
    "airflow.jobs.scheduler_job_runner",
    "airflow.cli.commands.dag_processor_command",
    "airflow.jobs.dag_processor_job_runner",
    "airflow.cli.commands.triggerer_command",
    "airflow.jobs.triggerer_job_runner",
    "airflow.cli.commands.api_server_command",
    "airflow.api_fastapi.core_api.app",
    "airflow.api_fastapi.execution_api.app",
    "airflow.sdk.execution_time.supervisor",
)


def say(text: str) -> None:
    """A line in the container's log, in one write: the components write there, too."""
    sys.stdout.write(f"skylift: {text}\n")
    sys.stdout.flush()


def own_address(environ: Mapping[str, str]) -> str:
    """The address of this ECS task; 127.0.0.1 outside ECS."""
    url = environ.get("ECS_CONTAINER_METADATA_URI_V4")
    if not url:
        return "127.0.0.1"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        return str(json.load(answer)["Networks"][0]["IPv4Addresses"][0])


def key_of(purpose: str, password: str) -> str:
    """A key that all components and the next container have, too."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"{purpose}:{password}".encode()).digest()).decode()


def bundle(dags: str) -> str:
    """Airflow's configuration of the DAG folder in S3, with what the image has for it."""
    bucket, _, prefix = dags.removeprefix("s3://").partition("/")
    if importlib.util.find_spec("skylift") is not None:
        found: dict[str, Any] = {"classpath": "skylift.runtime.bundle.S3Bundle", "kwargs": {"url": dags}}
    else:
        kwargs = {"aws_conn_id": None, "bucket_name": bucket, "prefix": prefix, "refresh_interval": 10}
        found = {"classpath": "airflow.providers.amazon.aws.bundles.s3.S3DagBundle", "kwargs": kwargs}
    return json.dumps([{"name": "dags", **found}])


def configure(environ: MutableMapping[str, str]) -> str:
    """Sets Airflow's variables that are known only here; the rest is in the task definition. Returns the address."""
    password, home = environ.pop("SKYLIFT_ALONE_PASSWORD", ""), environ["AIRFLOW_HOME"]
    os.makedirs(home, exist_ok=True)
    passwords = os.path.join(home, "passwords.json")
    with open(os.open(passwords, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"admin": password}, file)
    address = own_address(environ)
    environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"] = passwords
    environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"http://{address}:{PORT}/execution/"
    environ.setdefault("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{home}/airflow.db")
    environ.setdefault("AIRFLOW__CORE__FERNET_KEY", key_of("fernet", password))
    environ.setdefault("AIRFLOW__API_AUTH__JWT_SECRET", key_of("jwt", password))
    environ.setdefault("AIRFLOW__API__SECRET_KEY", key_of("session", password))
    if environ.get("SKYLIFT_ALONE_DAGS"):
        environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = bundle(environ["SKYLIFT_ALONE_DAGS"])
    return address


class State:
    """The copy of the database in S3. Beside it is the name of the container whose copy it is: ECS starts the next one
    while the last one is still ending, and the next one must wait for the copy, at most as long as ECS lets a container
    end."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        url, connection = environ.get("SKYLIFT_ALONE_STATE", ""), environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        self.file = connection.partition("sqlite:///")[2] if url else ""
        self.bucket, _, self.key = url.removeprefix("s3://").partition("/")
        self.owner = f"{self.key.rpartition('/')[0]}/owner"
        self.kept = time.monotonic()
        self.name = uuid.uuid4().hex

    def take(self) -> None:
        """Waits until nobody has the database, then it is ours. One that was killed never says that it has gone."""
        if not self.file:
            return
        deadline = time.monotonic() + OWNER_SECONDS
        try:
            if self._owner():
                say(f"waiting for the copy of the container before, at most {OWNER_SECONDS:.0f} s")
            while self._owner() and time.monotonic() < deadline:
                time.sleep(1)
            self._set_owner(self.name)
        except Exception as error:  # noqa: BLE001  as in fetch
            say(f"S3 does not say who has the database: {error}")

    def leave(self) -> None:
        """The copy is whole: the next container may have it."""
        try:
            if self.file and self._owner() == self.name:
                self._set_owner("")
        except Exception as error:  # noqa: BLE001  the next one waits in vain, and goes on
            say(f"the next container will wait {OWNER_SECONDS:.0f} s: {error}")

    def _owner(self) -> str:
        client = importlib.import_module("boto3").client("s3")
        if not client.list_objects_v2(Bucket=self.bucket, Prefix=self.owner).get("KeyCount"):
            return ""
        return str(client.get_object(Bucket=self.bucket, Key=self.owner)["Body"].read().decode())

    def _set_owner(self, name: str) -> None:
        client = importlib.import_module("boto3").client("s3")
        client.put_object(Bucket=self.bucket, Key=self.owner, Body=name.encode())

    def fetch(self) -> None:
        """Takes the copy, if there is one and no database yet."""
        if not self.file or os.path.exists(self.file):
            return
        try:
            client = importlib.import_module("boto3").client("s3")
            if not client.list_objects_v2(Bucket=self.bucket, Prefix=self.key).get("KeyCount"):
                return
            packed = client.get_object(Bucket=self.bucket, Key=self.key)["Body"].read()
            with open(self.file, "wb") as file:
                file.write(gzip.decompress(packed))
            say("the database is the copy that an earlier container left in S3")
        except Exception as error:  # noqa: BLE001  whatever it is: Airflow without its history is better than none
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.file)
            say(f"the copy of the database in S3 cannot be used, so this begins with an empty one: {error}")

    def keep(self) -> None:
        """Writes the copy."""
        self.kept = time.monotonic()
        if not self.file or not os.path.exists(self.file):
            return
        copy = self.file + ".copy"
        try:
            if self._owner() not in {"", self.name}:
                say("another container has the database by now: no copy of this one")
                return
            with (
                contextlib.closing(sqlite3.connect(self.file, timeout=30)) as source,
                contextlib.closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
            with open(copy, "rb") as file:
                packed = gzip.compress(file.read(), 3)
            os.unlink(copy)
            importlib.import_module("boto3").client("s3").put_object(Bucket=self.bucket, Key=self.key, Body=packed)
        except Exception as error:  # noqa: BLE001  whatever it is: Airflow goes on
            say(f"the database could not be copied to S3; the next try is in {KEEP_SECONDS:.0f} s: {error}")


def fork(arguments: Sequence[str]) -> int:
    """Starts Airflow's command in a fork of this process, which has imported Airflow."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.environ.pop(AS_LIBRARY, None)
        sys.argv[:] = ["airflow", *arguments]
        settings = importlib.import_module("airflow.settings")
        if vars(settings).get("engine") is None:
            settings.initialize()
        else:
            settings.reconfigure_orm()
        importlib.import_module("airflow.__main__").main()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except BaseException as error:  # noqa: BLE001  as Python: told, and the process ends
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def command(component: str, address: str) -> list[str]:
    """Airflow's command for a component. On one machine, log servers of several containers would take the same port."""
    if component == "api-server":
        return [component, "--host", address, "--port", str(PORT)]
    return [component, *(["--skip-serve-logs"] if component in {"scheduler", "triggerer"} else [])]


class Components:
    """The four processes. ``stopping`` is set by a signal."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.running: dict[int, str] = {}
        self.ends: dict[str, list[float]] = {}
        self.stopping = False

    def stop(self, *_: object) -> None:
        """For signals."""
        self.stopping = True

    def start(self, component: str) -> None:
        """Starts one."""
        self.running[fork(command(component, self.address))] = component

    def watch(self, state: State) -> int:
        """Starts again what ends. Returns the container's exit code, once it must end."""
        while not self.stopping:
            pid, status = os.waitpid(-1, os.WNOHANG)
            component = self.running.pop(pid, "")
            if component and not self.stopping and not self._again(component, os.waitstatus_to_exitcode(status)):
                return 1
            if time.monotonic() - state.kept > KEEP_SECONDS:
                state.keep()
            if not pid:
                time.sleep(0.2)
        return 0

    def _again(self, component: str, code: int) -> bool:
        now = time.monotonic()
        ends = [at for at in self.ends.get(component, []) if now - at < ENDS_WITHIN] + [now]
        self.ends[component] = ends
        if len(ends) >= MOST_ENDS:
            say(f"{component} ended {len(ends)} times in {ENDS_WITHIN:.0f} s, the last time with {code}")
            return False
        say(f"{component} ended with {code} and is started again")
        self.start(component)
        return True

    def end(self) -> None:
        """Ends all; kills what does not end in time."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.running:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            self.running.pop(pid, None)
            if time.monotonic() > deadline:
                self._signal(signal.SIGKILL)
            if not pid:
                time.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def main() -> int:
    """Runs until a signal comes, or Airflow does not stay up. Returns the exit code."""
    environ = os.environ
    environ.setdefault("AIRFLOW_HOME", os.path.join(environ.get("HOME") or os.getcwd(), "airflow"))
    address = configure(environ)
    state = State(environ)
    if "airflow.__main__" not in sys.modules:
        environ[AS_LIBRARY] = "1"
    state.take()
    state.fetch()
    for name in MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _, status = os.waitpid(fork(["db", "migrate"]), 0)
    if status:
        say("airflow db migrate failed: its lines are above")
        return 1
    say("the database is ready")
    components = Components(address)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, components.stop)
    for component in COMPONENTS:
        components.start(component)
    code = components.watch(state)
    components.end()
    state.keep()
    state.leave()
    return code


if __name__ == "__main__":
    sys.exit(main())
