"""One environment with what users bring: strange keys among its DAGs, Airflow's example plugins, virtual environments,
boto3."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import pytest
from tests.stack import Stack

pytestmark = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(1800)]
NAME = "bring"
STRANGE = (
    "n" * 300 + ".py",
    "n" * 252 + ".py",
    "n" * 248 + ".py",
    "clash",
    "clash/z.py",
    "../up.py",
    "/lead.py",
    "two//slashes.py",
    "not-empty/",
    "new\nline.py",
    "\x1b[31mred.py",
    "Case.py",
    "case.py",
    "deep/" * 150 + "x.py",
)
FIRST = """
from airflow.sdk import dag

@dag(schedule=None)
def first():
    pass

first()
"""
LATE = """
import sys
from airflow.sdk import Variable, dag, task

@dag(schedule=None)
def late():
    @task.virtualenv
    def with_airflow():
        import sys
        from airflow.sdk import Variable
        assert sys.prefix != sys.base_prefix
        assert Variable.get("nobody-set-it", default="none") == "none"

    @task.virtualenv(requirements=["six==1.17.0"], system_site_packages=False)
    def alone():
        import importlib.util, six
        assert importlib.util.find_spec("airflow") is None

    @task.virtualenv(python_version=f"{sys.version_info[0]}.{sys.version_info[1]}")
    def of_this_version():
        pass

    @task.external_python(python=sys.executable)
    def outside():
        import airflow

    # Airflow keeps Airflow tasks from its database by a URL in their environment that SQLAlchemy cannot read, and
    # "import airflow" makes an engine of it. With this variable it makes none, as in virtualenv operators.
    @task.bash(env={"PYTHON_OPERATORS_VIRTUAL_ENV_MODE": "1"}, append_env=True)
    def in_bash():
        return "python -c 'import airflow' && python3 -c 'import airflow'"

    @task
    def asks_aws():
        import boto3
        assert "bring" in boto3.client("mwaa").list_environments()["Environments"]
        assert boto3.client("sts").get_caller_identity()["Account"] == "000000000000"

    with_airflow(), alone(), of_this_version(), outside(), in_bash(), asks_aws()

late()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / NAME
    (folder / "dags").mkdir(parents=True)
    (folder / "dags" / "first.py").write_text(FIRST)
    (folder / "plugins").mkdir()
    airflow = importlib.util.find_spec("airflow")
    assert airflow
    examples = Path(next(iter(airflow.submodule_search_locations or ()))) / "example_dags" / "plugins"
    (folder / "plugins" / "workday.py").write_text((examples / "workday.py").read_text())
    return folder


def test_what_users_bring_works(stack: Stack, project: Path) -> None:
    stack.must("env", "create", NAME, str(project), seconds=800)
    role = stack.client("mwaa").get_environment(Name=NAME)["Environment"]["ExecutionRoleArn"].rpartition("/")[2]
    statement = {"Effect": "Allow", "Action": "airflow:ListEnvironments", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    stack.client("iam").put_role_policy(RoleName=role, PolicyName="asks-mwaa", PolicyDocument=policy)
    s3 = stack.client("s3")
    for key in STRANGE:
        s3.put_object(Bucket=f"skylift-{NAME}", Key=f"dags/{key}", Body=FIRST.replace("first", "twin").encode())
    s3.put_object(Bucket=f"skylift-{NAME}", Key="dags/late.py", Body=LATE.encode())
    airflow = stack.airflow(NAME)
    deadline = time.monotonic() + 300
    while "late" not in airflow.dags():
        assert time.monotonic() < deadline, stack.must("env", "logs", "dag-processor", "--env", NAME)
        time.sleep(0.5)
    assert {"first", "late"} <= set(airflow.dags())
    assert airflow.import_errors() == []

    done = stack.run("env", "run", "late", "--env", NAME, "--json", seconds=800)
    states = {task["task_id"]: task["state"] for task in json.loads(done.stdout)["tasks"]}
    assert set(states.values()) == {"success"}, f"{states}\n{done.stderr}"
    assert len(states) == 6
    logs = stack.must("env", "logs", "dag-processor", "--env", NAME, "--lines", "10000")
    assert "two//slashes.py" in logs
    assert "\x1b[31mred" not in logs
    stack.must("env", "delete", NAME)
