"""``python -m skylift.executors.check`` with a real Airflow database that the amazon provider's executor has used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.local
THEIRS = "airflow.providers.amazon.aws.executors.ecs.ecs_executor.AwsEcsExecutor"
SHORT = "airflow.providers.amazon.aws.executors.ecs.AwsEcsExecutor"
OURS = "skylift.executors.ecs.AwsEcsExecutor"
DAG = f"""
from airflow.sdk import dag, task

@dag(schedule=None)
def d():
    @task(executor="{THEIRS}")
    def by_path(): ...

    @task
    def by_default(): ...

    by_path(), by_default()

d()
"""
PREPARE = """
from datetime import timedelta
from airflow.cli.cli_parser import get_parser
for words in (["db", "migrate"], ["dags", "reserialize"], ["dags", "trigger", "d"]):
    args = get_parser().parse_args(words)
    args.func(args)
from sqlalchemy import select
from airflow._shared.timezones import timezone
from airflow.jobs.job import Job
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
hour = timedelta(hours=1)
with create_session() as session:
    gone = Job(job_type="SchedulerJob", state="running", hostname="old", latest_heartbeat=timezone.utcnow() - hour)
    here = Job(job_type="SchedulerJob", state="running", hostname="new", latest_heartbeat=timezone.utcnow() + 9 * hour)
    session.add_all([gone, here])
    session.flush()
    for ti in session.scalars(select(TaskInstance)):
        ti.state = "running"
        ti.external_executor_id = f"arn:aws:ecs:us-east-1:123456789012:task/c/{ti.task_id}"
        ti.queued_by_job_id = gone.id if ti.task_id == "by_path" else here.id
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a scheduler whose database has two running task instances of the provider's executor."""
    home = tmp_path_factory.mktemp("check")
    (home / "dags").mkdir()
    (home / "dags" / "d.py").write_text(DAG)
    unwanted = ("AWS_", "SKYLIFT_", "AIRFLOW")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": THEIRS,
        "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-tests-" * 5,
        "AIRFLOW__AWS_ECS_EXECUTOR__CLUSTER": "c",
        "AIRFLOW__AWS_ECS_EXECUTOR__CONTAINER_NAME": "airflow",
        "AIRFLOW__AWS_ECS_EXECUTOR__TASK_DEFINITION": "t",
        "AIRFLOW__AWS_ECS_EXECUTOR__REGION_NAME": "us-east-1",
        "AIRFLOW__AWS_ECS_EXECUTOR__CHECK_HEALTH_ON_STARTUP": "False",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run([sys.executable, "-c", PREPARE], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return environ


def checked(environ: dict[str, str], *words: str, **changes: str) -> tuple[int, str]:
    command = [sys.executable, *(words or ("-m", "skylift.executors.check"))]
    done = subprocess.run(command, env=environ | changes, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.mark.timeout(600)
def test_before_the_change_it_says_what_to_write_and_how_to_take_over(airflow: dict[str, str]) -> None:
    code, text = checked(airflow)
    assert code == 0, text
    assert f"write instead: {THEIRS}:{OURS} " in text
    assert "✓ AwsEcsExecutor can start" in text
    assert "✓ Every executor that a DAG or a task instance names is there." in text
    assert "2 task instances of these executors are queued or running; 2 of them the amazon provider's" in text
    assert "1 belong to a scheduler that is no more" in text
    assert "leave the API server up" in text
    assert "SIGKILL" in text
    assert "A scheduler runs on new" in text
    assert "on old" not in text


@pytest.mark.timeout(600)
def test_a_path_that_dags_and_rows_name_and_nobody_has_is_found(airflow: dict[str, str]) -> None:
    code, text = checked(airflow, AIRFLOW__CORE__EXECUTOR=OURS)
    assert code == 1, text
    (line,) = [line for line in text.splitlines() if line.startswith("✗")]
    assert THEIRS in line
    assert "1 task instances that are not done and by the DAGs d" in line
    assert f"Write {THEIRS}:{OURS} in [core] executor." in line
    # As it advises.
    code, text = checked(airflow, AIRFLOW__CORE__EXECUTOR=f"{THEIRS}:{OURS}")
    assert code == 0, text
    code, text = checked(airflow, AIRFLOW__CORE__EXECUTOR=f"{SHORT}:{OURS}")
    assert code == 1, text
    assert f"An executor has one alias ({SHORT} has it): change the DAGs to that" in text


@pytest.mark.timeout(600)
def test_a_wrong_option_a_wrong_executor_and_no_airflow_are_told(airflow: dict[str, str]) -> None:
    code, text = checked(airflow, AIRFLOW__CORE__EXECUTOR=OURS, AIRFLOW__AWS_ECS_EXECUTOR__LAUNCH_TYPE="fargate")
    assert code == 1
    assert (
        "✗ AwsEcsExecutor cannot start: [aws_ecs_executor] launch_type: 'fargate' cannot be used: write FARGATE" in text
    )
    code, text = checked(airflow, AIRFLOW__CORE__EXECUTOR="LocalExecutor")
    assert code == 1
    assert "names no executor of ours" in text
    code, text = checked(airflow, AIRFLOW__CORE__EXECUTOR="a:b:c")
    assert code == 1
    assert "✗ [core] executor cannot be used" in text
    absent = "import sys; sys.modules['airflow'] = None; from skylift.executors.check import main; sys.exit(main())"
    code, text = checked(airflow, "-c", absent)
    assert code == 1
    assert "airflow is not installed here: run this with the Python and the environment of Airflow's scheduler" in text


@pytest.mark.timeout(600)
def test_the_command_line_has_it_also_where_only_the_executors_are_installed(airflow: dict[str, str]) -> None:
    # Airflow itself brings click and rich.
    alone = (
        "import sys; sys.modules.update(dict.fromkeys(['watchfiles', 'moto', 'ministack', 'httptools', 'psutil'])); "
        "sys.argv = ['skylift', 'executors', 'check']; from skylift.cli.entry import main; main()"
    )
    code, text = checked(airflow, "-c", alone)
    assert code == 0, text
    assert "✓ AwsEcsExecutor can start" in text
    code, text = checked(airflow, "-m", "skylift.executors.check", "--help")
    assert code == 0
    assert "usage: python -m skylift.executors.check" in text
    assert checked(airflow, "-m", "skylift.executors.check", "now")[0] == 2
