"""Brings the values of ``skylift.toml`` and ``.env`` to Secrets Manager, and the rest into one request of the MWAA API.

All values of variables, connections and Airflow variables are in one secret of the environment. The environment is told
where each is, by ARN and version, so no value stands in a task definition, in a plan or in GetEnvironment's answer; and
an update that fails goes back to the values that served.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from skylift.aws.errors import calling
from skylift.aws.secrets import Secret, SecretsManager
from skylift.cli.account import exists
from skylift.cli.connection import Connection
from skylift.cli.execution_role import role_name
from skylift.cli.home import ACCOUNT, REGION
from skylift.cli.projects.project import SETTINGS
from skylift.cli.runs.airflow_api import AirflowApi
from skylift.cli.settings_file.difference import ENVIRONMENT, Difference, difference, flat_of
from skylift.cli.settings_file.read import ProjectSettings, Reference
from skylift.control.parts.secrets import values_name
from skylift.control.settings import VARIABLES, option_of
from skylift.core.errors import Refused
from skylift.core.names import TASK_EXECUTION_ROLE, arn

POLICY = "project"
"""Inline policy of the environment's role: the project's own statements, and what it may read by reference."""


def wanted_of(
    here: Connection, name: str, settings: ProjectSettings, found: Mapping[str, Any] | None
) -> dict[str, str]:
    """What the environment should be, by flat names. Stores values that are new.

    Args:
        found: the environment as from GetEnvironment; ``None`` if there is none yet.

    Raises:
        Refused: a secret or parameter that the file names does not exist.
    """
    options: Mapping[str, str] = (found or {}).get("AirflowConfigurationOptions") or {}
    serving = option_of(VARIABLES, options)
    sources = _stored(SecretsManager(REGION), name, settings.values, serving)
    sources |= {variable: _arn_of(here, variable, one) for variable, one in settings.references.items()}
    _allow(here.client("iam"), name, settings, sources)
    wanted = dict(settings.plain)
    if sources:
        wanted[ENVIRONMENT] = json.dumps(sources, sort_keys=True)
    return wanted


def foreseen_of(here: Connection, name: str, settings: ProjectSettings, found: Mapping[str, Any]) -> dict[str, str]:
    """As ``wanted_of``, but stores nothing: new values have a place that does not exist yet."""
    serving = option_of(VARIABLES, found.get("AirflowConfigurationOptions") or {})
    sources = _known(SecretsManager(REGION), name, settings.values, serving)
    if sources is None:
        secret = arn("secretsmanager", REGION, ACCOUNT, f"secret:{values_name(name)}")
        sources = {variable: f"{secret}-000000:{variable}::" for variable in settings.values}
    sources |= {variable: _arn_of(here, variable, one) for variable, one in settings.references.items()}
    wanted = dict(settings.plain)
    return wanted | ({ENVIRONMENT: json.dumps(sources, sort_keys=True)} if sources else {})


def difference_of(
    wanted: Mapping[str, str], last: Mapping[str, str], found: Mapping[str, Any], *, undo: bool = False
) -> Difference:
    """See ``difference``; a project that has never had settings has no drift."""
    if not wanted and not last:
        return Difference({})
    return difference(wanted, last, flat_of(found), undo=undo)


def make_pools(api: AirflowApi, pools: Mapping[str, int]) -> list[str]:
    """Makes pools as wanted, others stay; returns the names of those that it changed."""
    now = api.pools() if pools else {}
    changed = [name for name, slots in pools.items() if now.get(name) != slots]
    for name in changed:
        api.set_pool(name, pools[name], new=name not in now)
    return changed


def _stored(
    store: SecretsManager, environment: str, values: Mapping[str, str], serving: Mapping[str, str]
) -> dict[str, str]:
    """ARN of each value, with the version that has it; a version is made if none has these values."""
    if (known := _known(store, environment, values, serving)) is not None:
        return known
    name, version = values_name(environment), _version(environment, serving)
    if version and store.read(name, version) is not None:
        store.make_current(name, version)  # so it is kept, as the previous one: containers may start with it again
    store.write(name, values)
    found = store.read(name)
    assert found is not None
    return _sources(found, values)


def _known(
    store: SecretsManager, environment: str, values: Mapping[str, str], serving: Mapping[str, str]
) -> dict[str, str] | None:
    """The same, if the version that serves has just these values."""
    if not values:
        return {}
    version = _version(environment, serving)
    found = store.read(values_name(environment), version) if version else None
    return None if found is None or dict(found.value) != dict(values) else _sources(found, values)


def _version(environment: str, serving: Mapping[str, str]) -> str:
    ours = [source for source in serving.values() if f":secret:{values_name(environment)}-" in source]
    return ours[0].rpartition(":")[2] if ours else ""


def _sources(found: Secret, values: Mapping[str, str]) -> dict[str, str]:
    return {variable: f"{found.arn}:{variable}::{found.version}" for variable in values}


def _arn_of(here: Connection, variable: str, one: Reference) -> str:
    found: dict[str, Any] = {}
    if one.service == "ssm":
        client = here.client("ssm")
        if not exists(
            lambda: found.update(client.get_parameter(Name=one.name)["Parameter"]), f"ssm GetParameter {one.name}"
        ):
            raise Refused(f"{SETTINGS}: {variable} is in the SSM parameter {one.name}, which does not exist.")
        return str(found["ARN"])
    manager = here.client("secretsmanager")
    if not exists(lambda: found.update(manager.describe_secret(SecretId=one.name)), f"secretsmanager {one.name}"):
        raise Refused(f"{SETTINGS}: {variable} is in the secret {one.name}, which does not exist.")
    return f"{found['ARN']}:{one.key}::" if one.key else str(found["ARN"])


def _allow(iam: Any, environment: str, settings: ProjectSettings, sources: Mapping[str, str]) -> None:
    """The roles may read what is referred to; the environment's own role may do what the project says."""
    foreign = {variable: sources[variable] for variable in settings.references}
    secrets = sorted({":".join(one.split(":")[:7]) for one in foreign.values() if ":secretsmanager:" in one})
    parameters = sorted({one for one in foreign.values() if ":ssm:" in one})
    reading = [
        {"Effect": "Allow", "Action": [action], "Resource": resources}
        for action, resources in (("secretsmanager:GetSecretValue", secrets), ("ssm:GetParameters", parameters))
        if resources
    ]
    _put_policy(iam, TASK_EXECUTION_ROLE, f"{POLICY}-{environment}", reading)
    if "role" not in settings.plain:
        _put_policy(iam, role_name(environment), POLICY, [*reading, *settings.statements])


def _put_policy(iam: Any, role: str, name: str, statements: Iterable[Mapping[str, Any]]) -> None:
    document = {"Version": "2012-10-17", "Statement": [dict(one) for one in statements]}
    there = exists(lambda: iam.get_role_policy(RoleName=role, PolicyName=name), f"iam GetRolePolicy {role}")
    with calling(f"iam PutRolePolicy {role}"):
        if document["Statement"]:
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))
        elif there:
            iam.delete_role_policy(RoleName=role, PolicyName=name)
