"""Creates, waits for and deletes environments for the command line, through the MWAA API like any other client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from skylift.aws.errors import calling
from skylift.cli.account import Network, exists
from skylift.cli.home import REGION
from skylift.cli.projects.project import Project, up_command, up_line
from skylift.cli.projects.working_folder import meant
from skylift.cli.runs.patience import patiently
from skylift.control.settings import STOPPED, option_name, option_of
from skylift.core.environment import ECS_EXECUTOR
from skylift.core.errors import Refused, Unavailable
from skylift.core.names import arn

WAIT_SECONDS = 1200.0
"""Time limit until an environment is AVAILABLE, or deleted; MWAA itself takes 20 to 30 minutes."""

POLL_SECONDS = 0.25
USABLE = frozenset({"AVAILABLE", "UPDATE_FAILED"})
"""Statuses of an environment that serves. After an update that failed it serves as it did before."""

CHANGING = frozenset({"UPDATING", "ROLLING_BACK", "MAINTENANCE"})
"""Statuses of an environment that an update, or its undoing, is at work on."""

HOPELESS = frozenset({"CREATE_FAILED", "UNAVAILABLE", "DELETING", "DELETED"})
"""Statuses that do not become AVAILABLE by waiting."""

STOPPED_OPTION = option_name(STOPPED)
"""The option of an environment without containers."""

VERSIONED = {"requirements.txt": "Requirements", "plugins.zip": "Plugins", "startup.sh": "StartupScript"}
"""Project files of which an environment uses one fixed version, and the prefix of their members in the MWAA API."""


@dataclass(frozen=True)
class Foundation:
    """What a new environment needs: its role and network, and the versions of its pinned files (by key)."""

    role: str
    network: Network
    versions: dict[str, str]


def find(mwaa: Any, name: str) -> dict[str, Any] | None:
    """The environment as from GetEnvironment; ``None`` if there is none with that name."""
    found: dict[str, Any] = {}
    exists(lambda: found.update(mwaa.get_environment(Name=name)["Environment"]), f"environment {name}")
    return found or None


def refuse_existing(mwaa: Any, project: Project) -> None:
    """Raises ``Refused`` if an environment with the project's name exists (unless it failed or is being deleted)."""
    found = find(mwaa, project.name)
    if found is not None and found["Status"] not in {"CREATE_FAILED", "DELETING"}:
        raise Refused(
            f"There is an environment {project.name} already ({found['Status']}), and its options stay as they are. "
            "To bring the "
            f"project's files to it: {up_command(project)}\nTo make it anew, giving up its run "
            f"history: skylift env delete {project.name}, then this command again."
        )


def get(mwaa: Any, name: str) -> dict[str, Any]:
    """The environment. If it does not exist, raises ``Refused`` with the existing names."""
    found = find(mwaa, name)
    if found is None:
        known = ", ".join(names(mwaa)) or "none"
        raise Refused(f"There is no environment {name}. There are: {known}. To make one: {up_line()}")
    return found


def names(mwaa: Any) -> list[str]:
    """Names of all environments."""
    with calling("mwaa ListEnvironments"):
        pages = mwaa.get_paginator("list_environments").paginate()
        return sorted(name for page in pages for name in page["Environments"])


def the_one(mwaa: Any, name: str | None, how: str = "--env {}") -> str:
    """The given name, else that of the working folder's project, else the only environment's.

    Args:
        how: what to type to choose one.

    Raises:
        Refused: it is not clear which.
    """
    if name:
        return name
    known = names(mwaa)
    if (of_folder := meant(known)) is not None:
        return of_folder
    if len(known) == 1:
        return known[0]
    if not known:
        raise Refused(f"There is no environment yet. To make one: {up_line()}")
    raise Refused(f"Which environment? There are {', '.join(known)}. Name one, e.g.: {how.format(known[0])}")


def creation(project: Project, base: Foundation, options: dict[str, str]) -> dict[str, Any]:
    """The CreateEnvironment request of a project."""
    request: dict[str, Any] = {
        "Name": project.name,
        "ExecutionRoleArn": base.role,
        "SourceBucketArn": arn("s3", REGION, "", project.bucket),
        "DagS3Path": "dags",
        "NetworkConfiguration": {
            "SubnetIds": list(base.network.subnets),
            "SecurityGroupIds": [base.network.security_group],
        },
        "WebserverAccessMode": "PUBLIC_ONLY",
        "LoggingConfiguration": {
            module: {"Enabled": True, "LogLevel": "INFO"}
            for module in ("DagProcessingLogs", "SchedulerLogs", "TaskLogs", "WebserverLogs", "WorkerLogs")
        },
    }
    # Without it, the environment would be as MWAA's: Airflow tasks on Celery workers, one of which always runs.
    request["AirflowConfigurationOptions"] = {"core.executor": ECS_EXECUTOR, **options}
    for key, member in VERSIONED.items():
        if version := base.versions.get(key):
            request |= {f"{member}S3Path": key, f"{member}S3ObjectVersion": version}
    return request


def create(mwaa: Any, request: dict[str, Any]) -> None:
    """Requests the environment; it is not ready when this returns."""
    with calling(f"mwaa CreateEnvironment {request['Name']}"):
        mwaa.create_environment(**request)


def outdated(environment: dict[str, Any], versions: dict[str, str]) -> list[str]:
    """The project's pinned files whose current version in the bucket differs from the environment's."""
    return [
        key
        for key, member in VERSIONED.items()
        if (environment.get(f"{member}S3ObjectVersion") or "") != versions.get(key, "")
    ]


def update(
    mwaa: Any, name: str, request: Mapping[str, Any], say: Callable[[str], None], progress: Callable[[str], str]
) -> None:
    """Asks for an update and waits for its end. Errors and arguments as ``wait_updated``."""
    with calling(f"mwaa UpdateEnvironment {name}"):
        mwaa.update_environment(Name=name, **request)
    wait_updated(mwaa, name, say, progress)


def wait_updated(
    mwaa: Any, name: str, say: Callable[[str], None], progress: Callable[[str], str], limit: float = WAIT_SECONDS
) -> None:
    """Waits until an update has ended well.

    Args:
        say, progress: as ``wait_available``.
        limit: seconds.

    Raises:
        Refused: it failed; the text is the service's own reason.
        Unavailable: it took longer than the limit.
    """
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        found = patiently(lambda: get(mwaa, name), say, "the control plane")
        status, last = found["Status"], found["LastUpdate"]
        if status not in CHANGING:
            if last["Status"] == "FAILED":
                raise Refused(update_failure(found))
            return
        say(f"environment {name}: {progress(name) or status}")
        time.sleep(POLL_SECONDS)
    raise Unavailable(f"The update of {name} has not ended after {limit:.0f} s. See: skylift env events {name}")


def is_stopped(environment: Mapping[str, Any]) -> bool:
    """Whether ``skylift stop``, or somebody by the API, has stopped it."""
    return option_of(STOPPED, environment.get("AirflowConfigurationOptions") or {})


def stop(mwaa: Any, environment: Mapping[str, Any], say: Callable[[str], None], progress: Callable[[str], str]) -> None:
    """Ends all containers of an environment, by an update. Raises like ``update``."""
    options = {**(environment.get("AirflowConfigurationOptions") or {}), STOPPED_OPTION: "True"}
    update(mwaa, environment["Name"], {"AirflowConfigurationOptions": options}, say, progress)


def last_failure(environment: Mapping[str, Any]) -> str:
    """Why the last update failed, one line; empty if it did not, or if the environment itself failed."""
    error = environment.get("LastUpdate", {}).get("Error")
    if environment["Status"] not in USABLE or not error:
        return ""
    first = str(error["ErrorMessage"]).splitlines()[:1]
    return f"the last update failed, and was undone. {error['ErrorCode']}: {''.join(first)}"


def state_text(environment: Mapping[str, Any]) -> str:
    """One line on an environment whose Airflow answers. Of an update that failed earlier, only that it did: Airflow
    serves as before it, and ``skylift status`` has the reason."""
    name = environment["Name"]
    if not last_failure(environment):
        return f"environment {name} is {environment['Status']}"
    return f"environment {name} serves (its last update failed and was undone: skylift env events {name})"


def update_failure(environment: dict[str, Any]) -> str:
    """Why the last update failed, and what the environment is now."""
    error = environment["LastUpdate"].get("Error", {})
    now = (
        "goes on as it was before" if environment["Status"] != "UNAVAILABLE" else "could not go back: it is UNAVAILABLE"
    )
    return (
        f"The update of {environment['Name']} failed, and the environment {now}. {error.get('ErrorCode', 'No code')}: "
        f"{error.get('ErrorMessage', 'no reason given')}"
    )


def wait_available(
    mwaa: Any,
    name: str,
    say: Callable[[str], None],
    progress: Callable[[str], str],
    looked_at: Callable[[str], bool],
    limit: float = WAIT_SECONDS,
) -> dict[str, Any]:
    """Waits until the environment can be used; returns it.

    Args:
        say: called with the current step.
        progress: what the control plane is doing for an environment; empty if unknown.
        looked_at: whether the control plane has looked at an environment since it began; what it knew before does not
            count.
        limit: seconds.

    Raises:
        Refused: it ended in a failed state; the text is the service's own reason.
        Unavailable: it took longer than the limit.
    """
    deadline = time.monotonic() + limit
    doing = ""
    while time.monotonic() < deadline:
        found = patiently(lambda: get(mwaa, name), say, "the control plane")
        status = found["Status"]
        if status in USABLE:
            return found
        if status in HOPELESS and (status != "UNAVAILABLE" or looked_at(name)):
            raise Refused(failure_text(found))
        doing = progress(name) or doing or status
        say(f"environment {name}: {doing}")
        time.sleep(POLL_SECONDS)
    raise Unavailable(
        f"The environment {name} is not available after {limit:.0f} s. Look at: skylift logs scheduler --env {name}"
    )


def wait_healthy(
    unhealthy: Callable[[], list[str]],
    say: Callable[[str], None],
    hopeless: Callable[[], str],
    limit: float = WAIT_SECONDS,
) -> None:
    """Waits until all of Airflow's components are healthy. After a restart an environment is AVAILABLE before that.

    Args:
        unhealthy: names of components that are not; raises ``Unavailable`` while nothing answers.
        hopeless: why waiting is useless; empty while it is not.
        limit: seconds. A busy machine may need many.

    Raises:
        Refused: waiting is useless.
        Unavailable: it took longer than the limit.
    """
    deadline = time.monotonic() + limit
    while True:
        try:
            waiting = unhealthy()
        except Unavailable:
            waiting = ["api-server"]
        if not waiting:
            return
        if why := hopeless():
            raise Refused(why)
        if time.monotonic() > deadline:
            raise Unavailable(
                f"Airflow is not healthy after {limit:.0f} s: {', '.join(waiting)}. Look at: skylift logs scheduler "
                "(or api-server, dag-processor, triggerer)."
            )
        say(f"waiting for Airflow: {', '.join(waiting)}")
        time.sleep(POLL_SECONDS)


def failure_text(environment: dict[str, Any]) -> str:
    """Why an environment cannot be used, in one message."""
    name, status = environment["Name"], environment["Status"]
    if status == "UNAVAILABLE":
        return (
            f"The environment {name} is UNAVAILABLE: its API server ends again and again, or cannot be started. What "
            "it said: "
            f"skylift logs api-server --env {name}"
        )
    if status != "CREATE_FAILED":
        return f"The environment {name} is {status}: it cannot be used now. See: skylift env show {name}"
    error = environment.get("LastUpdate", {}).get("Error", {})
    return (
        f"The environment {name} is {status}. {error.get('ErrorCode', 'No code')}: "
        f"{error.get('ErrorMessage', 'no reason given')}\n"
        "  Correct the cause and run skylift up again; the failed environment is replaced."
    )


def delete(mwaa: Any, name: str, say: Callable[[str], None], limit: float = WAIT_SECONDS) -> None:
    """Deletes an environment and waits until it is gone. Raises like ``ask_to_delete`` and ``wait_gone``."""
    ask_to_delete(mwaa, name)
    wait_gone(mwaa, name, say, limit)


def ask_to_delete(mwaa: Any, name: str, cancel: Callable[[str], None] | None = None) -> None:
    """Asks for an environment to be deleted, unless that is under way already; it is not gone when this returns.

    Args:
        cancel: deletes one that is still being made, which the MWAA API refuses; ``None``: it is refused.

    Raises:
        Refused: there is none of that name, or it may not be deleted now.
    """
    status = get(mwaa, name)["Status"]
    if status == "CREATING" and cancel is not None:
        cancel(name)
    elif status != "DELETING":
        with calling(f"mwaa DeleteEnvironment {name}"):
            mwaa.delete_environment(Name=name)


def wait_gone(mwaa: Any, name: str, say: Callable[[str], None], limit: float = WAIT_SECONDS) -> None:
    """Waits until an environment is gone. Raises ``Unavailable`` if it takes longer than the limit (seconds)."""
    deadline = time.monotonic() + limit
    while (found := patiently(lambda: find(mwaa, name), say, "the control plane")) is not None:
        if time.monotonic() > deadline:
            raise Unavailable(f"The environment {name} is still {found['Status']} after {limit:.0f} s.")
        say(f"environment {name}: {found['Status']}")
        time.sleep(POLL_SECONDS)


def web_url(environment: Mapping[str, Any]) -> str:
    """The address of Airflow's UI. MWAA returns a bare host name; ours are plain http on loopback."""
    url = str(environment.get("WebserverUrl", ""))
    return url if "://" in url or not url else f"http://{url}"
