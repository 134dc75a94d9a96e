"""All commands of ``skylift``."""

from __future__ import annotations

import sys

from skylift.cli.commands import (
    airflow_objects,
    check,
    cloud,
    dag_test,
    down,
    env,
    fault,
    iam_policy,
    image,
    init,
    logs,
    machine,
    ps,
    restart,
    snapshot,
    status,
    up,
)
from skylift.cli.commands import exec as execute
from skylift.cli.commands import executors as own_executors
from skylift.cli.commands import run as dag_runs
from skylift.cli.fargate.commands import fargate
from skylift.cli.running import group_of
from skylift.cli.running import run as run_of

cli = group_of(
    init.init,
    check.check_project,
    dag_test.test_dag,
    dag_test.shell,
    init.toml,
    up.up,
    down.down,
    status.status,
    ps.ps,
    restart.restart,
    restart.stop,
    restart.start,
    snapshot.snapshot,
    snapshot.snapshots,
    snapshot.restore,
    snapshot.clone,
    dag_runs.run_dag,
    dag_runs.runs,
    logs.logs,
    airflow_objects.connections,
    airflow_objects.variables,
    machine.doctor,
    machine.shellenv,
    env.env,
    cloud.cloud,
    fargate,
    fault.fault,
    image.image,
    iam_policy.iam_policy,
    own_executors.executors,
    execute.execute,
    cloud.serve,
)


def main() -> None:
    """The entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command line. Returns the exit code; never raises."""
    return run_of(arguments, cli)
