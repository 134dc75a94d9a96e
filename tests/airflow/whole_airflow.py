"""A whole Airflow of any version, as someone has it: its processes from that version's environment, PostgreSQL, our
executor.

The test's own process, and the local cloud in it, stay in skylift's environment: Airflow meets them over HTTP, as it
meets AWS.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.password_sign_in import password_sign_in

from skylift.cli.runs.airflow_api import AirflowApi
from skylift.core.errors import Refused, Unavailable
from skylift.localcloud.postgres.server import Postgres
from skylift.testing import Cloud

IMAGE = "my/airflow:1"
PASSWORD = "only-for-tests"
GROUP = "/airflow"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")


@dataclass
class Site:
    """A running Airflow.

    Attributes:
        venv: the environment of its version.
        marks: a folder that the DAGs of ``version_dags.py`` look into.
    """

    venv: Path
    home: Path
    cloud: Cloud
    environ: dict[str, str]
    api: AirflowApi
    marks: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, component: str) -> None:
        with open(self.home / f"{component}.log", "ab") as log:
            self.processes[component] = subprocess.Popen(
                [self.venv / "bin" / "airflow", component],
                env=self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, component: str) -> None:
        """``kill -9`` for the component and all that it started."""
        process = self.processes.pop(component)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def end(self) -> None:
        """Ends all processes; some of Airflow's take their time when asked politely."""
        for process in self.processes.values():
            os.killpg(process.pid, signal.SIGTERM)
        until = time.monotonic() + 3
        for process in self.processes.values():
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)

    def said(self, lines: int = 40) -> str:
        """The end of what each component wrote."""
        ends = ["\n".join(log.read_text(errors="replace").splitlines()[-lines:]) for log in self.home.glob("*.log")]
        return "\n\n".join(ends)

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Waits until it is so; a slow answer of Airflow's API is asked for again."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except (Unavailable, Refused, OSError):
                pass
            assert time.monotonic() < deadline, f"not in {seconds} s: {what}\n{self.said()}"
            assert all(one.poll() is None for one in self.processes.values()), f"a component ended\n{self.said()}"
            time.sleep(0.3)

    def launches(self) -> Counter[tuple[str, str]]:
        """How many ECS tasks there were, by task_id and map_index."""
        ecs = self.cloud.client("ecs")
        arns = [arn for state in ("RUNNING", "STOPPED") for arn in ecs.list_tasks(desiredStatus=state)["taskArns"]]
        counted: Counter[tuple[str, str]] = Counter()
        for one in ecs.describe_tasks(tasks=arns, include=["TAGS"])["tasks"] if arns else []:
            tags = {tag["key"]: tag["value"] for tag in one["tags"]}
            counted[tags["task_id"], tags["map_index"]] += 1
        return counted


@contextmanager
def site(venv: Path, cloud: Cloud, home: Path) -> Iterator[Site]:
    """Starts it, with the DAGs of ``version_dags.py``; ends it and all that it started."""
    (home / "dags").mkdir(parents=True)
    (home / "marks").mkdir()
    shutil.copy(Path(__file__).with_name("version_dags.py"), home / "dags" / "dags.py")
    (home / "passwords.json").write_text(json.dumps({"admin": PASSWORD}))
    postgres = Postgres(home / "database")
    postgres.start()
    try:
        port = _free_port()
        common, own = _variables(home, port, postgres)
        _furnish(cloud, common)
        environ = _clean() | cloud.variables | common | own | {"PATH": f"{venv / 'bin'}:/usr/bin:/bin"}
        url = f"http://127.0.0.1:{port}"
        api = AirflowApi(url, password_sign_in(url, "admin", PASSWORD))
        running = Site(venv, home, cloud, environ, api, home / "marks")
        subprocess.run([venv / "bin" / "airflow", "db", "migrate"], env=environ, check=True, capture_output=True)
        try:
            for component in COMPONENTS:
                running.start(component)
            running.until(lambda: {"flight", "burst"} <= set(api.dags()), 180, "the DAGs are parsed")
            running.until(lambda: not api.unhealthy(), 60, "all components are healthy")
            yield running
        finally:
            running.end()
    finally:
        postgres.stop()


def _variables(home: Path, port: int, postgres: Postgres) -> tuple[dict[str, str], dict[str, str]]:
    """What Airflow's processes and containers have in common, and what only its own processes have."""
    common = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "SKYLIFT_TEST_MARKS": str(home / "marks"),
    }
    database = f"postgresql+psycopg2://{postgres.superuser}:{postgres.password}@127.0.0.1:{postgres.port}/postgres"
    own = {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-tests-" * 5,
        "AIRFLOW__CORE__EXECUTOR": "skylift.executors.ecs.AwsEcsExecutor",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        # A scheduler that is gone is noticed soon, so that the test is short.
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
        "AIRFLOW__AWS_ECS_EXECUTOR__CLUSTER": "default",
        "AIRFLOW__AWS_ECS_EXECUTOR__CONTAINER_NAME": "airflow",
        "AIRFLOW__AWS_ECS_EXECUTOR__TASK_DEFINITION": "airflow",
        "AIRFLOW__AWS_ECS_EXECUTOR__REGION_NAME": "us-east-1",
        "AIRFLOW__AWS_ECS_EXECUTOR__SUBNETS": "subnet-1",
        "AIRFLOW__AWS_ECS_EXECUTOR__LAUNCH_TYPE": "FARGATE",
        "AIRFLOW__SKYLIFT__PAYLOAD_URL": "s3://workloads/airflow",
    }
    return common, own


def _furnish(cloud: Cloud, variables: dict[str, str]) -> None:
    """What the user's own AWS account has: cluster, log group, bucket, and a task definition with their image."""
    logs = {"awslogs-group": GROUP, "awslogs-region": cloud.region, "awslogs-stream-prefix": "airflow"}
    container: dict[str, Any] = {
        "name": "airflow",
        "image": IMAGE,
        "environment": [{"name": name, "value": value} for name, value in variables.items()],
        "logConfiguration": {"logDriver": "awslogs", "options": logs},
    }
    cloud.client("logs").create_log_group(logGroupName=GROUP)
    cloud.client("s3").create_bucket(Bucket="workloads")
    cloud.client("ecs").create_cluster(clusterName="default")
    cloud.client("ecs").register_task_definition(
        family="airflow",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="512",
        memory="1024",
        taskRoleArn=f"arn:aws:iam::{cloud.account}:role/task",
        executionRoleArn=f"arn:aws:iam::{cloud.account}:role/start",
        containerDefinitions=[container],
    )


def _clean() -> dict[str, str]:
    unwanted = ("AWS_", "SKYLIFT_", "AIRFLOW", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
