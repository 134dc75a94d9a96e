"""SubmitJob's arguments and the names of Batch jobs: pure. ``executor_config`` is merged over the options and never
changed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from skylift.aws.shapes import mistakes
from skylift.core.attempt import Attempt
from skylift.core.errors import Refused
from skylift.core.names import tag_value
from skylift.executors.in_container.payload import Payload
from skylift.executors.options.batch import BATCH_SECTION, OVERRIDES, UNSERVED, BatchOptions, lay
from skylift.executors.options.settings import OWN_SECTION

MOST_REQUEST_BYTES = 30 * 1024
"""Of SubmitJob's payload (user guide, "AWS Batch service quotas")."""

MOST_OVERRIDE_CHARACTERS = 8192
"""Of what a job overrides in its containers, as JSON: Batch runs it on ECS, whose limit it is. Beyond it the job ends
in FAILED with "Container Overrides length must be at most 8192" (Netflix/metaflow#1482, ASFHyP3/hyp3#3041)."""

BATCHS_OWN = 600
"""Characters of it that are left to Batch, which puts variables of its own there (``AWS_BATCH_JOB_ID`` and others)."""

MOST_NAME = 128
"""Characters of a job's name: letters, digits, ``-`` and ``_`` (API reference of SubmitJob)."""

MOST_TAGS = 50
"""Tags of a Batch job (API reference of SubmitJob)."""

ONE_TRY = {"attempts": 1}
"""``retryStrategy``: who repeats what is decided by us before Airflow's task began, and by Airflow afterwards."""

NAME_OF_ONE = re.compile(r".*-([0-9a-f]{8}-[0-9a-f-]{27})-([0-9]+)")


def check_executor_config(executor_config: Any, container: str) -> None:
    """Refuses an ``executor_config`` that cannot work. Says what to change."""
    if not isinstance(executor_config, Mapping):
        raise Refused(
            f"executor_config must be a dict with arguments of Batch SubmitJob, not {type(executor_config).__name__}"
        )
    for key in ("command", "name"):
        if key in executor_config:
            raise Refused(f"executor_config must not set {key!r}: the executor decides what runs in the container")
    for key, why in UNSERVED.items():
        if key in executor_config:
            raise Refused(f"executor_config must not set {key!r}: {why}")
    # Before anything looks inside.
    if wrong := mistakes("batch", "SubmitJob", executor_config, partial=True):
        raise Refused(f"executor_config: {wrong}")
    if all(executor_config.get(one) for one in OVERRIDES):
        raise Refused(
            f"executor_config: {' and '.join(OVERRIDES)} exclude each other: "
            "the job definition has one container or several"
        )
    if executor_config.get("containerOverrides", {}).get("command"):
        raise Refused("executor_config must not set containerOverrides.command: it runs Airflow")
    containers = _wanted_containers(executor_config)
    if "ecsPropertiesOverride" in executor_config and not containers and not container:
        raise Refused(
            "executor_config: ecsPropertiesOverride names no container: name the one in which Airflow runs in "
            'taskProperties[0].containers, with "command": []'
        )
    for one in containers:
        if "name" not in one:
            raise Refused("executor_config: every container of ecsPropertiesOverride needs its 'name'")
        if one["name"] == container and one.get("command"):
            raise Refused(f"executor_config must not set 'command' of container {container!r}: it runs Airflow")


def submit_request(
    options: BatchOptions, attempts: Sequence[Attempt], payload: Payload, name: str, *, tags: bool
) -> dict[str, Any]:
    """SubmitJob's arguments for one attempt, or for several with equal group keys in one array job.

    Args:
        name: of the Batch job.
        tags: whether it is tagged with the attempts' common labels.

    Raises:
        Refused: SubmitJob has no such arguments, or it is too long for Batch.
    """
    executor_config = attempts[0].executor_config
    request = lay(options.request, executor_config)
    override = _override_of(request, airflow_container(options, executor_config))
    override["environment"] = [
        *(pair for pair in override.get("environment") or [] if pair.get("name") not in payload.environment),
        *({"name": key, "value": value} for key, value in payload.environment.items()),
    ]

    def fits(command: tuple[str, ...]) -> bool:
        override["command"] = list(command)
        return _overrides_length(request) <= MOST_OVERRIDE_CHARACTERS - BATCHS_OWN

    override["command"] = list(payload.fitting(fits))
    request.setdefault("retryStrategy", ONE_TRY)
    if tags:
        labels = {key: tag_value(value) for key, value in common(attempts).items()}
        request["tags"] = dict(
            list({**(request.get("tags") or {}), **labels, **(request.get("tags") or {})}.items())[:MOST_TAGS]
        )
    if len(attempts) > 1:
        request["arrayProperties"] = {"size": len(attempts)}
    # Always ours: by this a restart finds the job again, and never makes a second one.
    request["jobName"] = name
    wrong = mistakes("batch", "SubmitJob", request)
    if wrong:
        raise Refused(f"executor_config: {wrong}")
    _check_length(request)
    return request


def airflow_container(options: BatchOptions, executor_config: Mapping[str, Any]) -> str:
    """Name of the container in which Airflow runs; "" for a job definition with only one.

    The options name it, or an author who uses another job definition does, by an entry with an empty ``command``.

    Raises:
        Refused: there are several, and nothing says in which one.
    """
    wanted = _wanted_containers(executor_config)
    if "containerOverrides" in executor_config and not wanted:
        return ""
    marked = [str(one.get("name", "")) for one in wanted if one.get("command") == []]
    if wanted and not marked and not options.container:
        raise Refused(
            "executor_config overrides containers of a job definition that has several, and nothing says in which of "
            f"them Airflow runs: name it in [{BATCH_SECTION}] submit_job_kwargs = "
            '{"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "..."}]}]}}, or give its entry in '
            'executor_config "command": []'
        )
    return marked[0] if marked else options.container


def common(attempts: Sequence[Attempt]) -> dict[str, str]:
    """The labels that all of them have with the same value."""
    first, *others = [attempt.labels for attempt in attempts]
    return {key: value for key, value in first.items() if all(labels.get(key) == value for labels in others)}


def job_name(options: BatchOptions, attempt: Attempt) -> str:
    """``jobname-dag-task-<external id>-<number>``: the same for the same attempt, for ever."""
    return f"{names_of(options, attempt)}{attempt.number}"


def names_of(options: BatchOptions, attempt: Attempt) -> str:
    """The beginning of the names of all attempts of this external id."""
    tail = f"-{_plain(attempt.external_id)}-"
    return _head(options, [attempt], MOST_NAME - len(tail) - 4) + tail


def array_name(options: BatchOptions, attempts: Sequence[Attempt], token: str) -> str:
    """``jobname-dag-task-<token>-array``, with what the attempts have in common."""
    tail = f"-{token}-array"
    return _head(options, attempts, MOST_NAME - len(tail)) + tail


def is_array(name: str) -> bool:
    """Whether a job with this name may be one of our arrays."""
    return name.endswith("-array")


def token_of(name: str) -> str:
    """The token of the attempt whose Batch job has this name; "" for an array, or a job that is not ours."""
    match = NAME_OF_ONE.fullmatch(name)
    return f"{match[1]}.{match[2]}" if match else ""


def _head(options: BatchOptions, attempts: Sequence[Attempt], most: int) -> str:
    labels = common(attempts)
    executor_config = attempts[0].executor_config
    wanted = executor_config.get("jobName") if isinstance(executor_config, Mapping) else None
    words = [str(wanted or options.request.get("jobName") or ""), labels.get("dag_id", ""), labels.get("task_id", "")]
    if not labels.get("dag_id"):
        words.append("callback" if "callback_id" in labels else "airflow")
    return _plain("-".join(filter(None, words)))[:most].strip("-_") or "airflow"


def _plain(text: str) -> str:
    """In the characters that Batch allows in names; a name begins with a letter or digit."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", text).lstrip("-_")


def _wanted_containers(executor_config: Mapping[str, Any]) -> list[Any]:
    if "ecsPropertiesOverride" not in executor_config:
        return []
    tasks = executor_config["ecsPropertiesOverride"].get("taskProperties") or []
    if len(tasks) != 1:
        raise Refused("executor_config: ecsPropertiesOverride.taskProperties must have exactly one element")
    return list(tasks[0].get("containers") or [])


def _override_of(request: dict[str, Any], container: str) -> dict[str, Any]:
    """The part of the request that overrides Airflow's container."""
    if "ecsPropertiesOverride" not in request:
        override: dict[str, Any] = request.setdefault("containerOverrides", {})
        return override
    containers: list[dict[str, Any]] = request["ecsPropertiesOverride"]["taskProperties"][0].setdefault(
        "containers", []
    )
    for one in containers:
        if one.get("name") == container:
            return one
    containers.insert(0, {"name": container})
    return containers[0]


def _overrides_length(request: Mapping[str, Any]) -> int:
    parts = [request.get(key) for key in ("containerOverrides", "ecsPropertiesOverride") if key in request]
    return sum(len(json.dumps(part, separators=(",", ":"), ensure_ascii=False, default=str)) for part in parts)


def _check_length(request: Mapping[str, Any]) -> None:
    characters = _overrides_length(request)
    if characters > MOST_OVERRIDE_CHARACTERS:
        raise Refused(
            f"the container's command and overrides have {characters} characters, ECS, on which Batch runs them, takes "
            f"{MOST_OVERRIDE_CHARACTERS}: set [{OWN_SECTION}] payload_url = s3://bucket/prefix so that the workload "
            "goes through S3"
        )
    length = len(json.dumps(request, separators=(",", ":"), default=str).encode())
    if length > MOST_REQUEST_BYTES:
        raise Refused(
            f"SubmitJob's arguments with the container's command have {length} bytes, Batch takes "
            f"{MOST_REQUEST_BYTES}: "
            f"set [{OWN_SECTION}] payload_url = s3://bucket/prefix so that the workload goes through S3"
        )
