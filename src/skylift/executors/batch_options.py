"""The options of ``[aws_batch_executor]``: the amazon provider's names and meaning, read into what SubmitJob gets.

Precedence as documented: defaults < SUBMIT_JOB_KWARGS < explicit options. (The provider's own code, 9.39, has the last two the
other way round; the seeds' page and its ECS executor have it so.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skylift.core.errors import Refused
from skylift.core.settings import Setting, whole_number
from skylift.executors.settings import (
    AWS_CONN_ID,
    CHECK_HEALTH,
    CONN_ID,
    REGION,
    REGION_NAME,
    Options,
    camel,
    json_object,
)

BATCH_SECTION = "aws_batch_executor"

JOB_QUEUE = Setting("job_queue", str, "", "Name or ARN of the Batch job queue.", required=True)
JOB_DEFINITION = Setting(
    "job_definition",
    str,
    "",
    "Name, name:revision or ARN of the Batch job definition; without a revision, the newest that is active.",
    required=True,
)
JOB_NAME = Setting(
    "job_name",
    str,
    "",
    "First part of the names of Batch jobs; DAG, Airflow task and an id follow. Letters, digits, - and _.",
)
SUBMIT_JOB_KWARGS: Setting[dict[str, Any]] = Setting(
    "submit_job_kwargs", json_object, {}, "JSON object with any arguments of SubmitJob."
)
MAX_SUBMIT_JOB_ATTEMPTS = Setting(
    "max_submit_job_attempts",
    whole_number(1, 1000),
    3,
    "Batch jobs to try for one launch when one ends before Airflow's task began in it.",
)

BATCH_SETTINGS = (
    JOB_QUEUE,
    JOB_DEFINITION,
    JOB_NAME,
    REGION_NAME,
    REGION,
    CONN_ID,
    AWS_CONN_ID,
    SUBMIT_JOB_KWARGS,
    MAX_SUBMIT_JOB_ATTEMPTS,
    CHECK_HEALTH,
)

UNSERVED = {
    "nodeOverrides": "multi-node parallel jobs are not supported",
    "nodeOverride": "multi-node parallel jobs are not supported",
    "eksPropertiesOverride": "jobs on EKS are not supported",
    "arrayProperties": "the executor makes array jobs by itself ([skylift] batch_arrays)",
}
"""Arguments of SubmitJob that nobody may set, and why."""


@dataclass(frozen=True)
class BatchOptions:
    """``[aws_batch_executor]``, read and checked.

    Attributes:
        request: SubmitJob's arguments as far as options decide them; ``jobName`` is only the name's first part.
        container: name of the container in which Airflow runs, of a job definition with several; else "".
        connection: the Airflow connection to take credentials from.
        region: "" for AWS's own setting.
        most_attempts: Batch jobs for one launch.
        check_health: look for the queue at the start.
    """

    request: Mapping[str, Any]
    container: str
    connection: str
    region: str
    most_attempts: int
    check_health: bool


def batch_options(conf: Any) -> BatchOptions:
    """Reads the section. Raises ``Refused`` with one line that names the option."""
    options = Options(conf, BATCH_SECTION)
    request = _arguments(options)
    for key, why in UNSERVED.items():
        if key in request:
            raise Refused(f"[{BATCH_SECTION}] submit_job_kwargs: {key}: {why}")
    for setting, key in ((JOB_QUEUE, "jobQueue"), (JOB_DEFINITION, "jobDefinition"), (JOB_NAME, "jobName")):
        given = str(request.get(key) or "")
        request[key] = options[setting] if options.set(setting) or not given else given
    container = container_of(request)
    if "ecsPropertiesOverride" in request and not container:
        raise Refused(
            f"[{BATCH_SECTION}] submit_job_kwargs: ecsPropertiesOverride must have taskProperties with one element, whose "
            "first container has the 'name' of the one in which Airflow runs"
        )
    return BatchOptions(
        request=request,
        container=container,
        connection=options[AWS_CONN_ID] or options[CONN_ID],
        region=options[REGION_NAME] or options[REGION],
        most_attempts=options[MAX_SUBMIT_JOB_ATTEMPTS],
        check_health=options[CHECK_HEALTH],
    )


def container_of(request: Mapping[str, Any]) -> str:
    """Name of the first container in ``ecsPropertiesOverride``: the one in which Airflow runs; "" without one."""
    try:
        (task,) = request["ecsPropertiesOverride"]["taskProperties"]
        return str(task["containers"][0]["name"])
    except (KeyError, IndexError, TypeError, ValueError):
        return ""


def _arguments(options: Options) -> dict[str, Any]:
    """SUBMIT_JOB_KWARGS in SubmitJob's spelling: snake_case, and a capital at the beginning, are understood."""
    given = options[SUBMIT_JOB_KWARGS]
    request = {key[:1].lower() + key[1:]: value for key, value in camel(given).items()}
    if "parameters" in given:
        # Keys of parameters are the job definition's own words.
        request["parameters"] = given["parameters"]
    tags = request.get("tags")
    if isinstance(tags, list):
        # The amazon provider's own example has tags in the shape of other services.
        request["tags"] = {str(one.get("Key", one.get("key"))): str(one.get("Value", one.get("value"))) for one in tags}
    # The command is the executor's; the provider asks for an empty one here.
    overrides = request.get("containerOverrides")
    if isinstance(overrides, dict) and not overrides.get("command"):
        overrides.pop("command", None)
    elif isinstance(overrides, dict):
        raise Refused(
            f"[{BATCH_SECTION}] submit_job_kwargs: containerOverrides.command must not be set: the executor decides it"
        )
    return request
