"""Each kind of update once, by the AWS CLI, on a real stack: which components restart, and a DAG run that goes through."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.aws_cli import Aws, aws_of
from tests.local.dag_outcomes import patiently
from tests.local.whole.test_environment_updates import COMPONENTS, until
from tests.stack import Stack, running

from skylift.cli.runs.airflow_api import TaskLine

pytestmark = [pytest.mark.local, pytest.mark.soak, pytest.mark.timeout(3600)]
NAME = "kinds"
ALL = set(COMPONENTS)
DAG = """
import os, time
from airflow.sdk import DAG, get_current_context, task
with DAG("through", schedule=None):
    @task
    def wait():
        file = get_current_context()["dag_run"].conf["file"]
        while not os.path.exists(file):
            time.sleep(0.5)
    @task
    def after():
        return 1
    wait() >> after()
"""
PLUGIN = "from airflow.plugins_manager import AirflowPlugin\nclass Kinds(AirflowPlugin):\n    name = 'kinds'\n"


def level(module: str) -> tuple[str, ...]:
    return ("--logging-configuration", json.dumps({module: {"Enabled": True, "LogLevel": "DEBUG"}}))


KINDS: list[tuple[tuple[str, ...], set[str]]] = [
    (("--weekly-maintenance-window-start", "MON:03:00"), set()),
    (("--min-workers", "2"), set()),
    (("--worker-replacement-strategy", "GRACEFUL"), set()),
    (("--webserver-access-mode", "PUBLIC_ONLY"), set()),
    (("--schedulers", "2"), set()),
    (("--min-webservers", "2", "--max-webservers", "3"), set()),
    (level("TaskLogs"), set()),
    (level("WorkerLogs"), set()),
    (level("DagProcessingLogs"), {"dag-processor"}),
    (level("WebserverLogs"), {"api-server"}),
    (level("SchedulerLogs"), {"scheduler", "triggerer"}),
    (("--max-workers", "20"), {"scheduler"}),
    (("--environment-class", "mw1.medium"), {"scheduler", "dag-processor", "triggerer"}),
    (("--airflow-configuration-options", "core.default_timezone=Asia/Tokyo"), ALL),
    (("--airflow-configuration-options", "{}"), ALL),
    (("--network-configuration", "SecurityGroupIds={group}"), ALL),
    (("--dag-s3-path", "flows"), ALL),
    (("--execution-role-arn", "{role}"), ALL),
    (("--requirements-s3-path", "requirements.txt"), ALL),
    (("--plugins-s3-path", "plugins.zip"), ALL),
    (("--startup-script-s3-path", "startup.sh"), ALL),
]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("kinds")
    (folder / NAME / "dags").mkdir(parents=True)
    (folder / NAME / "dags" / "through.py").write_text(DAG)
    with running(folder / "home") as started:
        started.must("up", str(folder / NAME), "--no-apply")
        yield started


def test_each_kind_restarts_what_the_plan_says_and_a_run_goes_through(own: Stack, tmp_path: Path) -> None:
    aws, words = aws_of(own), _things(own, tmp_path)
    api = own.airflow(NAME)
    until(lambda: "through" in patiently(api.dags))
    patiently(lambda: api.unpause("through"))
    wrong = [
        told
        for number, (arguments, wanted) in enumerate(KINDS)
        if (told := _kind(own, aws, number, tuple(_filled(one, words) for one in arguments), wanted, tmp_path))
    ]
    assert not wrong, "\n".join(wrong)


def _kind(stack: Stack, aws: Aws, number: int, arguments: tuple[str, ...], wanted: set[str], folder: Path) -> str:
    """One update with a run that began before it and ends after it; what was not as it should be, or nothing."""
    begun, file = time.monotonic(), folder / f"end-{number}"
    run = patiently(lambda: stack.airflow(NAME).trigger("through", f"kind-{number}", {"file": str(file)}))
    until(lambda: "running" in {one.state for one in _lines(stack, run)})
    before = _tasks(aws)
    aws("mwaa", "update-environment", "--name", NAME, *arguments)
    until(lambda: _found(aws)["Status"] not in {"UPDATING", "ROLLING_BACK"}, 900)
    after, found = _tasks(aws), _found(aws)
    took = time.monotonic() - begun
    file.touch()
    until(lambda: patiently(lambda: stack.airflow(NAME).run_state("through", run)) in {"success", "failed"})
    tries = [(one.state, one.try_number) for one in _lines(stack, run)]
    restarted = {role for role in COMPONENTS if not before[role] <= after[role]}
    seen = (found["Status"], found["LastUpdate"]["Status"], restarted, tries)
    should = ("AVAILABLE", "SUCCESS", wanted, [("success", 1)] * 2)
    print(f"{took:6.1f} s  {' '.join(arguments)[:80]}: {', '.join(sorted(restarted)) or 'nothing'} {seen == should}")
    return "" if seen == should else f"{arguments}: {seen}, not {should}; {found['LastUpdate']}"


def _lines(stack: Stack, run: str) -> list[TaskLine]:
    return patiently(lambda: stack.airflow(NAME).task_lines("through", run))


def _found(aws: Aws) -> dict[str, Any]:
    return dict(aws("mwaa", "get-environment", "--name", NAME)["Environment"])


def _tasks(aws: Aws) -> dict[str, set[str]]:
    """ARNs of the ECS tasks of each component."""
    return {
        role: set(
            aws("ecs", "list-tasks", "--cluster", "skylift", "--service-name", f"skylift-{NAME}-{role}")["taskArns"]
        )
        for role in COMPONENTS
    }


def _things(stack: Stack, folder: Path) -> dict[str, str]:
    """What the updates name: files of the bucket, a security group and a role like the environment's own."""
    environment = stack.client("mwaa").get_environment(Name=NAME)["Environment"]
    bucket, s3 = environment["SourceBucketArn"].rpartition(":")[2], stack.client("s3")
    s3.put_object(Bucket=bucket, Key="flows/through.py", Body=DAG.encode())
    s3.put_object(Bucket=bucket, Key="requirements.txt", Body=b"pyjokes\n")
    s3.put_object(Bucket=bucket, Key="startup.sh", Body=b"export FROM_STARTUP=yes\n")
    plugins = folder / "plugins.zip"
    with zipfile.ZipFile(plugins, "w") as packed:
        packed.writestr("kinds.py", PLUGIN)
    s3.put_object(Bucket=bucket, Key="plugins.zip", Body=plugins.read_bytes())
    ec2, iam = stack.client("ec2"), stack.client("iam")
    group = ec2.create_security_group(GroupName="kinds", Description="for an update")["GroupId"]
    role = environment["ExecutionRoleArn"].rpartition("/")[2]
    trust = json.dumps(iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"])
    other = iam.create_role(RoleName="kinds-other", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        text = json.dumps(iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"])
        iam.put_role_policy(RoleName="kinds-other", PolicyName=policy, PolicyDocument=text)
    return {"{group}": group, "{role}": other}


def _filled(text: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(name, value)
    return text
