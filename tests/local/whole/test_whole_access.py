"""Access to whole environments: the commands of ``docs/access.md``, a hundred uses of one token, and the amazon provider's
operators from one environment to another."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stack import ROOT, SKYLIFT, Stack

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(1800)]

CALLER, CALLED = "caller", "called"
CALLS = """
from datetime import UTC, datetime
from airflow.providers.amazon.aws.operators.mwaa import MwaaTriggerDagRunOperator
from airflow.providers.amazon.aws.sensors.mwaa import MwaaDagRunSensor, MwaaTaskSensor
from airflow.sdk import DAG

with DAG("calls", schedule=None):
    start = MwaaTriggerDagRunOperator(
        task_id="start",
        env_name="called",
        trigger_dag_id="answers",
        trigger_run_id="from-afar",
        logical_date=datetime(2026, 1, 1, tzinfo=UTC).isoformat(),
        conf={"word": "hello"},
    )
    run = MwaaDagRunSensor(
        task_id="run", external_env_name="called", external_dag_id="answers", external_dag_run_id="from-afar",
        poke_interval=1, deferrable=False,
    )
    task = MwaaTaskSensor(
        task_id="task", external_env_name="called", external_dag_id="answers", external_dag_run_id="from-afar",
        external_task_id="answer", poke_interval=1, deferrable=False,
    )
    start >> run >> task
"""
ANSWERS = """
from airflow.sdk import dag, task

@dag(schedule=None, is_paused_upon_creation=False)
def answers():
    @task
    def answer(params=None, dag_run=None):
        assert dag_run.conf == {"word": "hello"}
    answer()

answers()
"""
PAGE = (ROOT / "docs" / "access.md").read_text()


@pytest.fixture(scope="module")
def environments(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two environments, made at the same time."""
    folders = tmp_path_factory.mktemp("projects")
    texts = {CALLER: CALLS, CALLED: ANSWERS}
    for name, text in texts.items():
        (folders / name / "dags").mkdir(parents=True)
        (folders / name / "dags" / "one.py").write_text(text)
    ends: dict[str, subprocess.CompletedProcess[str]] = {}

    def up(name: str) -> None:
        ends[name] = stack.run("up", str(folders / name), seconds=1500)

    threads = [threading.Thread(target=up, args=(name,)) for name in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in ends.values()] == [0, 0], ends
    yield stack
    for name in texts:
        stack.run("env", "delete", name, "--yes")


def may_run_dags(stack: Stack) -> None:
    """Allows the caller's execution role to come into the other environment as a User."""
    iam = stack.client("iam")
    role = stack.client("mwaa").get_environment(Name=CALLER)["Environment"]["ExecutionRoleArn"].rpartition("/")[2]
    where = f"arn:aws:airflow:us-east-1:000000000000:role/{CALLED}/User"
    statement = {"Effect": "Allow", "Action": "airflow:InvokeRestApi", "Resource": where}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=role, PolicyName="calls", PolicyDocument=document)


def test_the_providers_operators_work_from_one_environment_to_another(environments: Stack) -> None:
    may_run_dags(environments)
    done = environments.run("env", "run", "calls", "--env", CALLER, seconds=900)
    assert done.returncode == 0, done.stdout + done.stderr
    called = environments.airflow(CALLED)
    assert called.run_state("answers", "from-afar") == "success"
    log = environments.client("mwaa").invoke_rest_api(
        Name=CALLED, Method="GET", Path="/eventLogs", QueryParameters={"dag_id": "answers", "event": "trigger_dag_run"}
    )
    (event,) = log["RestApiResponse"]["event_logs"]
    assert event["owner"].startswith("assumed-role/"), "Airflow's audit log says who it was"


def test_of_a_hundred_uses_of_a_token_at_once_one_wins(environments: Stack) -> None:
    made = environments.client("mwaa").create_web_login_token(Name=CALLED)
    form = urllib.parse.urlencode({"token": made["WebToken"]}).encode()
    counted: Counter[int] = Counter()

    def use() -> None:
        try:
            with urllib.request.urlopen(f"http://{made['WebServerHostname']}/aws_mwaa/login", form, timeout=120) as one:
                counted[one.status] += 1
        except urllib.error.HTTPError as error:
            counted[error.code] += 1

    threads = [threading.Thread(target=use) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == {200: 1, 403: 99}


def test_a_token_of_another_environment_is_refused(environments: Stack) -> None:
    mwaa = environments.client("mwaa")
    token = mwaa.create_web_login_token(Name=CALLER)["WebToken"]
    host = mwaa.create_web_login_token(Name=CALLED)["WebServerHostname"]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://{host}/aws_mwaa/login", urllib.parse.urlencode({"token": token}).encode())


def run_block(stack: Stack, block: str, folder: Path) -> str:
    """What a block of the page prints in a user's shell."""
    environ = {**stack.environ, "PATH": f"{SKYLIFT.parent}:{os.environ['PATH']}", "AWS_PAGER": ""}
    script = block.replace("quickstart", CALLED)
    done = subprocess.run(
        ["bash", "-euc", script], env=environ, cwd=folder, text=True, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


BLOCKS = re.findall(r"<!-- run -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
SHOWN = ("/aws_mwaa/aws-console-sso?login=true#", '"answers"', '"dag_id":"answers"', '"dag_id": "answers"')


@pytest.mark.parametrize(("block", "shown"), zip(BLOCKS, SHOWN, strict=True), ids=range(len(SHOWN)))
def test_the_pages_commands_do_what_it_says(environments: Stack, block: str, shown: str, tmp_path: Path) -> None:
    if "aws " in block and shutil.which("aws", path=f"{SKYLIFT.parent}:{os.environ['PATH']}") is None:
        pytest.skip("no AWS CLI on this machine (pip install awscli)")
    assert shown in run_block(environments, block, tmp_path)
