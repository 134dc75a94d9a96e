"""Puts a snapshot back, and makes a second environment of one.

While rows are replaced, the environment has no containers, so nobody writes; the rows themselves are replaced in one
transaction. If the command dies on the way, the environment is stopped, with the old rows or the new ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skylift.aws.errors import calling
from skylift.aws.secrets import SecretsManager
from skylift.cli import account, environments
from skylift.cli.connection import Connection
from skylift.cli.environments import STOPPED_OPTION, VERSIONED
from skylift.cli.execution_role import EnvironmentScope, role_name
from skylift.cli.home import ACCOUNT, REGION
from skylift.cli.projects.project import Project
from skylift.cli.runs.project_run import CLUSTER, wait_for_airflow
from skylift.cli.settings_file.apply import POLICY
from skylift.cli.snapshots import store
from skylift.cli.snapshots.running import run_once
from skylift.cli.snapshots.store import Snapshot
from skylift.cli.terminal import Stages
from skylift.control.parts.secrets import keys_name, new_keys, values_name
from skylift.control.settings import VARIABLES, option_name, option_of
from skylift.core.errors import SkyliftError
from skylift.core.names import TASK_EXECUTION_ROLE, arn, s3_url
from skylift.runtime.snapshots.words import PAUSE

MEMBERS = (
    "AirflowConfigurationOptions",
    "EnvironmentClass",
    "LoggingConfiguration",
    "MaxWorkers",
    "MinWorkers",
    "MinWebservers",
    "MaxWebservers",
    "Schedulers",
    "WeeklyMaintenanceWindowStart",
    *(f"{member}S3Path" for member in VERSIONED.values()),
    *(f"{member}S3ObjectVersion" for member in VERSIONED.values()),
)
"""What of an environment is put back."""


def restore(here: Connection, found: dict[str, Any], snapshot: Snapshot, stages: Stages) -> str:
    """Puts a snapshot back; returns what was done.

    Raises:
        Refused, Unavailable: it failed; the environment is started again as it was.
    """
    mwaa, s3, name = here.client("mwaa"), here.client("s3"), found["Name"]
    before, objects = store.read_environment(s3, found, snapshot.id)
    if not environments.is_stopped(found):
        stages.now(f"stopping environment {name}")
        environments.stop(mwaa, found, stages.now, here.progress)
    try:
        url = s3_url(store.bucket_of(found), store.prefix_of(found, snapshot.id))
        told = run_once(here, found, ["restore", url], stages.now)
        stages.done(told)
        put, deleted = store.put_back_objects(s3, found, objects)
        stages.done(f"{put} DAG files put back, {deleted} deleted")
    except SkyliftError:
        stages.now(f"starting {name} as it was")
        environments.update(mwaa, name, {"AirflowConfigurationOptions": _options(found)}, stages.now, here.progress)
        raise
    environments.update(mwaa, name, as_it_was(found, before), stages.now, here.progress)
    wait_for_airflow(here, environments.get(mwaa, name), stages)
    return told


def as_it_was(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The members of UpdateEnvironment that make an environment as a snapshot has it. Pure."""
    members = {member: before[member] for member in MEMBERS if before.get(member) is not None}
    for member in VERSIONED.values():
        if not before.get(f"{member}S3Path") and now.get(f"{member}S3Path"):
            members[f"{member}S3Path"] = ""
    logging = members.get("LoggingConfiguration")
    if logging:
        members["LoggingConfiguration"] = {
            module: {"Enabled": one["Enabled"], "LogLevel": one["LogLevel"]} for module, one in logging.items()
        }
    members["AirflowConfigurationOptions"] = _options(before)
    return members


def clone(here: Connection, found: dict[str, Any], snapshot: Snapshot, new: Project, own: bool, stages: Stages) -> None:
    """Makes a second environment with the rows of a snapshot, its DAGs paused.

    Args:
        new: its name, and its folder if ``own``.
        own: whether the files of the folder are in its bucket already; else those of the snapshot are copied.

    Raises:
        Refused, Unavailable: it failed; what there is of the new environment stays, and can be deleted.
    """
    mwaa, s3 = here.client("mwaa"), here.client("s3")
    before, objects = store.read_environment(s3, found, snapshot.id)
    request = _creation(here, before, objects, new, own, stages)
    stages.now(f"creating environment {new.name}")
    with calling(f"mwaa CreateEnvironment {new.name}"):
        mwaa.create_environment(**request)
    made = environments.wait_available(mwaa, new.name, stages.now, here.progress, here.looked_at)
    url = s3_url(store.bucket_of(found), store.prefix_of(found, snapshot.id))
    stages.done(run_once(here, made, ["restore", url, PAUSE], stages.now))
    environments.update(mwaa, new.name, {"AirflowConfigurationOptions": _options(made)}, stages.now, here.progress)
    wait_for_airflow(here, environments.get(mwaa, new.name), stages)


def _creation(
    here: Connection, before: Mapping[str, Any], objects: Mapping[str, str], new: Project, own: bool, stages: Stages
) -> dict[str, Any]:
    s3, source = here.client("s3"), store.bucket_of(dict(before))
    account.ensure_bucket(s3, new.bucket)
    scope = EnvironmentScope(new.name, new.bucket, f"skylift-{ACCOUNT}-{REGION}", CLUSTER, ACCOUNT, REGION)
    role = account.ensure_role(here.client("iam"), scope)
    _may_read(here.client("iam"), role_name(new.name), source, str(before["Name"]))
    request = as_it_was({}, before)
    pinned = {f"{member}S3Path": f"{member}S3ObjectVersion" for member in VERSIONED.values()}
    if own:
        request = {key: value for key, value in request.items() if key not in {*pinned, *pinned.values()}}
        there = store.versions(s3, new.bucket, "")
        for file, member in VERSIONED.items():
            if file in there:
                request |= {f"{member}S3Path": file, f"{member}S3ObjectVersion": there[file]}
    else:
        wanted = dict(objects)
        wanted |= {request[path]: request.pop(version, "") for path, version in pinned.items() if request.get(path)}
        for number, (key, version) in enumerate(wanted.items(), 1):
            stages.now(f"copying file {number} of {len(wanted)}")
            with calling(f"s3 CopyObject {source}/{key}"):
                s3.copy_object(
                    Bucket=new.bucket,
                    Key=key,
                    CopySource={"Bucket": source, "Key": key, **({"VersionId": version} if version else {})},
                )
    options = {**_options(before), **_copied_values(str(before["Name"]), new.name, _options(before))}
    # Its rows come before its containers.
    options[STOPPED_OPTION] = "True"
    _copy_keys(str(before["Name"]), new.name)
    return {
        **request,
        "Name": new.name,
        "ExecutionRoleArn": role,
        "SourceBucketArn": arn("s3", REGION, "", new.bucket),
        "DagS3Path": before["DagS3Path"],
        "NetworkConfiguration": before["NetworkConfiguration"],
        "WebserverAccessMode": before.get("WebserverAccessMode", "PUBLIC_ONLY"),
        "AirflowVersion": before["AirflowVersion"],
        "AirflowConfigurationOptions": options,
    }


def _copy_keys(old: str, new: str) -> None:
    """The same Fernet key: what the rows have encrypted must be readable. Other keys are new."""
    manager = SecretsManager(REGION)
    found = manager.read(keys_name(old))
    if found is not None:
        manager.write(keys_name(new), {**new_keys(), "fernet_key": found.value["fernet_key"]})


def _copied_values(old: str, new: str, options: Mapping[str, str]) -> dict[str, str]:
    """The option with the references of all variables, with a secret of the new environment's own."""
    sources = option_of(VARIABLES, options)
    mine = {name: source for name, source in sources.items() if f":secret:{values_name(old)}-" in source}
    if not mine:
        return {}
    manager = SecretsManager(REGION)
    version = next(iter(mine.values())).rpartition(":")[2]
    found = manager.read(values_name(old), version)
    if found is None:
        return {}
    manager.write(values_name(new), found.value)
    made = manager.read(values_name(new))
    assert made is not None
    copied = {name: f"{made.arn}:{name}::{made.version}" for name in mine}
    return {option_name(VARIABLES): json.dumps({**sources, **copied}, sort_keys=True)}


def _may_read(iam: Any, role: str, bucket: str, old: str) -> None:
    """The new environment's role may read the snapshot, and may do what the old one's project allows it."""
    snapshots = arn("s3", REGION, "", f"{bucket}/{store.FOLDER}/{old}/*")
    statements: list[Any] = [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [snapshots]}]
    pairs = ((role_name(old), POLICY, role), (TASK_EXECUTION_ROLE, f"{POLICY}-{old}", TASK_EXECUTION_ROLE))
    for source, name, target in pairs:
        found: dict[str, Any] = {}
        if not account.exists(
            lambda source=source, name=name, found=found: found.update(  # type: ignore[misc]
                iam.get_role_policy(RoleName=source, PolicyName=name)
            ),
            f"iam GetRolePolicy {source}",
        ):
            continue
        if target == role:
            statements += found["PolicyDocument"]["Statement"]
            continue
        with calling(f"iam PutRolePolicy {target}"):
            new = role.removeprefix("skylift-")
            document = json.dumps(found["PolicyDocument"])
            iam.put_role_policy(RoleName=target, PolicyName=f"{POLICY}-{new}", PolicyDocument=document)
    with calling(f"iam PutRolePolicy {role}"):
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=role, PolicyName=POLICY, PolicyDocument=document)


def _options(environment: Mapping[str, Any]) -> dict[str, str]:
    options = dict(environment.get("AirflowConfigurationOptions") or {})
    options.pop(STOPPED_OPTION, None)
    return options
