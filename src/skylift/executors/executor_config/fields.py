"""The fields of ``Container`` and ``BatchContainer``: each is checked and translated to AWS's words. Pure; DAG files
import it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from skylift.core.errors import Refused
from skylift.executors.executor_config.sizes import BATCH_FARGATE, MIB_PER_GIB, UNITS_PER_VCPU, check_fargate, mib

NAME = re.compile(r"arn:[^\s]+|[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
DEFINITION = re.compile(r"arn:[^\s]+|[A-Za-z0-9][A-Za-z0-9_-]{0,254}(:[0-9]+)?")
_TAG = re.compile(r"[\w +\-=.:/@]*")

MOST_TAGS = 50
"""Of one ECS task or Batch job (botocore's models)."""

LEAST_STORAGE, MOST_STORAGE = 21, 200
"""GiB of ephemeral storage on Fargate (botocore model ``ecs``, EphemeralStorage.sizeInGiB)."""


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are set. Zero is a value."""
    return {key: value for key, value in fields.items() if value is not None and value not in ("", [], {})}


def place_of(spot: bool | None, launch_type: str | None, provider: str | Mapping[str, int] | None) -> dict[str, Any]:
    named = {"spot": spot, "launch_type": launch_type, "capacity_provider": provider}
    if len(said := [name for name, value in named.items() if value is not None]) > 1:
        raise Refused(f"Container: {' and '.join(said)} exclude each other: each says where to run")
    if launch_type not in (None, "FARGATE", "EC2", "EXTERNAL", "MANAGED_INSTANCES"):
        raise Refused(
            f"Container: launch_type={launch_type!r}: allowed are FARGATE, EC2, EXTERNAL and MANAGED_INSTANCES"
        )
    if spot is not None:
        provider, launch_type = ("FARGATE_SPOT", None) if spot else (None, "FARGATE")
    weights = {provider: 1} if isinstance(provider, str) else dict(provider or {})
    for name, weight in weights.items():
        match("Container", "capacity_provider", name, NAME)
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= 1000:
            raise Refused(
                f"Container: capacity_provider={{{name!r}: {weight!r}}}: a weight is a whole number from 0 to 1000"
            )
    strategy = [{"capacityProvider": name, "weight": weight} for name, weight in weights.items()]
    return {"launchType": launch_type, "capacityProviderStrategy": strategy}


def check_place(
    place: Mapping[str, Any], gpu: int | None, units: int | None, size: int | None, own: int | None
) -> None:
    providers = [one["capacityProvider"] for one in place["capacityProviderStrategy"]]
    fargate = place["launchType"] == "FARGATE" or any(name.startswith("FARGATE") for name in providers)
    if gpu is not None and fargate:
        raise Refused(f"Container: gpu={gpu!r}: Fargate has no GPUs: use a capacity_provider or launch_type with EC2")
    if own is not None and size is not None and own > size:
        raise Refused(f"Container: container_memory={own}MiB is more than memory={size}MiB, all that the ECS task has")
    if fargate or (gpu is None and not place["launchType"] and not providers):
        # The default is Fargate, as everywhere here; EC2 accepts any size, if it is named.
        try:
            check_fargate("Container", units, size)
        except Refused as error:
            advice = "" if fargate else ' (on EC2 any size goes: say launch_type="EC2" or a capacity_provider)'
            raise Refused(f"{error}{advice}") from error


def vcpus_of(vcpus: float | None, size: int | None, gpu: int | None) -> str | None:
    if vcpus is None:
        return None
    if isinstance(vcpus, bool) or not isinstance(vcpus, int | float) or vcpus <= 0:
        raise Refused(f"BatchContainer: vcpus={vcpus!r}: expected a number, e.g. 0.5 or 2")
    if vcpus != int(vcpus):
        # Only Fargate has fractions of one.
        if gpu is not None:
            raise Refused(f"BatchContainer: vcpus={vcpus!r}: where there are GPUs, vCPUs are whole")
        units = round(vcpus * UNITS_PER_VCPU)
        check_fargate("BatchContainer", units, size, field="vcpus", table=BATCH_FARGATE)
    return f"{vcpus:g}"


def storage(size: str | None) -> dict[str, int] | None:
    if size is None:
        return None
    gib, rest = divmod(mib("Container", "ephemeral_storage", size), MIB_PER_GIB)
    if rest or not LEAST_STORAGE <= gib <= MOST_STORAGE:
        raise Refused(
            f'Container: ephemeral_storage={size!r}: Fargate has "{LEAST_STORAGE}GiB" to "{MOST_STORAGE}GiB", whole GiB'
        )
    return {"sizeInGiB": gib}


def environment_of(where: str, variables: Mapping[str, str] | None) -> list[dict[str, str]]:
    for name, value in (variables or {}).items():
        if not isinstance(name, str) or not name or "=" in name:
            raise Refused(f"{where}: environment: {name!r} is no name of a variable")
        if not isinstance(value, str):
            raise Refused(f"{where}: environment: {name}: expected text, is {type(value).__name__}")
    return [{"name": name, "value": value} for name, value in (variables or {}).items()]


def tags_of(where: str, tags: Mapping[str, str] | None) -> dict[str, str]:
    for key, value in (tags or {}).items():
        if not isinstance(key, str) or not 1 <= len(key) <= 128 or key.lower().startswith("aws:"):
            raise Refused(f"{where}: tags: the key {key!r} must have 1 to 128 characters and not begin with aws:")
        if not isinstance(value, str) or len(value) > 256 or not _TAG.fullmatch(key + value):
            raise Refused(
                f"{where}: tags: {key}={value!r}: letters, digits, blanks and + - = . _ : / @, at most 256 of them"
            )
    if len(tags or {}) > MOST_TAGS:
        raise Refused(f"{where}: tags: AWS takes at most {MOST_TAGS}")
    return dict(tags or {})


def match(where: str, field: str, value: str | None, pattern: re.Pattern[str]) -> str | None:
    if value is not None and (not isinstance(value, str) or not pattern.fullmatch(value)):
        revision = ", name:revision" if pattern is DEFINITION else ""
        raise Refused(f"{where}: {field}={value!r}: expected a name (letters, digits, - and _){revision} or an ARN")
    return value


def one_override(name: str | None, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entry for Airflow's container; none if nothing is overridden."""
    said = given(fields)
    return [{**({"name": name} if name else {}), **said}] if said else []


def network(subnets: Sequence[str] | None, groups: Sequence[str] | None, public: bool | None) -> dict[str, Any]:
    """RunTask's ``networkConfiguration``."""
    said = given(
        {
            "subnets": _ids("subnets", subnets, "subnet-"),
            "securityGroups": _ids("security_groups", groups, "sg-"),
            "assignPublicIp": None if public is None else "ENABLED" if public else "DISABLED",
        }
    )
    return {"awsvpcConfiguration": said} if said else {}


def _ids(field: str, names: Sequence[str] | None, beginning: str) -> list[str]:
    if isinstance(names, str):
        raise Refused(f"Container: {field}={names!r}: expected a list, e.g. [{names!r}]")
    for name in names or ():
        if not isinstance(name, str) or not name.startswith(beginning):
            raise Refused(f"Container: {field}: {name!r} does not begin with {beginning}")
    return list(names or ())


def between(field: str, value: int | None, least: int, most: int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise Refused(f"BatchContainer: {field}={value!r}: expected a whole number {bounds}")
    return value
