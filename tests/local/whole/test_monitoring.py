"""The metrics of a DAG run in CloudWatch, read with the real client; the commands of ``docs/monitoring.md`` do what the
page says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.local.aws_cli import path_with_aws
from tests.stack import QUICKSTART, ROOT, SKYLIFT, Stack

pytestmark = [pytest.mark.local, pytest.mark.timeout(1800)]

NAME = "monitored"
LEVELS = """
import logging
from airflow.sdk import dag, task

@dag(schedule=None)
def levels():
    @task
    def talk():
        for level in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger("mine"), level)("said at %s", level)
    talk()

levels()
"""
PAGE = (ROOT / "docs" / "monitoring.md").read_text()


@pytest.fixture(scope="module")
def environment(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One whose DAG has run once: six Airflow tasks, all of them with success."""
    folder = tmp_path_factory.mktemp("projects") / NAME
    shutil.copytree(QUICKSTART, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "startup.sh").write_text("echo hello from startup\n")
    (folder / "dags" / "levels.py").write_text(LEVELS)
    stack.must("up", str(folder), seconds=1500)
    stack.must("env", "run", "quickstart", "--env", NAME, seconds=600)
    yield NAME
    stack.must("env", "delete", NAME)


def value(stack: Stack, namespace: str, metric: str, statistic: str, **dimensions: str) -> float | None:
    """One statistic of a metric's last hour; ``None``: there is no value yet."""
    now = datetime.now(UTC)
    found = stack.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name.replace("_", " "), "Value": text} for name, text in dimensions.items()],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=7200,
        Statistics=[statistic],
    )["Datapoints"]
    return sum(float(point[statistic]) for point in found) if found else None


def awaited(stack: Stack, wanted: float | None, *what: str, seconds: float = 240, **dimensions: str) -> float:
    """The statistic once it is as wanted; with ``None``, once there is one."""
    deadline = time.monotonic() + seconds
    while True:
        found = value(stack, *what, **dimensions)  # type: ignore[arg-type]  # namespace, metric, statistic
        if found is not None and (wanted is None or found == wanted):
            return found
        assert time.monotonic() < deadline, f"{what} {dimensions}: {found} instead of {wanted}"
        time.sleep(0.5)


def test_a_dag_run_is_counted(stack: Stack, environment: str) -> None:
    of = {"Environment": environment}
    for metric in ("TaskInstanceSuccesses", "StartedTaskInstances"):
        awaited(stack, 6, "AmazonMWAA", metric, "Sum", DAG="All", Task="All", **of)
    summarise = {"DAG": "quickstart", "Task": "summarise", **of}
    awaited(stack, 4, "AmazonMWAA", "TaskInstanceFinished", "Sum", State="success", **summarise)
    awaited(stack, 4, "AmazonMWAA", "TaskInstanceDuration", "SampleCount", **summarise)
    awaited(stack, 1, "AmazonMWAA", "DAGDurationSuccess", "SampleCount", DAG="quickstart", **of)
    assert value(stack, "AmazonMWAA", "TaskInstanceFailures", "Sum", DAG="All", Task="All", **of) is None


def test_every_component_tells_of_itself(stack: Stack, environment: str) -> None:
    of = {"Environment": environment}
    assert awaited(stack, None, "AmazonMWAA", "SchedulerHeartbeat", "Sum", Function="Scheduler", **of) > 0
    assert awaited(stack, None, "AmazonMWAA", "TriggerHeartbeat", "Sum", Function="Triggerer", **of) > 0
    awaited(stack, 2, "AmazonMWAA", "DagBagSize", "Maximum", Function="DAG Processing", **of)
    awaited(stack, 128, "AmazonMWAA", "PoolOpenSlots", "Maximum", Pool="default_pool", **of)


@pytest.mark.parametrize("component", ["scheduler", "api-server", "dag-processor", "triggerer"])
def test_each_part_has_cpu_and_memory(stack: Stack, environment: str, component: str) -> None:
    of = {"ClusterName": "skylift", "ServiceName": f"skylift-{environment}-{component}"}
    assert 0 < awaited(stack, None, "AWS/ECS", "MemoryUtilization", "Average", **of) < 100
    assert awaited(stack, None, "AWS/ECS", "CPUUtilization", "Average", **of) > 0


def test_ecs_tasks_of_the_run_have_cpu_and_memory(stack: Stack, environment: str) -> None:
    """Not all of the six need to: one may have ended between two passes of the watch."""
    family = f"skylift-{environment}-task"
    deadline = time.monotonic() + 240
    while len(found := dimensions_of(stack, "ECS/ContainerInsights", TaskDefinitionFamily=family)) < 2 + 4:
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    ids = {one["TaskId"] for one in found if "TaskId" in one}
    assert 1 <= len(ids) <= 6
    single = {"ClusterName": "skylift", "TaskDefinitionFamily": family, "TaskId": ids.pop()}
    assert (value(stack, "ECS/ContainerInsights", "TaskMemoryUtilization", "Average", **single) or 0) > 0
    assert value(stack, "ECS/ContainerInsights", "TaskCpuUtilization", "Average", **single) is not None


def test_mwaas_own_metrics_are_there(stack: Stack, environment: str) -> None:
    of = {"Environment": environment}
    awaited(stack, 1, "AWS/MWAA", "NumSchedulers", "Maximum", Cluster="Scheduler", **of)
    awaited(stack, 1, "AWS/MWAA", "NumWebServers", "Maximum", Cluster="WebServer", **of)
    assert awaited(stack, None, "AWS/MWAA", "QueuedTasks", "Maximum", Queue=f"skylift-{environment}-task", **of) >= 0
    for cluster in ("Scheduler", "WebServer", "BaseWorker"):
        assert awaited(stack, None, "AWS/MWAA", "MemoryUtilization", "Maximum", Cluster=cluster, **of) > 0
        assert awaited(stack, None, "AWS/MWAA", "CPUUtilization", "Maximum", Cluster=cluster, **of) >= 0


def test_publish_metrics_reaches_cloudwatch(stack: Stack, environment: str) -> None:
    mwaa = stack.client("mwaa")
    metric = {"MetricName": "Published", "Timestamp": datetime.now(UTC), "Value": 7.0, "Unit": "Count"}
    mwaa.publish_metrics(EnvironmentName=environment, MetricData=[metric])
    assert value(stack, "AmazonMWAA", "Published", "Sum", Environment=environment) == 7
    with pytest.raises(mwaa.exceptions.ValidationException, match="does not exist"):
        mwaa.publish_metrics(EnvironmentName="nobody", MetricData=[metric])


def blocks(kind: str) -> list[str]:
    """The page's blocks that are to be run."""
    found = re.findall(rf"<!-- run -->\n```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return [block.replace("quickstart", NAME) for block in found]


def in_shell(stack: Stack, script: str) -> str:
    """What a user's shell prints, with skylift and Python on the PATH."""
    environ = {**stack.environ, "PATH": path_with_aws(SKYLIFT.parent), "AWS_PAGER": ""}
    done = subprocess.run(
        ["bash", "-euc", script], env=environ, text=True, capture_output=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pages_python_reads_the_metrics(stack: Stack, environment: str, tmp_path: Path) -> None:
    awaited(stack, 6, "AmazonMWAA", "TaskInstanceSuccesses", "Sum", DAG="All", Task="All", Environment=environment)
    for number, block in enumerate(blocks("python")):
        script = tmp_path / f"{number}.py"
        script.write_text(block)
        said = in_shell(stack, f'eval "$(skylift shellenv)"; {sys.executable} {script}')
        assert float(said) == 6


def test_the_pages_commands_read_the_metrics(stack: Stack, environment: str) -> None:
    awaited(stack, 6, "AmazonMWAA", "TaskInstanceSuccesses", "Sum", DAG="All", Task="All", Environment=environment)
    first, *others = [in_shell(stack, block) for block in blocks("sh")]
    assert sum(float(number) for number in re.findall(r'"Sum": ([\d.]+)', first)) == 6
    assert all('"Sum"' in said or '"Average"' in said or "events" in said for said in others), others


def dimensions_of(stack: Stack, namespace: str, **wanted: str) -> list[dict[str, Any]]:
    """The metrics of a namespace that have these dimensions, by name."""
    pages = stack.client("cloudwatch").get_paginator("list_metrics").paginate(Namespace=namespace)
    metrics = [
        {"Name": one["MetricName"], **{pair["Name"]: pair["Value"] for pair in one["Dimensions"]}}
        for page in pages
        for one in page["Metrics"]
    ]
    return [one for one in metrics if wanted.items() <= one.items()]


def test_all_metrics_of_airflow_name_their_environment(stack: Stack, environment: str) -> None:
    found = dimensions_of(stack, "AmazonMWAA", Environment=environment)
    assert len({one["Name"] for one in found}) > 20
    assert all("Environment" in one for one in dimensions_of(stack, "AmazonMWAA"))


def lines_of(stack: Stack, module: str, since: float = 0.0) -> list[tuple[str, str]]:
    """Stream and message of a module's log lines."""
    pages = (
        stack.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=f"airflow-{NAME}-{module}", startTime=int(since * 1000))
    )
    return [(one["logStreamName"], one["message"]) for page in pages for one in page["events"]]


@pytest.mark.parametrize("module", ["Scheduler", "WebServer", "Worker"])
def test_logs_of_startup_and_requirements_have_mwaas_streams(stack: Stack, environment: str, module: str) -> None:
    found = lines_of(stack, module)
    started = [text for stream, text in found if re.fullmatch(r"startup_script_execution_\S+_\d+\.log", stream)]
    assert set(started) == {"hello from startup"}
    installed = [text for stream, text in found if re.fullmatch(r"requirements_install_\S+_\d+\.log", stream)]
    assert any("pygal" in text for text in installed)


@pytest.mark.long
def test_each_module_of_logs_has_its_own_level(stack: Stack, environment: str) -> None:
    mwaa = stack.client("mwaa")
    wanted = {
        "TaskLogs": "ERROR",
        "WorkerLogs": "DEBUG",
        "SchedulerLogs": "WARNING",
        "WebserverLogs": "ERROR",
        "DagProcessingLogs": "DEBUG",
    }
    logging = {module: {"Enabled": True, "LogLevel": level} for module, level in wanted.items()}
    mwaa.update_environment(Name=environment, LoggingConfiguration=logging)
    deadline = time.monotonic() + 900
    while (status := mwaa.get_environment(Name=environment)["Environment"]["Status"]) == "UPDATING":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert status == "AVAILABLE"
    began = time.time()
    stack.must("env", "run", "levels", "--env", environment, seconds=900)
    while not (said := [text for _, text in lines_of(stack, "Task", began) if "said at" in text]):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert len(said) == 1
    assert "said at error" in said[0]
    assert any('"level":"debug"' in text for _, text in lines_of(stack, "Worker", began))
    assert any("[debug" in text for _, text in lines_of(stack, "DAGProcessing", began))
    quiet = [text for module in ("Scheduler", "WebServer") for _, text in lines_of(stack, module, began)]
    assert [text for text in quiet if "[info" in text or "[debug" in text or "INFO" in text] == []
