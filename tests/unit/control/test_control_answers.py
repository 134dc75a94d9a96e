"""GetEnvironment returns each input of CreateEnvironment unchanged: Terraform compares them, and would report a
difference forever."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest
from tests.control_scenes import SETTINGS, request

from skylift.control.api.answers import environment
from skylift.control.api.validation import spec_of
from skylift.control.store import LastUpdate, Row
from skylift.core.environment import ECS_EXECUTOR, Generation, Spec, Status

pytestmark = pytest.mark.unit
BORN = datetime(2026, 11, 30, tzinfo=UTC)
WITH_PATH = {f"{what}S3ObjectVersion": {f"{what}S3Path": "x"} for what in ("Plugins", "Requirements", "StartupScript")}
PATHS = ["requirements.txt", "a//b.txt", "./here.txt", "with blank .txt", "ünï.txt", "ends/"]
GIVEN: dict[str, list[Any]] = {
    "Name": ["a", "A-b_9", "x" * 80],
    "ExecutionRoleArn": [
        "arn:aws:iam::000000000000:role/service-role/deep/er",
        "arn:aws-cn:iam::000000000000:role/x",
        "arn:aws:iam::000000000000:role//x",
    ],
    "SourceBucketArn": ["arn:aws:s3:::plain", "arn:aws-cn:s3:::far", "arn:aws-us-gov:s3:::a.b-c"],
    "DagS3Path": ["dags", "dags/", "dags//", "/dags", "/a/b/", "a//b", "Dags", "dags ", " dags", "./dags", "s3/dags"],
    "NetworkConfiguration": [
        {"SubnetIds": ["subnet-9", "subnet-1"], "SecurityGroupIds": ["sg-9", "sg-1", "sg-5"]},
    ],
    "PluginsS3Path": PATHS,
    "RequirementsS3Path": PATHS,
    "StartupScriptS3Path": PATHS,
    "PluginsS3ObjectVersion": ["v1", "null", "a/b+c= "],
    "RequirementsS3ObjectVersion": ["v1", "null", "a/b+c= "],
    "StartupScriptS3ObjectVersion": ["v1", "null", "a/b+c= "],
    "AirflowConfigurationOptions": [
        {},
        {"core.default_timezone": " Europe/Berlin "},
        {"core.load_examples": "TRUE", "b.a": "1", "a.b": "2", "nodot": "x", "core.executor": "CeleryExecutor"},
        {"smtp.smtp_password": "hunter2"},
    ],
    "EnvironmentClass": ["mw1.small", "mw1.medium", "mw1.large", "mw1.xlarge", "mw1.2xlarge", "mw1.micro"],
    "MaxWorkers": [1, 2, 25],
    "MinWorkers": [1, 25],
    "MaxWebservers": [1, 5],
    "MinWebservers": [1, 5],
    "Schedulers": [1, 5],
    "KmsKey": [
        "alias/airflow",
        "arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012",
        "12345678-1234-1234-1234-123456789012",
    ],
    "AirflowVersion": [*SETTINGS.versions],
    "LoggingConfiguration": [
        {"SchedulerLogs": {"Enabled": True, "LogLevel": "CRITICAL"}},
        {"TaskLogs": {"Enabled": False, "LogLevel": "DEBUG"}, "WorkerLogs": {"Enabled": False, "LogLevel": "ERROR"}},
        {"DagProcessingLogs": {"Enabled": True, "LogLevel": "WARNING"}},
        {"WebserverLogs": {"Enabled": True, "LogLevel": "INFO"}},
    ],
    "WeeklyMaintenanceWindowStart": ["MON:00:00", "SAT:23:30"],
    "Tags": [{"team": "blue"}, {"a:b/c": " =+-@ ", "Ünï": "x" * 256}],
    "WebserverAccessMode": ["PRIVATE_ONLY", "PUBLIC_ONLY", "PUBLIC_AND_PRIVATE"],
    "EndpointManagement": ["SERVICE"],
}


def test_the_table_below_has_every_input() -> None:
    model = botocore.session.Session().get_service_model("mwaa").operation_model("CreateEnvironment")
    assert set(GIVEN) == set(model.input_shape.members)


@pytest.mark.parametrize(("member", "value"), [(member, value) for member, values in GIVEN.items() for value in values])
def test_what_was_given_is_shown_as_it_was_given(member: str, value: Any) -> None:
    made = request(**{**WITH_PATH.get(member, {}), member: value})
    shown = shown_after(made)
    if member == "LoggingConfiguration":  # all five are shown, with their log groups' ARNs
        assert {name: value[name] | shown[member][name] for name in value} == {
            name: shown[member][name] for name in value
        }
    else:
        assert shown[member] == value
    for other in made.keys() - {member, "LoggingConfiguration"}:
        assert shown[other] == made[other]


def test_a_row_of_an_older_skylift_is_read() -> None:
    stored = spec_of(request(), SETTINGS).as_json()
    del stored["bucket_arn"]
    assert Spec.from_json({**stored, "bucket": "flight-bucket"}).bucket_arn == "arn:aws:s3:::flight-bucket"


def test_what_an_older_skylift_did_not_store_is_as_it_ran_then() -> None:
    needed = ("name", "airflow_version", "execution_role", "bucket_arn", "dag_path", "subnets", "security_groups")
    stored = spec_of(request(), SETTINGS).as_json()
    least = Spec.from_json({name: stored[name] for name in (*needed, "logging")})
    assert {name: value for name, value in least.as_json().items() if name not in (*needed, "logging")} == {
        "requirements": None,
        "plugins": None,
        "startup_script": None,
        "options": {},
        "environment_class": "mw1.small",
        "min_workers": 1,
        "max_workers": 10,
        "min_webservers": 2,
        "max_webservers": 2,
        "schedulers": 2,
        "webserver_access_mode": "PRIVATE_ONLY",
        "endpoint_management": "SERVICE",
        "maintenance_window": "",
        "kms_key": "",
        "default_executors": (ECS_EXECUTOR,),
    }


def shown_after(made: dict[str, Any]) -> dict[str, Any]:
    """The environment as GetEnvironment shows it after CreateEnvironment, by way of the store's JSON."""
    spec = Spec.from_json(spec_of(made, SETTINGS).as_json())
    last = LastUpdate("PENDING", 0.0, "CreateEnvironment")
    row = Row(spec.name, spec, Generation(1), Status.CREATING, BORN, BORN, last, {}, made.get("Tags", {}))
    return environment(row, SETTINGS)
