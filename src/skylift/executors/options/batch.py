"""The options of ``[aws_batch_executor]``: the amazon provider's names and meaning, read into SubmitJob's arguments.

Precedence, as documented: defaults < SUBMIT_JOB_KWARGS < explicit options. (The provider's own code, 9.39, applies the
last two in the opposite order; its documentation and its ECS executor agree with ours.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from skylift.aws.shapes import mistakes
from skylift.core.settings import Setting, whole_number
from skylift.executors.options.by_queue import QueueOptions, connected, read_by_queue
from skylift.executors.options.layers import layers_of
from skylift.executors.options.queues import Words, merged
from skylift.executors.options.settings import (
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
    "Name, name:revision or ARN of the Batch job definition; without a revision, the newest active one.",
    required=True,
)
JOB_NAME = Setting(
    "job_name",
    str,
    "",
    "First part of the names of Batch jobs; DAG, Airflow task and an id follow. Only letters, digits, - and _.",
)
SUBMIT_JOB_KWARGS: Setting[dict[str, Any]] = Setting(
    "submit_job_kwargs", json_object, {}, "JSON object with any arguments of SubmitJob."
)
MAX_SUBMIT_JOB_ATTEMPTS = Setting(
    "max_submit_job_attempts",
    whole_number(1, 1000),
    3,
    "Most Batch jobs to try for one launch if each ends before the Airflow task begins.",
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

PLACES = {JOB_QUEUE.name: "jobQueue", JOB_DEFINITION.name: "jobDefinition"}
"""What a fallback may change, and SubmitJob's words for it."""

EXPLICIT: dict[str, Setting[str]] = {"jobQueue": JOB_QUEUE, "jobDefinition": JOB_DEFINITION, "jobName": JOB_NAME}
"""Options with names of their own, by SubmitJob's words for them."""

OVERRIDES = ("containerOverrides", "ecsPropertiesOverride")
"""Of these two, one replaces the other: a job definition has one container or several."""

QUEUE_WORDS = (*PLACES, JOB_NAME.name, SUBMIT_JOB_KWARGS.name)
"""What may differ by Airflow's queue."""

UNSERVED = {
    "nodeOverrides": "multi-node parallel jobs are not supported",
    "nodeOverride": "multi-node parallel jobs are not supported",
    "eksPropertiesOverride": "jobs on EKS are not supported",
    "arrayProperties": "the executor makes array jobs by itself ([skylift] batch_arrays)",
}
"""Arguments of SubmitJob that nobody may set, and why."""


@dataclass(frozen=True, kw_only=True)
class BatchOptions(QueueOptions):
    """``[aws_batch_executor]``, read and checked, for one of Airflow's queues.

    ``jobName`` in the request is only the first part of the name. ``container`` is "" if the job definition has one.
    """

    def after(self, shortages: int) -> BatchOptions:
        """The options after so many lacks of capacity: the first choice, each fallback, the first choice again."""
        fallback = self.fallback(shortages)
        return replace(self, request={**self.request, **fallback}) if fallback else self

    def containers(self) -> frozenset[str]:
        """Names of the containers in which Airflow runs, for job definitions with several."""
        return frozenset(one.container for one in (self, *self.queues.values()) if one.container)

    def places(self) -> list[str]:
        """All job queues in which attempts may be."""
        named = [self.request["jobQueue"], *(one["jobQueue"] for one in self.fallbacks if "jobQueue" in one)]
        return list(dict.fromkeys(named))


def batch_options(conf: Any) -> BatchOptions:
    """Reads the section and the queues in ``[skylift]``. Raises ``Refused`` with one line that names the
    option."""
    return read_by_queue(conf, QUEUE_WORDS, partial(_read, conf))


def container_of(request: Mapping[str, Any]) -> str:
    """Name of the first container in ``ecsPropertiesOverride``, in which Airflow runs; "" if there is none."""
    try:
        (task,) = request["ecsPropertiesOverride"]["taskProperties"]
        return str(task["containers"][0]["name"])
    except (KeyError, IndexError, TypeError, ValueError):
        return ""


def lay(request: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The request with other arguments merged over it. Each of the two kinds of overrides replaces the other."""
    gone = {other for one, other in (OVERRIDES, OVERRIDES[::-1]) if one in over}
    return merged({key: value for key, value in request.items() if key not in gone}, over)


def _read(conf: Any, entry: Words | None, fallbacks: list[Words]) -> BatchOptions:
    options = Options(conf, BATCH_SECTION)
    request: dict[str, Any] = {}
    for layer in layers_of(options, BATCH_SECTION, entry, SUBMIT_JOB_KWARGS):
        explicit = {key: layer.options[setting] for key, setting in EXPLICIT.items() if layer.says(setting)}
        request = lay(lay(request, layer.arguments(_arguments, SUBMIT_JOB_KWARGS)), explicit)
    for key, setting in EXPLICIT.items():
        # A missing one is reported here.
        request[key] = request.get(key) or options[setting]
    changes = [{key: str(words[name]) for name, key in PLACES.items() if name in words} for words in fallbacks]
    return BatchOptions(
        request=request,
        container=container_of(request),
        most_attempts=options[MAX_SUBMIT_JOB_ATTEMPTS],
        fallbacks=tuple(filter(None, changes)),
        **connected(options),
    )


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """SUBMIT_JOB_KWARGS in SubmitJob's spelling, checked. Raises ``ValueError``."""
    request = _spelt(given)
    for key, why in UNSERVED.items():
        if key in request:
            raise ValueError(f"{key}: {why}")
    if wrong := mistakes("batch", "SubmitJob", request, partial=True):
        raise ValueError(wrong)
    # The executor sets the command; the provider requires an empty one here.
    if request.get("containerOverrides", {}).pop("command", None):
        raise ValueError("containerOverrides.command must not be set: the executor decides it")
    if "ecsPropertiesOverride" in request:
        if not container_of(request):
            raise ValueError(
                "ecsPropertiesOverride must have taskProperties with one element, whose first container has the 'name' "
                "of the one in which Airflow runs"
            )
        if request.get("containerOverrides"):
            raise ValueError(
                f"{' and '.join(OVERRIDES)} exclude each other: the job definition has one container or several"
            )
        request.pop("containerOverrides", None)
    return request


def _spelt(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments in SubmitJob's spelling, whose keys may be in snake_case or begin with a capital; a copy."""
    request: dict[str, Any] = {}
    for word, value in given.items():
        ((key, spelt),) = camel({word: value}).items()
        key = key[:1].lower() + key[1:]
        # Keys of parameters belong to the job definition.
        request[key] = value if key == "parameters" else spelt
    tags = request.get("tags")
    if isinstance(tags, list) and all(isinstance(one, Mapping) for one in tags):
        # The amazon provider's own example has tags in the format of other services.
        request["tags"] = {str(one.get("Key", one.get("key"))): str(one.get("Value", one.get("value"))) for one in tags}
    return merged({}, request)
