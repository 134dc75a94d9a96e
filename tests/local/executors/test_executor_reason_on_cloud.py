"""With Airflow's real scheduler code, database and log API, on ECS of the local cloud: people see why a container
died."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.drivers import aws_variables, driven, ecs_section
from tests.local.ecs_cloud import ACCOUNT, OWNER, REGION, Cloud, definition
from tests.local.executor_api import ExecutionApi, execution_api, for_containers

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(420)]

CONTAINERS = "/test/containers"
REMOTE = "/test/airflow"
DAGS = """
import os
import signal
import time
from pathlib import Path

from airflow.sdk import dag, task


def deaf(name):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(f"{name} hears nothing", flush=True)
    Path(os.environ["READY"], name).touch()
    time.sleep(120)


@dag(schedule=None)
def d():
    @task(executor_config={"taskDefinition": "small"})
    def hungry():
        kept = []
        for step in range(60):
            print(f"ate {step * 32} MiB", flush=True)
            kept.append(bytearray(b"x") * (32 << 20))
            time.sleep(0.2)
    @task(executor_config={"taskDefinition": "no-image"})
    def pulled(): pass
    @task(executor_config={"taskDefinition": "no-secret"})
    def secretive(): pass
    @task(executor_config={"taskDefinition": "exits"})
    def exits(): pass
    @task(executor_config={"taskDefinition": "nowhere"})
    def refused(): pass
    @task(executor_config={"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]})
    def spot(): deaf("spot")
    @task
    def stopped(): deaf("stopped")
    @task(executor_config={"taskDefinition": "patient"})
    def polite():
        Path(os.environ["READY"], "polite").touch()
        time.sleep(120)
    hungry(); pulled(); secretive(); exits(); refused(); spot(); stopped(); polite()


d()
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    started = Cloud(tmp_path_factory.mktemp("cloud")).start()
    try:
        started.client().create_cluster(capacityProviders=["FARGATE", "FARGATE_SPOT"])
        for group in (CONTAINERS, REMOTE):
            started.client("logs").create_log_group(logGroupName=group)
        started.client("s3").create_bucket(Bucket="workloads")
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def told(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What is told of each Airflow task, once all have died."""
    home = tmp_path_factory.mktemp("execution")
    with execution_api(home / "home", DAGS) as api:
        (home / "ready").mkdir()
        register(cloud, api, home / "ready")
        yield drive(cloud, api, home)


def remote_logs() -> dict[str, str]:
    return {
        "AIRFLOW__LOGGING__REMOTE_LOGGING": "True",
        "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": f"cloudwatch://arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{REMOTE}",
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    }


def register(cloud: Cloud, api: ExecutionApi, ready: Path) -> None:
    environment = for_containers(api.environ, **remote_logs(), READY=str(ready))
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:nobody-made-it"
    exits = "import sys; print('your own entrypoint says: no module named mycompany'); sys.exit(1)"
    for family, memory, members in (
        ("work", "2048", {}),
        ("patient", "2048", {"stopTimeout": 60}),
        ("small", "512", {}),
        ("no-image", "2048", {"image": "nowhere/none:1"}),
        ("no-secret", "2048", {"secrets": [{"name": "X", "valueFrom": secret}]}),
        ("exits", "2048", {"entryPoint": ["python", "-c", exits]}),
    ):
        request = definition("true", environment=environment, **{"stopTimeout": 2, **members})
        log = request["containerDefinitions"][0]["logConfiguration"]["options"]
        log["awslogs-group"] = CONTAINERS
        cloud.client().register_task_definition(**{**request, "family": family, "memory": memory})


def drive(cloud: Cloud, api: ExecutionApi, home: Path) -> dict[str, Any]:
    variables = api.environ | remote_logs() | aws_variables(cloud.url) | ecs_section()
    variables |= {
        "READY": str(home / "ready"),
        "AWS_DEFAULT_REGION": REGION,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__AWS_ECS_EXECUTOR__LAUNCH_TYPE": "FARGATE",
        "AIRFLOW__AWS_ECS_EXECUTOR__MAX_RUN_TASK_ATTEMPTS": "2",
        "AIRFLOW__SKYLIFT__PAYLOAD_URL": "s3://workloads/test",
    }
    return driven("reason_driver.py", variables=variables, answer=home / "answer.json", seconds=360)


ROWS = {
    "hungry": ("OutOfMemoryError: Container killed due to memory usage", "memory limit of 512 MiB", "exit code 137"),
    "pulled": ("TaskFailedToStart", "CannotPullContainerError", "nowhere/none:1"),
    "secretive": ("TaskFailedToStart", "ResourceInitializationError", "nobody-made-it"),
    "exits": ("EssentialContainerExited", "exit code 1"),
    "refused": ("nowhere",),
    "spot": ("SpotInterruption", "exit code 137"),
    "stopped": ("UserInitiated", "somebody was at the console", "exit code 137"),
}
"""What is told of each Airflow task: in the event's info, in its event log, and in its log."""

LINES = {"hungry": "ate 32 MiB", "exits": "no module named mycompany", "spot": "spot hears nothing"}
"""What the container printed last: in the event log and in the log."""


@pytest.mark.parametrize("task_id", ROWS)
def test_the_reason_is_in_the_events_info(told: dict[str, Any], task_id: str) -> None:
    text = told["infos"][task_id]
    assert all(word in text for word in ROWS[task_id]), text
    assert "\n" not in text
    assert len(text) <= 1000
    assert told["states"][task_id] == "failed"


@pytest.mark.parametrize("task_id", ROWS)
def test_the_reason_is_in_the_event_log(told: dict[str, Any], task_id: str) -> None:
    events = [text for text in told["events"][task_id] if text.startswith("executor: ended")]
    assert len(events) == 1, told["events"][task_id]
    assert all(word in events[0] for word in ROWS[task_id]), events
    assert LINES.get(task_id, "") in events[0]


@pytest.mark.parametrize("task_id", ROWS)
def test_the_reason_is_in_the_log_of_the_ui(told: dict[str, Any], task_id: str) -> None:
    log = told["logs"][task_id]
    assert all(word in log for word in ROWS[task_id]), log
    assert "error " in log
    assert LINES.get(task_id, "") in log
    assert "eyJ" not in log
    assert OWNER.secret not in log


def test_who_stopped_a_task_is_told_also_when_it_had_time_to_end(told: dict[str, Any]) -> None:
    assert told["states"]["polite"] == "failed"
    events = [text for text in told["events"]["polite"] if text.startswith("executor: ended")]
    assert len(events) == 1, told["events"]["polite"]
    for text in (events[0], told["logs"]["polite"]):
        assert "UserInitiated (somebody was at the console)" in text, text


def test_a_container_that_never_began_is_told_of_each_time(told: dict[str, Any]) -> None:
    repeats = [text for text in told["events"]["pulled"] if text.startswith("executor: repeated")]
    assert len(repeats) == 1, told["events"]["pulled"]
    assert told["logs"]["pulled"].count("CannotPullContainerError") >= 2, "the first attempt's reason is not in the log"


def test_the_log_of_a_running_task_says_where_it_runs(told: dict[str, Any]) -> None:
    (message,) = told["watched"]["messages"]
    assert "ECS task arn:aws:ecs:" in message
    assert "is RUNNING since 20" in message
    assert told["watched"]["lines"] == [], "CloudWatch shows the lines already"
