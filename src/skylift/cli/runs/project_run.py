"""What ``up`` does: from a project folder to a working environment, and from there to a finished DAG run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from skylift.cli import account, environments
from skylift.cli.called import activation
from skylift.cli.connection import Connection
from skylift.cli.environments import VERSIONED, Foundation
from skylift.cli.execution_role import EnvironmentScope
from skylift.cli.hiding import secrets_in
from skylift.cli.home import ACCOUNT, REGION
from skylift.cli.projects import buckets
from skylift.cli.projects.applied import files_request, not_applied, notice
from skylift.cli.projects.project import SETTINGS, Project, up_command
from skylift.cli.runs import dag_run as dagrun
from skylift.cli.runs.airflow_api import AirflowApi
from skylift.cli.runs.failures import print_failures
from skylift.cli.settings_file.apply import difference_of, foreseen_of, make_pools, wanted_of
from skylift.cli.settings_file.difference import Difference, digests_of, request
from skylift.cli.settings_file.read import ProjectSettings
from skylift.cli.terminal import Stages, goes_on, plain, print_table
from skylift.core.errors import Refused

CLUSTER = "skylift"
"""ECS cluster in which environments run (the control plane's default)."""


@dataclass(frozen=True)
class UpChoices:
    """How ``skylift up`` was asked to treat the project.

    Attributes:
        options: Airflow options of a new environment.
        again: the command that comes back to it after Ctrl-C; empty: ``skylift up`` of the project.
        apply: whether saved files that an environment pins become updates; remembered. ``None``: as it was chosen
            before, at first yes.
        undo_drift: whether what was changed elsewhere becomes what skylift.toml says.
        settings: of the project.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    again: str = ""
    apply: bool | None = None
    undo_drift: bool = False
    settings: ProjectSettings = field(default_factory=ProjectSettings)


@dataclass(frozen=True)
class Landed:
    """An environment that is AVAILABLE, and the pinned files of which it still runs an older version."""

    environment: dict[str, Any]
    outdated: tuple[str, ...]


def bring_up(
    here: Connection,
    project: Project,
    choices: UpChoices,
    stages: Stages,
) -> Landed:
    """Makes the project's environment, or finds it, waits until it is available, and makes it as its files say.

    Raises:
        Refused: it cannot be created; the text is the service's own reason.
    """
    again = choices.again or up_command(project)
    mwaa, s3 = here.client("mwaa"), here.client("s3")
    with goes_on(f"skylift runs on. To come back to environment {project.name}: {again}"):
        base = _lay_foundation(here, s3, project, stages)
        if choices.apply is not None:
            buckets.choose_apply(here.home, project, choices.apply)
        found = environments.find(mwaa, project.name)
        if found is not None and found["Status"] in {"CREATE_FAILED", "DELETING"}:
            stages.now(
                f"removing the {'failed' if found['Status'] == 'CREATE_FAILED' else 'old'} environment {project.name}"
            )
            environments.delete(mwaa, project.name, stages.now)
            found = None
        wanted = wanted_of(here, project.name, choices.settings, found)
    with goes_on(
        f"Environment {project.name} is still being created in the background. See the progress: skylift status\n"
        f"  To come back to it: {again}\n  To give it up: skylift env delete {project.name}"
    ):
        if found is None:
            stages.now(f"creating environment {project.name}")
            made = environments.creation(project, base, dict(choices.options))
            environments.create(mwaa, made | request(difference_of(wanted, {}, made), made))
            buckets.record_settings(here.home, project, digests_of(wanted), choices.settings.snapshots)
        ready = environments.wait_available(mwaa, project.name, stages.now, here.progress, here.looked_at)
        if environments.is_stopped(ready):
            ready = start_again(here, ready, stages)
        wait_for_airflow(here, ready, stages)
    stages.done(environments.state_text(ready))
    ready, files = _as_wanted(here, project, choices, wanted, ready, stages)
    if changed := make_pools(here.airflow(ready), choices.settings.pools) if choices.settings.pools else []:
        stages.done(f"pools {', '.join(changed)} are as skylift.toml says")
    return Landed(ready, tuple(files))


def _as_wanted(
    here: Connection,
    project: Project,
    choices: UpChoices,
    wanted: Mapping[str, str],
    ready: dict[str, Any],
    stages: Stages,
) -> tuple[dict[str, Any], list[str]]:
    """Makes one update of the files that are not applied and of what skylift.toml changes; says what was changed
    elsewhere. Returns the environment, and files that still are not applied."""
    mwaa, s3 = here.client("mwaa"), here.client("s3")
    last = buckets.applied_settings(here.home, project)
    found = difference_of(wanted, last, ready, undo=choices.undo_drift)
    for one in found.drift:
        stages.note(f"{one}. It stays; to make it as the file says: skylift up {project.folder} --undo-drift")
    files = not_applied(s3, project, ready)
    members = request(found, ready)
    if files and buckets.applies(here.home, project):
        members |= files_request(s3, project, ready)
    if members:
        what = ", ".join(
            [
                *(files if buckets.applies(here.home, project) else []),
                *([SETTINGS] if found.change or found.remove else []),
            ]
        )
        stages.now(f"{what} changed: updating the environment")
        for change in here.plan_update(project.name, members)["changes"]:
            stages.note(f"{change['member']}: {change['before']} → {change['after']}")
        with goes_on(f"The update of {project.name} goes on. See: skylift env events {project.name}"):
            environments.update(mwaa, project.name, members, stages.now, here.progress)
        stages.done(f"{what} applied")
        ready = environments.get(mwaa, project.name)
        files = not_applied(s3, project, ready)
    buckets.record_settings(here.home, project, digests_of(wanted), choices.settings.snapshots)
    return ready, files


def foreseen(
    here: Connection, project: Project, settings: ProjectSettings, environment: dict[str, Any], undo: bool
) -> tuple[Difference, dict[str, Any]]:
    """What ``up`` would change in an environment, by its settings and in UpdateEnvironment's members. New values are
    not stored: they are shown as a change of the environment's variables."""
    wanted = foreseen_of(here, project.name, settings, environment)
    found = difference_of(wanted, buckets.applied_settings(here.home, project), environment, undo=undo)
    return found, request(found, environment) | files_request(here.client("s3"), project, environment)


def start_again(here: Connection, environment: dict[str, Any], stages: Stages) -> dict[str, Any]:
    """Starts an environment that was stopped; returns it as it is then.

    Raises:
        Refused: it does not start; it stays stopped.
    """
    name, mwaa = environment["Name"], here.client("mwaa")
    options = dict(environment["AirflowConfigurationOptions"])
    options.pop(environments.STOPPED_OPTION)
    stages.now(f"starting environment {name}")
    environments.update(mwaa, name, {"AirflowConfigurationOptions": options}, stages.now, here.progress)
    stages.done(f"environment {name} started")
    return environments.get(mwaa, name)


def wait_for_airflow(here: Connection, environment: dict[str, Any], stages: Stages) -> None:
    """Waits until the environment's Airflow is healthy.

    Raises:
        Refused: the environment is in a state in which it never becomes healthy.
        Unavailable: it takes too long.
    """
    if environment["Status"] in {"CREATE_FAILED", "DELETING"} or not environments.web_url(environment):
        raise Refused(environments.failure_text(environment))
    if environments.is_stopped(environment):
        raise Refused(
            f"The environment {environment['Name']} is stopped. Start it: skylift start {environment['Name']}"
        )
    airflow = AirflowApi(environments.web_url(environment), timeout=5)
    name = environment["Name"]

    def hopeless() -> str:
        found = environments.get(here.client("mwaa"), name)
        return environments.failure_text(found) if found["Status"] in environments.HOPELESS else ""

    environments.wait_healthy(airflow.unhealthy, lambda text: stages.now(here.image_progress() or text), hopeless)


def wait_for_all(here: Connection, stages: Stages) -> None:
    """Waits until every environment that was AVAILABLE is healthy: its containers start again with the server.

    Raises:
        Refused, Unavailable: from ``wait_for_airflow``.
    """
    mwaa = here.client("mwaa")
    for name in environments.names(mwaa):
        found = environments.find(mwaa, name)
        if found is not None and environments.is_stopped(found):
            stages.note(f"environment {name} is stopped. To start it: skylift start {name}")
        elif found is not None and found["Status"] not in {"CREATING", "CREATE_FAILED", "DELETING"}:
            found = environments.wait_available(mwaa, name, stages.now, here.progress, here.looked_at)
            wait_for_airflow(here, found, stages)
            stages.done(f"{environments.state_text(found)}; its UI: {environments.web_url(found)}")


def run_project_dag(
    here: Connection,
    environment: dict[str, Any],
    dag_id: str | None,
    conf: dict[str, Any],
    stages: Stages,
    run_id: str | None = None,
) -> dagrun.RunResult:
    """Triggers a DAG (``None``: the only one) and follows it to its end.

    Args:
        run_id: of a run that was started earlier, to follow instead.
    """
    name = environment["Name"]
    api, chosen = _ready(here, environment, dag_id, stages)
    followed = run_id or dagrun.new_run_id()
    back = shlex.join(["skylift", "run", chosen, "--env", name, "--follow", followed])
    ecs = here.client("ecs")
    with goes_on(f"Run {followed} of {chosen} goes on. To come back to it: {back}"):
        if run_id:
            stages.now(f"following run {run_id} of {chosen}")
            return dagrun.follow_run(api, ecs, CLUSTER, chosen, run_id, stages.now, here.ask)
        stages.now(f"starting a run of {chosen}")
        return dagrun.run_dag(api, ecs, CLUSTER, chosen, conf, stages.now, here.ask, followed)


def start_project_dag(
    here: Connection, environment: dict[str, Any], dag_id: str, conf: dict[str, Any], stages: Stages
) -> str:
    """Triggers a DAG; returns the id of the run, which goes on by itself."""
    api, chosen = _ready(here, environment, dag_id, stages)
    return dagrun.start_run(api, chosen, conf, stages.now, here.ask)


def _ready(here: Connection, environment: dict[str, Any], dag_id: str | None, stages: Stages) -> tuple[AirflowApi, str]:
    """Airflow's API once it answers, and the DAG once it is parsed."""
    project = buckets.followed(here.home).get(environment["Name"])
    with goes_on("No run was started."):
        wait_for_airflow(here, environment, stages)
        api = here.ask(lambda: here.airflow(environment), stages.now, "Secrets Manager")
        folder = project.project.folder if project else None
        return api, dagrun.choose_dag(api, dag_id, stages.now, folder=folder, ask=here.ask)


def print_run(console: Console, here: Connection, environment: str, result: dagrun.RunResult) -> None:
    """The run's Airflow tasks, and why it failed if it did."""
    print_table(console, dagrun.table(result))
    explain(console, here, environment, result)


def explain(console: Console, here: Connection, environment: str, result: dagrun.RunResult) -> None:
    """Why the run failed, if it did."""
    if result.state != "success":
        mwaa = here.client("mwaa")
        only = environments.names(mwaa) == [environment]
        secrets = secrets_in(environments.find(mwaa, environment) or {})
        print_failures(console, here.client("logs"), result, environment, only, secrets)


def tell_end(stages: Stages, result: dagrun.RunResult) -> None:
    """Prints how a run has ended."""
    (stages.done if result.state == "success" else stages.failed)(
        f"run {result.run_id} of {result.dag_id}: {result.state}"
    )


def print_addresses(console: Console, here: Connection, environment: dict[str, Any]) -> None:
    """Prints the addresses, how to sign in, and how to stop."""
    name = environment["Name"]
    rows = [
        ("Airflow UI", environments.web_url(environment)),
        ("sign in", f"skylift env open {name}"),
        ("API endpoint", f'{here.server.endpoint}   (AWS tools: eval "$(skylift shellenv)")'),
        ("stop", "skylift down   (nothing is lost; skylift up brings it back)"),
    ]
    if line := activation():
        rows.append(("type less", f"{line}   (then skylift alone is enough in this shell)"))
    for label, text in rows:
        console.print(f"  [bold]{label:<13}[/] {text}")


def print_outdated(console: Console, project: Project, outdated: tuple[str, ...]) -> None:
    """Prints that changed requirements are not applied, and how to apply them."""
    if outdated:
        console.print(f"[yellow]Note:[/] {plain(notice(project, list(outdated)))}")


def _lay_foundation(here: Connection, s3: Any, project: Project, stages: Stages) -> Foundation:
    stages.now(f"preparing bucket {project.bucket}, role and network")
    account.ensure_bucket(s3, project.bucket)
    control_bucket = f"skylift-{ACCOUNT}-{REGION}"  # the control plane's default
    scope = EnvironmentScope(project.name, project.bucket, control_bucket, CLUSTER, ACCOUNT, REGION)
    role = account.ensure_role(here.client("iam"), scope)
    network = account.ensure_network(here.client("ec2"), REGION)
    stages.now(f"bringing {project.folder} to s3://{project.bucket}")
    done = buckets.sync(s3, here.home, project)
    if done.put or done.remove:
        stages.done(f"{len(done.put)} files put, {len(done.remove)} removed in s3://{project.bucket}")
    for told in [*done.notices(project.bucket), *project.remarks()]:
        stages.note(told)
    versions = {key: buckets.version_of(s3, project.bucket, key) for key in VERSIONED}
    return Foundation(role, network, versions)
