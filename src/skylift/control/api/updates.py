"""UpdateEnvironment's rules beyond the model, as one pure function from the current Spec and a request to a new Spec.

A member that is absent stays as it is; an empty one is cleared (``AirflowConfigurationOptions`` ``{}``,
``RequirementsS3Path`` ``""``). The result must be valid as a whole, so CreateEnvironment's rules check it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skylift.control.api.validation import Invalid, spec_of
from skylift.control.settings import ControlSettings
from skylift.core.environment import S3Object, Spec

OBJECTS = {"Requirements": "requirements", "Plugins": "plugins", "StartupScript": "startup_script"}
"""Members ``{name}S3Path`` and ``{name}S3ObjectVersion``, and the Spec's attribute."""

LOOKED_UP = ("SourceBucketArn", *(f"{name}S3Path" for name in OBJECTS))
"""Members whose object, without a version, is looked up again."""


def updated(spec: Spec, facts: Mapping[str, str], request: Mapping[str, Any], settings: ControlSettings) -> Spec:
    """The Spec that an UpdateEnvironment request asks for.

    Args:
        spec: as it is now.
        facts: what is known of the environment, including the pinned versions of its S3 objects.

    Raises:
        Invalid: a rule is broken, or the member cannot be changed.
    """
    version = str(request.get("AirflowVersion", spec.airflow_version))
    if version != spec.airflow_version:
        raise Invalid(
            f"AirflowVersion cannot be changed by this version of skylift: {spec.name} runs {spec.airflow_version}. "
            f"Create another environment with {version} and move to it"
        )
    given = {name: value for name, value in request.items() if name != "AirflowVersion"}
    merged = _as_request(spec) | given
    merged["NetworkConfiguration"] = _as_request(spec)["NetworkConfiguration"] | given.get("NetworkConfiguration", {})
    merged["LoggingConfiguration"] = _as_request(spec)["LoggingConfiguration"] | given.get("LoggingConfiguration", {})
    now = pinned(spec, facts) if merged["SourceBucketArn"] == spec.bucket_arn else spec
    for what, attribute in OBJECTS.items():
        merged |= _object(what, getattr(now, attribute), given)
    # The request cannot change the Airflow version, so it need not be one that is offered today.
    return replace(
        spec_of(merged, settings),
        airflow_version=spec.airflow_version,
        endpoint_management=spec.endpoint_management,
        default_executors=spec.default_executors,
    )


def pinned(spec: Spec, facts: Mapping[str, str]) -> Spec:
    """The Spec with each S3 object at its current version: what an update does not name must not change."""
    known: dict[str, Any] = {
        attribute: S3Object(one.key, one.version or facts.get(f"source.{attribute}.version", ""))
        for attribute in OBJECTS.values()
        if (one := getattr(spec, attribute)) is not None
    }
    return replace(spec, **known)


def _as_request(spec: Spec) -> dict[str, Any]:
    """The CreateEnvironment request that makes this Spec, without S3 objects and version."""
    return {
        "Name": spec.name,
        "ExecutionRoleArn": spec.execution_role,
        "SourceBucketArn": spec.bucket_arn,
        "DagS3Path": spec.dag_path,
        "NetworkConfiguration": {"SubnetIds": list(spec.subnets), "SecurityGroupIds": list(spec.security_groups)},
        "LoggingConfiguration": {
            name: {"Enabled": module.enabled, "LogLevel": module.level} for name, module in spec.logging.items()
        },
        "AirflowConfigurationOptions": dict(spec.options),
        "EnvironmentClass": spec.environment_class,
        "MinWorkers": spec.min_workers,
        "MaxWorkers": spec.max_workers,
        "MinWebservers": spec.min_webservers,
        "MaxWebservers": spec.max_webservers,
        "Schedulers": spec.schedulers,
        "WebserverAccessMode": spec.webserver_access_mode,
        "WeeklyMaintenanceWindowStart": spec.maintenance_window,
        "KmsKey": spec.kms_key,
    }


def _object(what: str, now: S3Object | None, given: Mapping[str, Any]) -> dict[str, str]:
    """The two members of one S3 object. A path without a version means the bucket's current version, also when the
    path is the same."""
    path, version = f"{what}S3Path", f"{what}S3ObjectVersion"
    if path in given:
        return {path: given[path], version: given.get(version, "") if given[path] else ""}
    if now is None:
        return {path: "", version: given.get(version, "")}
    return {path: now.key, version: given.get(version, now.version)}
