"""CreateEnvironment's rules beyond the model, as one pure function from a request to a Spec.

The wire checks types, lengths, patterns and enums (from botocore's model). Here are the rules that MWAA's documentation
adds, and its defaults (API_CreateEnvironment). What needs other services (bucket, role) is not checked during the
request. It ends as CREATE_FAILED with a reason, because Terraform repeats a ValidationException for two minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skylift.control.settings import ENVIRONMENT_OPTIONS, ControlSettings, option_name
from skylift.core.environment import LogModule, S3Object, Spec
from skylift.core.names import LOG_MODULES

WORKER_QUOTA = 25
"""MWAA's default quota of workers of one environment."""


LEAST_WORKERS = "skylift.min_workers"
"""The Airflow option that goes before MinWorkers, whose least in the API is 1."""


@dataclass(frozen=True)
class EnvironmentClass:
    """Size of an environment: Fargate's cpu units and MiB of memory per component, and Airflow tasks per worker."""

    scheduler_cpu: int
    scheduler_memory: int
    web_cpu: int
    web_memory: int
    tasks_per_worker: int


CLASSES = {
    "mw1.micro": EnvironmentClass(1024, 3072, 1024, 3072, 3),
    "mw1.small": EnvironmentClass(1024, 2048, 1024, 2048, 5),
    "mw1.medium": EnvironmentClass(2048, 4096, 1024, 2048, 10),
    "mw1.large": EnvironmentClass(4096, 8192, 2048, 4096, 20),
    # Fargate gives 4 vCPU at most 30 GiB and 8 vCPU from 16 GiB; MWAA's own 8/24 and 4/12 are lawful.
    "mw1.xlarge": EnvironmentClass(8192, 24576, 4096, 12288, 40),
    "mw1.2xlarge": EnvironmentClass(16384, 49152, 8192, 24576, 80),
}


class Invalid(ValueError):
    """The request breaks a rule; the text names the member and the rule."""


def spec_of(request: Mapping[str, Any], settings: ControlSettings) -> Spec:
    """The Spec that a CreateEnvironment request asks for, defaults filled in.

    Raises:
        Invalid: a rule is broken.
    """
    size = _environment_class(request)
    counts = _counts(request, settings, micro=size == "mw1.micro")
    options = dict(request.get("AirflowConfigurationOptions", {}))
    _check_least_workers(options, counts["max_workers"])
    network = request["NetworkConfiguration"]
    return Spec(
        name=request["Name"],
        airflow_version=_version(request, settings),
        execution_role=request["ExecutionRoleArn"],
        bucket_arn=request["SourceBucketArn"],
        dag_path=_dag_path(request["DagS3Path"]),
        subnets=_exactly_two_subnets(network),
        security_groups=_security_groups(network),
        logging=_logging(request.get("LoggingConfiguration", {})),
        requirements=_object(request, "Requirements"),
        plugins=_object(request, "Plugins"),
        startup_script=_object(request, "StartupScript"),
        options=_options(options),
        environment_class=size,
        webserver_access_mode=request.get("WebserverAccessMode", "PRIVATE_ONLY"),
        endpoint_management=_endpoint_management(request),
        maintenance_window=request.get("WeeklyMaintenanceWindowStart", "SUN:02:00"),
        kms_key=request.get("KmsKey", ""),
        default_executors=settings.default_executors,
        **counts,
    )


def _version(request: Mapping[str, Any], settings: ControlSettings) -> str:
    version = str(request.get("AirflowVersion", settings.versions[-1]))
    if version not in settings.versions:
        raise Invalid(f"Unsupported Airflow version: {version}. Supported versions: {', '.join(settings.versions)}")
    return version


def _environment_class(request: Mapping[str, Any]) -> str:
    name = str(request.get("EnvironmentClass", "mw1.small"))
    if name not in CLASSES:
        raise Invalid(f"Unsupported environment class: {name}. Supported classes: {', '.join(CLASSES)}")
    return name


def _counts(request: Mapping[str, Any], settings: ControlSettings, micro: bool) -> dict[str, int]:
    most = int(request.get("MaxWorkers", 1 if micro else max(10, int(request.get("MinWorkers", 1)))))
    counts = {
        "max_workers": most,
        "min_workers": int(request.get("MinWorkers", 1)),
        "min_webservers": int(request.get("MinWebservers", 1 if micro else _webservers(request, settings, min))),
        "max_webservers": int(request.get("MaxWebservers", 1 if micro else _webservers(request, settings, max))),
        "schedulers": int(request.get("Schedulers", 1 if micro else settings.default_schedulers)),
    }
    if counts["min_workers"] > counts["max_workers"]:
        raise Invalid(f"MinWorkers ({counts['min_workers']}) must not exceed MaxWorkers ({counts['max_workers']})")
    if counts["min_webservers"] > counts["max_webservers"]:
        raise Invalid(
            f"MinWebservers ({counts['min_webservers']}) must not exceed MaxWebservers ({counts['max_webservers']})"
        )
    if counts["max_workers"] > WORKER_QUOTA:
        raise Invalid(f"MaxWorkers must be at most {WORKER_QUOTA}, is {counts['max_workers']}")
    if counts["max_webservers"] > 5:
        raise Invalid(f"MaxWebservers must be at most 5, is {counts['max_webservers']}")
    if not 1 <= counts["schedulers"] <= 5:
        raise Invalid(f"Schedulers must be from 1 to 5, is {counts['schedulers']}")
    if micro and any(value != 1 for value in counts.values()):
        raise Invalid("mw1.micro has exactly one worker, one scheduler and one web server")
    return counts


def _check_least_workers(options: Mapping[str, str], most: int) -> None:
    text = options.get(LEAST_WORKERS, "0")
    if not (text.isdecimal() and int(text) <= most):
        raise Invalid(f"The option {LEAST_WORKERS} must be a number from 0 to MaxWorkers ({most}), is {text!r}")


def _webservers(request: Mapping[str, Any], settings: ControlSettings, pick: Any) -> int:
    # A missing bound must not contradict the given one.
    given = [int(request[name]) for name in ("MinWebservers", "MaxWebservers") if name in request]
    return int(pick([settings.default_webservers, *given]))


def _dag_path(text: str) -> str:
    if not text.strip(" /"):
        raise Invalid("DagS3Path must name a folder of the bucket, for example dags")
    if text.startswith("s3://") or ".." in text.split("/"):
        raise Invalid(f"DagS3Path must be relative to the bucket, for example dags; is {text}")
    return text


def _exactly_two_subnets(network: Mapping[str, Any]) -> tuple[str, ...]:
    subnets = tuple(network.get("SubnetIds", ()))
    if len(subnets) != 2:
        raise Invalid(f"NetworkConfiguration.SubnetIds must hold exactly two subnets, holds {len(subnets)}")
    return subnets


def _security_groups(network: Mapping[str, Any]) -> tuple[str, ...]:
    groups = tuple(network.get("SecurityGroupIds", ()))
    if not 1 <= len(groups) <= 5:
        raise Invalid(f"NetworkConfiguration.SecurityGroupIds must hold one to five groups, holds {len(groups)}")
    return groups


def _logging(given: Mapping[str, Any]) -> dict[str, LogModule]:
    # MWAA's defaults: task logs on, the other four off, all at INFO.
    modules = {name: LogModule(name == "TaskLogs", "INFO") for name in LOG_MODULES}
    for name, value in given.items():
        if name in modules:
            modules[name] = LogModule(bool(value["Enabled"]), str(value["LogLevel"]))
    return modules


def _object(request: Mapping[str, Any], what: str) -> S3Object | None:
    key = str(request.get(f"{what}S3Path", ""))
    version = str(request.get(f"{what}S3ObjectVersion", ""))
    if not key:
        if version:
            raise Invalid(f"{what}S3ObjectVersion is given without {what}S3Path")
        return None
    if key.startswith(("/", "s3://")):
        raise Invalid(f"{what}S3Path must be relative to the bucket, is {key}")
    return S3Object(key, version)


def _options(given: Mapping[str, str]) -> dict[str, str]:
    for setting in ENVIRONMENT_OPTIONS:
        name = option_name(setting)
        try:
            if given.get(name):
                setting.parse(given[name])
        except ValueError as error:
            raise Invalid(f"AirflowConfigurationOptions: {name} cannot be {given[name]}: {error}") from error
    return dict(given)


def _endpoint_management(request: Mapping[str, Any]) -> str:
    value = str(request.get("EndpointManagement", "SERVICE"))
    if value != "SERVICE":
        raise Invalid("EndpointManagement CUSTOMER is not supported by skylift; leave it out or use SERVICE")
    return value
