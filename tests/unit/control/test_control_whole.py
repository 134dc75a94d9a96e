"""What an environment's containers are made of, in full: task definitions with their variables and secrets. A variable
that is missing or misspelt is a difference."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.control_scenes import context, spec
from tests.unit.whole_answers import Story, compared

from skylift.control.blueprint import EXECUTOR_ROLE
from skylift.control.definitions import definition
from skylift.control.parts.batch import job_definition
from skylift.core.containers import Command

pytestmark = pytest.mark.unit
FILES = Path(__file__).parent / "answers"
ROLES = (*(one for one in Command if one not in {Command.SNAPSHOT, Command.RESTORE}), EXECUTOR_ROLE)
"""Snapshots run with the migration's definition."""
PLAIN = spec()
FULL = spec(
    EnvironmentClass="mw1.large",
    MaxWorkers=3,
    Schedulers=2,
    RequirementsS3Path="requirements.txt",
    PluginsS3Path="plugins.zip",
    StartupScriptS3Path="startup.sh",
    LoggingConfiguration={
        name: {"Enabled": True, "LogLevel": "WARNING"}
        for name in ("DagProcessingLogs", "SchedulerLogs", "TaskLogs", "WebserverLogs", "WorkerLogs")
    },
    AirflowConfigurationOptions={
        "core.executor": "skylift.executors.batch.AwsBatchExecutor, skylift.executors.ecs.AwsEcsExecutor",
        "core.parallelism": "9",
        "smtp.smtp_password": "hunter2-hunter2",
    },
)
FACTS = {
    "layer__url": "s3://b/layer.tar.gz",
    "source__requirements": "s3://b/requirements.txt?versionId=1",
    "source__plugins": "s3://b/plugins.zip",
    "source__startup_script": "s3://b/startup.sh",
}


@pytest.mark.parametrize("name", ["plain", "full"])
def test_the_task_definitions(name: str) -> None:
    stage = context({"plain": PLAIN, "full": FULL}[name], **(FACTS if name == "full" else {}))
    told = Story()
    for role in ROLES:
        made = definition(stage, role)
        (container,) = made["containerDefinitions"]
        for kind, value in (("environment", "value"), ("secrets", "valueFrom")):
            container[kind] = {one["name"]: one[value] for one in container[kind]}
        assert "hunter2" not in str(made)
        assert container.pop("dockerLabels")
        told[str(role)] = made
    if name == "full":
        job = job_definition(stage)
        assert job.pop("tags")
        told["job definition"] = {key: value for key, value in job.items() if key != "containerProperties"}
    compared(told, FILES / f"task_definitions_{name}.json")
