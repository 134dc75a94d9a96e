"""CreateEnvironment's rules beyond the model: defaults as MWAA fills them in, and refusals that name member and
rule."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control_scenes import SETTINGS, request, spec

from skylift.control.api.validation import Invalid, spec_of
from skylift.control.settings import CONTROL_SETTINGS, ControlSettings
from skylift.core.environment import S3Object, Spec

pytestmark = pytest.mark.unit


def test_defaults() -> None:
    found = spec()
    assert found.airflow_version == "3.3.2"
    assert (found.environment_class, found.min_workers, found.max_workers) == ("mw1.small", 1, 10)
    assert (found.schedulers, found.min_webservers, found.max_webservers) == (1, 1, 1)
    assert found.webserver_access_mode == "PRIVATE_ONLY"
    assert {name for name, module in found.logging.items() if module.enabled} == {"TaskLogs"}
    assert {module.level for module in found.logging.values()} == {"INFO"}


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
