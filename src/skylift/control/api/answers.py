"""An environment in the format of MWAA's GetEnvironment. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from skylift.control.blueprint import has_workers
from skylift.control.part_context import broker_queue, environment_arn
from skylift.control.settings import ControlSettings
from skylift.control.store import LastUpdate, Row
from skylift.core.environment import S3Object, Spec
from skylift.core.names import arn, log_group


def environment(row: Row, settings: ControlSettings) -> dict[str, Any]:
    """The member ``Environment`` of GetEnvironment's answer."""
    spec = row.spec
    shown = {
        "Name": row.name,
        "Status": str(row.status),
        "Arn": environment_arn(row.name, settings),
        "CreatedAt": row.created_at,
        # A host without scheme, as MWAA really answers (its model's pattern says otherwise).
        "WebserverUrl": row.facts.get("web.address") or None,
        # Absent where no Airflow task can run on Celery workers.
        "CeleryExecutorQueue": _queue(spec, settings) if has_workers(spec) else None,
        "ExecutionRoleArn": spec.execution_role,
        "ServiceRoleArn": _service_role(settings),
        "KmsKey": spec.kms_key or None,
        "AirflowVersion": spec.airflow_version,
        "SourceBucketArn": spec.bucket_arn,
        "DagS3Path": spec.dag_path,
        **_object(row, "Requirements", "requirements", spec.requirements),
        **_object(row, "Plugins", "plugins", spec.plugins),
        **_object(row, "StartupScript", "startup_script", spec.startup_script),
        "AirflowConfigurationOptions": dict(spec.options),
        "EnvironmentClass": spec.environment_class,
        "MinWorkers": spec.min_workers,
        "MaxWorkers": spec.max_workers,
        "MinWebservers": spec.min_webservers,
        "MaxWebservers": spec.max_webservers,
        "Schedulers": spec.schedulers,
        "NetworkConfiguration": {
            "SubnetIds": list(spec.subnets),
            "SecurityGroupIds": list(spec.security_groups),
        },
        "LoggingConfiguration": _logging(spec, settings),
        "LastUpdate": _last_update(row.last_update),
        "WeeklyMaintenanceWindowStart": spec.maintenance_window,
        "WebserverAccessMode": spec.webserver_access_mode,
        "EndpointManagement": spec.endpoint_management,
        "Tags": dict(row.tags),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _queue(spec: Spec, settings: ControlSettings) -> str:
    return arn("sqs", settings.region, settings.account, broker_queue(spec.name))


def _service_role(settings: ControlSettings) -> str:
    path = "role/aws-service-role/airflow.amazonaws.com/AWSServiceRoleForAmazonMWAA"
    return arn("iam", settings.region, settings.account, path)


def _object(row: Row, member: str, fact: str, one: S3Object | None) -> dict[str, str]:
    if one is None:
        return {}
    version = one.version or row.facts.get(f"source.{fact}.version", "")
    return {f"{member}S3Path": one.key} | ({f"{member}S3ObjectVersion": version} if version else {})


def _logging(spec: Spec, settings: ControlSettings) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, module in spec.logging.items():
        shown[name] = {"Enabled": module.enabled, "LogLevel": module.level}
        if module.enabled:
            group = "log-group:" + log_group(spec.name, name)
            shown[name]["CloudWatchLogGroupArn"] = arn("logs", settings.region, settings.account, group)
    return shown


def _last_update(last: LastUpdate) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Status": last.status,
        "CreatedAt": datetime.fromtimestamp(last.at, UTC),
        "Source": last.source,
    }
    if last.replacement:
        shown["WorkerReplacementStrategy"] = last.replacement
    if last.code:
        shown["Error"] = {"ErrorCode": last.code, "ErrorMessage": last.message}
    return shown
