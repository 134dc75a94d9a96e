"""CreateEnvironment's rules beyond the model: defaults as MWAA fills them in, and refusals that name member and
rule."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control_scenes import ROLE, SETTINGS, request, spec

from skylift.control.api.validation import Invalid, spec_of
from skylift.control.settings import CONTROL_SETTINGS, ControlSettings
from skylift.core.environment import S3Object, Spec
from skylift.core.names import LOG_MODULES

pytestmark = pytest.mark.unit


def test_defaults() -> None:
    found = spec()
    assert found.airflow_version == "3.3.2"
    assert (found.environment_class, found.min_workers, found.max_workers) == ("mw1.small", 1, 10)
    assert (found.schedulers, found.min_webservers, found.max_webservers) == (1, 1, 1)
    assert found.webserver_access_mode == "PRIVATE_ONLY"
    assert {name for name, module in found.logging.items() if module.enabled} == {"TaskLogs"}
    assert {module.level for module in found.logging.values()} == {"INFO"}


def test_every_member_of_a_request_is_in_the_spec() -> None:
    module = {"Enabled": False, "LogLevel": "ERROR"}
    found = spec(
        AirflowVersion="3.3.2", RequirementsS3Path="r.txt", RequirementsS3ObjectVersion="1", PluginsS3Path="p.zip",
        PluginsS3ObjectVersion="2", StartupScriptS3Path="s.sh", StartupScriptS3ObjectVersion="3",
        AirflowConfigurationOptions={"core.parallelism": "7"}, EnvironmentClass="mw1.large", MinWorkers=2, MaxWorkers=3,
        MinWebservers=3, MaxWebservers=4, Schedulers=5, WebserverAccessMode="PUBLIC_ONLY", KmsKey="key",
        WeeklyMaintenanceWindowStart="MON:03:00", LoggingConfiguration={"TaskLogs": module},
    )  # fmt: skip
    assert found.as_json() == {
        "name": "flight", "airflow_version": "3.3.2", "execution_role": ROLE, "bucket_arn": "arn:aws:s3:::flight-bucket",
        "dag_path": "dags", "subnets": ("subnet-1", "subnet-2"), "security_groups": ("sg-1",),
        "logging": {
            name: {"enabled": False, "level": "ERROR" if name == "TaskLogs" else "INFO"} for name in LOG_MODULES
        },
        "requirements": {"key": "r.txt", "version": "1"}, "plugins": {"key": "p.zip", "version": "2"},
        "startup_script": {"key": "s.sh", "version": "3"}, "options": {"core.parallelism": "7"},
        "environment_class": "mw1.large", "min_workers": 2, "max_workers": 3, "min_webservers": 3, "max_webservers": 4,
        "schedulers": 5, "webserver_access_mode": "PUBLIC_ONLY", "endpoint_management": "SERVICE",
        "maintenance_window": "MON:03:00", "kms_key": "key", "default_executors": SETTINGS.default_executors,
    }  # fmt: skip
    left_out = spec()
    assert (left_out.maintenance_window, left_out.kms_key, left_out.options) == ("SUN:02:00", "", {})
    assert (left_out.requirements, left_out.plugins, left_out.startup_script) == (None, None, None)


def test_what_is_asked_for_is_kept() -> None:
    found = spec(
        RequirementsS3Path="requirements.txt",
        RequirementsS3ObjectVersion="v7",
        Schedulers=2,
        DagS3Path="/a/dags/",
        LoggingConfiguration={"SchedulerLogs": {"Enabled": True, "LogLevel": "DEBUG"}},
    )
    assert found.requirements == S3Object("requirements.txt", "v7")
    assert found.plugins is None
    assert (found.dag_path, found.dag_prefix) == ("/a/dags/", "a/dags")
    assert found.schedulers == 2
    assert found.logging["SchedulerLogs"].level == "DEBUG"
    assert found.logging["TaskLogs"].enabled


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"AirflowVersion": "2.10.3"}, "Unsupported Airflow version: 2.10.3"),
        ({"EnvironmentClass": "mw1.tiny"}, "mw1.tiny"),
        ({"MinWorkers": 5, "MaxWorkers": 2}, "MinWorkers"),
        ({"MaxWorkers": 26}, "at most 25"),
        ({"MinWebservers": 4, "MaxWebservers": 3}, "MinWebservers"),
        ({"MaxWebservers": 6}, "at most 5"),
        ({"Schedulers": 0}, "Schedulers"),
        ({"EnvironmentClass": "mw1.micro", "MaxWorkers": 2}, "mw1.micro"),
        ({"DagS3Path": ""}, "DagS3Path"),
        ({"DagS3Path": "s3://bucket/dags"}, "relative"),
        ({"DagS3Path": "../dags"}, "relative"),
        ({"PluginsS3ObjectVersion": "v1"}, "PluginsS3Path"),
        ({"RequirementsS3Path": "/requirements.txt"}, "relative"),
        ({"EndpointManagement": "CUSTOMER"}, "EndpointManagement"),
        ({"NetworkConfiguration": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, "two subnets"),
        ({"NetworkConfiguration": {"SubnetIds": ["subnet-1", "subnet-2"]}}, "SecurityGroupIds"),
    ],
)
def test_refusals_name_the_member(members: dict[str, Any], word: str) -> None:
    with pytest.raises(Invalid, match=word):
        spec_of(request(**members), SETTINGS)


SUBNETS, GROUPS = ["subnet-1", "subnet-2"], [f"sg-{number}" for number in range(6)]


def network(subnets: list[str], groups: list[str]) -> dict[str, Any]:
    return {"NetworkConfiguration": {"SubnetIds": subnets, "SecurityGroupIds": groups}}


@pytest.mark.parametrize(
    ("fits", "refused", "why"),
    [
        ({"MaxWorkers": 25}, {"MaxWorkers": 26}, "MaxWorkers must be at most 25, is 26"),
        ({"MinWorkers": 3, "MaxWorkers": 3}, {"MinWorkers": 4, "MaxWorkers": 3}, r"MinWorkers \(4\) must not exceed"),
        ({"MaxWebservers": 5}, {"MaxWebservers": 6}, "MaxWebservers must be at most 5, is 6"),
        (
            {"MinWebservers": 2, "MaxWebservers": 2},
            {"MinWebservers": 3, "MaxWebservers": 2},
            r"MinWebservers \(3\) must not exceed MaxWebservers \(2\)",
        ),
        ({"Schedulers": 5}, {"Schedulers": 6}, "Schedulers must be from 1 to 5, is 6"),
        ({"Schedulers": 1}, {"Schedulers": 0}, "Schedulers must be from 1 to 5, is 0"),
        (network(SUBNETS, GROUPS[:1]), network([*SUBNETS, "subnet-3"], GROUPS[:1]), "exactly two subnets, holds 3"),
        (network(SUBNETS, GROUPS[:5]), network(SUBNETS, GROUPS), "one to five groups, holds 6"),
        ({"DagS3Path": "a..b/c"}, {"DagS3Path": "a/../c"}, "relative to the bucket, for example dags; is a/../c"),
        ({"PluginsS3Path": "p"}, {"PluginsS3Path": "s3://b/p"}, "PluginsS3Path must be relative to the bucket, is s3"),
        ({"EndpointManagement": "SERVICE"}, {"EndpointManagement": "CUSTOMER"}, "leave it out or use SERVICE"),
        ({"EnvironmentClass": "mw1.micro"}, {"EnvironmentClass": "mw1.micro", "Schedulers": 2}, "exactly one worker"),
    ],
)
def test_what_just_fits_is_taken(fits: dict[str, Any], refused: dict[str, Any], why: str) -> None:
    assert spec_of(request(**fits), SETTINGS)
    with pytest.raises(Invalid, match=why):
        spec_of(request(**refused), SETTINGS)


def test_a_micro_environment_has_one_of_each() -> None:
    found = spec(EnvironmentClass="mw1.micro")
    counts = (found.min_workers, found.max_workers, found.schedulers, found.min_webservers, found.max_webservers)
    assert counts == (1, 1, 1, 1, 1)


def test_a_bound_that_is_left_out_does_not_contradict_the_other() -> None:
    assert spec(MinWorkers=12).max_workers == 12
    assert spec(MaxWebservers=3).min_webservers == 1
    assert spec(MinWebservers=3).max_webservers == 3


def test_a_spec_survives_the_store() -> None:
    found = spec(PluginsS3Path="plugins.zip", AirflowConfigurationOptions={"core.parallelism": "7"})
    assert Spec.from_json(found.as_json()) == found
    assert Spec.from_json({**found.as_json(), "of_a_newer_skylift": 1}) == found


def test_options_are_not_shown() -> None:
    assert "hunter2" not in repr(spec(AirflowConfigurationOptions={"smtp.smtp_password": "hunter2"}))


def test_settings_are_declared_once() -> None:
    assert {one.name: one.default for one in CONTROL_SETTINGS} == vars(ControlSettings())
    assert ControlSettings.read({}) == ControlSettings()
    assert ControlSettings.read({"SKYLIFT_VERSIONS": "3.3.1, 3.3.2"}).versions == ("3.3.1", "3.3.2")
