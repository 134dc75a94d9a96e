"""RunTask's arguments: the options, a fallback if capacity is lacking, ``executor_config`` merged over them, then
ours. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from skylift.aws.shapes import mistakes
from skylift.core.attempt import Attempt
from skylift.core.errors import Refused
from skylift.core.names import tag_value
from skylift.executors.in_container.payload import Payload
from skylift.executors.options.ecs import PLACES, RUN_TASK_KWARGS, EcsOptions, lay, settled
from skylift.executors.options.settings import OWN_SECTION

MOST_OVERRIDE_CHARACTERS = 8192
"""Of RunTask's ``overrides`` as JSON (botocore model ``ecs/2014-11-13``, RunTask.overrides)."""

MOST_TAGS = 50
"""Tags of one ECS resource (botocore model, Tag)."""


def run_task_request(options: EcsOptions, attempt: Attempt, payload: Payload, *, tags: bool) -> dict[str, Any]:
    """RunTask's arguments. ``executor_config`` is merged over the options: dicts recursively, any other value replaces.

    Args:
        options: those of the attempt's queue.

    Raises:
        Refused: ``executor_config`` cannot be used, or the overrides are too long for ECS.
    """
    return loaded(wanted(options, attempt), options, attempt, payload, tags=tags)


def wanted(options: EcsOptions, attempt: Attempt) -> dict[str, Any]:
    """Where and how the container is to run, without what it runs. Raises ``Refused``, as above."""
    check_executor_config(attempt.executor_config, options.container)
    request = lay({**_cluster(options), **options.request}, attempt.executor_config)
    # A fallback overrides what the author asked for.
    request = settled(lay(request, options.fallback(attempt.shortages) or {}))
    if wrong := mistakes("ecs", "RunTask", request):
        raise Refused(f"{_guilty(options, attempt.executor_config)}: {wrong}")
    return request


def loaded(
    request: dict[str, Any], options: EcsOptions, attempt: Attempt, payload: Payload, *, tags: bool
) -> dict[str, Any]:
    """Puts the workload and our marks into the request, in place. Raises ``Refused``: too long."""
    override = _override_of(request, options.container)
    given = override.get("environment") or []
    override["environment"] = [
        *(pair for pair in given if pair.get("name") not in payload.environment),
        *({"name": name, "value": value} for name, value in payload.environment.items()),
    ]

    def fits(command: tuple[str, ...]) -> bool:
        override["command"] = list(command)
        return overrides_length(request["overrides"]) <= MOST_OVERRIDE_CHARACTERS

    override["command"] = list(payload.fitting(fits))
    _check_length(request)
    if tags:
        request["tags"] = _tags(request.get("tags") or [], attempt.labels)
    # Always ours: by these a restart finds its containers again, and never starts a second one.
    return {**request, "startedBy": attempt.external_id, "clientToken": attempt.token}


def check_executor_config(executor_config: Mapping[str, Any], container: str) -> None:
    """Refuses an ``executor_config`` that is not one, or that would replace Airflow's command. Says what to change."""
    if not isinstance(executor_config, Mapping):
        raise Refused(
            f"executor_config must be a dict with arguments of ECS RunTask, not {type(executor_config).__name__}"
        )
    for word in ("command", "name"):
        if word in executor_config:
            raise Refused(f"executor_config must not set {word!r}: the executor decides what runs in the container")
    # Before anything looks inside.
    if wrong := mistakes("ecs", "RunTask", executor_config, partial=True):
        raise Refused(f"executor_config: {wrong}{_spot(executor_config)}")
    if executor_config.get("count", 1) != 1:
        raise Refused("executor_config must not set 'count': each Airflow task is one ECS task")
    if all(executor_config.get(place) for place in PLACES):
        raise Refused(f"executor_config: {' and '.join(PLACES)} exclude each other: each says where to run")
    names = []
    for one in executor_config.get("overrides", {}).get("containerOverrides", ()):
        # An entry without a name means Airflow's container: a DAG author does not know its name.
        names.append(one.get("name", container))
        if names[-1] == container and one.get("command"):
            raise Refused(f"executor_config must not set 'command' of container {container!r}: it runs Airflow")
    if twice := {name for name in names if names.count(name) > 1}:
        raise Refused(
            f"executor_config: overrides.containerOverrides has two entries for {', '.join(sorted(twice))} (an entry "
            "without a "
            f"name is that of {container!r})"
        )


def check_options(options: EcsOptions) -> None:
    """Refuses options from which no RunTask could be made, with one line that names the option. For the start."""
    base = {**_cluster(options), **options.request}
    if wrong := mistakes("ecs", "RunTask", settled(lay(base, {}))):
        raise Refused(f"{_guilty(options, {})}: {wrong}")
    for change in options.fallbacks:
        if wrong := mistakes("ecs", "RunTask", settled(lay(base, change))):
            raise Refused(f"[{OWN_SECTION}] capacity_fallback: {wrong}")
    for other in options.queues.values():
        check_options(other)


def _cluster(options: EcsOptions) -> dict[str, str]:
    return {"cluster": options.cluster} if options.cluster else {}


def _guilty(options: EcsOptions, executor_config: Mapping[str, Any]) -> str:
    """Whose words are wrong: the options were checked at start, so it is the ``executor_config`` if there is one."""
    return "executor_config" if executor_config else options.source(RUN_TASK_KWARGS.name)


def _spot(executor_config: Mapping[str, Any]) -> str:
    if "SPOT" not in str(executor_config.get("launchType")).upper():
        return ""
    strategy = '[{"capacityProvider": "FARGATE_SPOT", "weight": 1}]'
    return f'. Spot is a capacity provider: {{"capacityProviderStrategy": {strategy}}}'


def _override_of(request: dict[str, Any], container: str) -> dict[str, Any]:
    overrides: list[dict[str, Any]] = request.setdefault("overrides", {}).setdefault("containerOverrides", [])
    for one in overrides:
        if one.setdefault("name", container) == container:
            return one
    overrides.insert(0, {"name": container})
    return overrides[0]


def overrides_length(overrides: Mapping[str, Any]) -> int:
    """Characters as ECS counts them, including the JSON around the values."""
    return len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False))


def _check_length(request: Mapping[str, Any]) -> None:
    length = overrides_length(request["overrides"])
    if length > MOST_OVERRIDE_CHARACTERS:
        raise Refused(
            f"the container's command and overrides have {length} characters, ECS takes {MOST_OVERRIDE_CHARACTERS}: "
            f"set [{OWN_SECTION}] payload_url = s3://bucket/prefix so that the workload goes through S3"
        )


def _tags(given: Sequence[Mapping[str, str]], labels: Mapping[str, str]) -> list[dict[str, str]]:
    taken = {tag.get("key") for tag in given}
    ours = [{"key": key, "value": tag_value(value)} for key, value in labels.items() if key not in taken]
    return [*(dict(tag) for tag in given), *ours[: max(0, MOST_TAGS - len(given))]]
