"""From a project folder to an environment that can be used, and from there to a finished DAG run: what ``up`` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console

from skylift.cli import account, buckets, dagrun, environments
from skylift.cli.airflow_api import AirflowApi
from skylift.cli.connection import ADMIN, Connection
from skylift.cli.environments import VERSIONED, Foundation
from skylift.cli.execution_role import Place
from skylift.cli.home import ACCOUNT, REGION
from skylift.cli.project import Project
from skylift.cli.terminal import Stages
from skylift.core.errors import Refused

CLUSTER = "skylift"
"""ECS cluster in which environments run (the control plane's default)."""


@dataclass(frozen=True)
class Landed:
    """An environment that is AVAILABLE, and the pinned files of which it still runs an older version."""

    environment: dict[str, Any]
    outdated: tuple[str, ...]


def bring_up(here: Connection, project: Project, options: dict[str, str], stages: Stages) -> Landed:
    """Makes the project's environment, or finds it, and waits until it is available.

    Raises:
        Refused: it cannot be made; the text is the service's own reason.
    """
    mwaa, s3 = here.client("mwaa"), here.client("s3")
    base = _lay_foundation(here, s3, project, stages)
    found = environments.find(mwaa, project.name)
    if found is not None and found["Status"] in {"CREATE_FAILED", "DELETING"}:
        stages.now(
            f"removing the {'failed' if found['Status'] == 'CREATE_FAILED' else 'old'} environment {project.name}"
        )
        _clear_away(mwaa, found, stages)
        found = None
    if found is None:
        stages.now(f"creating environment {project.name}")
        environments.create(mwaa, environments.creation(project, base, options))
    ready = environments.wait_available(mwaa, project.name, stages.now, here.progress)
    wait_for_airflow(here, ready, stages)
    stages.done(f"environment {project.name} is AVAILABLE")
    return Landed(ready, tuple(environments.outdated(ready, base.versions)))


def wait_for_airflow(here: Connection, environment: dict[str, Any], stages: Stages) -> None:
    """Waits until the environment's Airflow is healthy.

    Raises:
        Refused: the environment is in a state in which it never will be.
        Unavailable: it takes too long.
    """
    if environment["Status"] in {"CREATE_FAILED", "DELETING"} or not environments.web_url(environment):
        raise Refused(environments.failure_text(environment))
    airflow = AirflowApi(environments.web_url(environment), "", "", timeout=5)
    environments.wait_healthy(airflow.unhealthy, lambda text: stages.now(here.image_progress() or text))


def run_project_dag(
    here: Connection, environment: dict[str, Any], dag_id: str | None, conf: dict[str, Any], stages: Stages
) -> dagrun.RunResult:
    """Triggers a DAG (``None``: the only one), follows it to its end."""
    wait_for_airflow(here, environment, stages)
    api = here.airflow(environment)
    chosen = dagrun.choose_dag(api, dag_id, stages.now)
    stages.now(f"starting a run of {chosen}")
    return dagrun.run_dag(api, here.client("ecs"), CLUSTER, chosen, conf, stages.now)


def print_addresses(console: Console, here: Connection, environment: dict[str, Any]) -> None:
    """Where things are, how to log in, how to stop."""
    name = environment["Name"]
    rows = (
        ("Airflow UI", environments.web_url(environment)),
        ("log in", f"as {ADMIN}, with the password that this prints: skylift env password {name}"),
        ("API endpoint", f'{here.server.endpoint}   (AWS tools: eval "$(skylift shellenv)")'),
        ("stop", "skylift down   (nothing is lost; skylift up brings it back)"),
    )
    for label, text in rows:
        console.print(f"  [bold]{label:<13}[/] {text}")


def print_outdated(console: Console, project: Project, outdated: tuple[str, ...]) -> None:
    """Says plainly that changed requirements are not applied, and how to apply them."""
    if outdated:
        files = ", ".join(outdated)
        console.print(
            f"[yellow]Note:[/] {files} changed since the environment {project.name} was made, and it still runs with what it "
            f"had.\n  This release cannot update an environment (UpdateEnvironment comes with a later one). To apply the "
            f"change now, giving up its run history:\n  skylift env delete {project.name} && skylift up {project.folder}"
        )


def _lay_foundation(here: Connection, s3: Any, project: Project, stages: Stages) -> Foundation:
    stages.now(f"preparing bucket {project.bucket}, role and network")
    account.ensure_bucket(s3, project.bucket)
    control_bucket = f"skylift-{ACCOUNT}-{REGION}"  # the control plane's default
    place = Place(project.name, project.bucket, control_bucket, CLUSTER, ACCOUNT, REGION)
    role = account.ensure_role(here.client("iam"), place)
    network = account.ensure_network(here.client("ec2"), REGION)
    stages.now(f"bringing {project.folder} to s3://{project.bucket}")
    done = buckets.sync(s3, here.home, project)
    if done.put or done.remove:
        stages.done(f"{len(done.put)} files put, {len(done.remove)} removed in s3://{project.bucket}")
    versions = {key: buckets.version_of(s3, project.bucket, key) for key in VERSIONED}
    return Foundation(role, network, versions)


def _clear_away(mwaa: Any, found: dict[str, Any], stages: Stages) -> None:
    try:
        environments.delete(mwaa, found["Name"], stages.now)
    except Refused:
        # It may have gone in between; anything else stands in the way and is said.
        if environments.find(mwaa, found["Name"]) is not None:
            raise
