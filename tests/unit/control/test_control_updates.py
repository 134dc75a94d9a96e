"""UpdateEnvironment's rules: what a request changes in a Spec, and what must not change."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control_scenes import SETTINGS, request, spec

from skylift.control.api.updates import pinned, updated
from skylift.control.api.validation import Invalid
from skylift.core.environment import S3Object, Spec

pytestmark = pytest.mark.unit
FULL = spec(
    RequirementsS3Path="requirements.txt",
    PluginsS3Path="plugins.zip",
    PluginsS3ObjectVersion="p1",
    StartupScriptS3Path="startup.sh",
    AirflowConfigurationOptions={"core.parallelism": "9"},
    LoggingConfiguration={"WorkerLogs": {"Enabled": True, "LogLevel": "DEBUG"}},
    KmsKey="alias/mine",
)
FACTS = {"source.requirements.version": "r1", "source.startup_script.version": "s1"}
PINNED = pinned(FULL, FACTS)


def after(**members: Any) -> Spec:
    return updated(FULL, FACTS, {"Name": "flight", **members}, SETTINGS)


def test_an_absent_member_stays_and_what_was_found_stays_pinned() -> None:
    assert after() == PINNED
    assert (PINNED.requirements, PINNED.plugins) == (S3Object("requirements.txt", "r1"), S3Object("plugins.zip", "p1"))


@pytest.mark.parametrize(
    ("member", "value", "attribute", "wanted"),
    [
        ("DagS3Path", "flows/", "dag_path", "flows/"),
        ("ExecutionRoleArn", "arn:aws:iam::000000000000:role/b", "execution_role", "arn:aws:iam::000000000000:role/b"),
        ("EnvironmentClass", "mw1.large", "environment_class", "mw1.large"),
        ("MinWorkers", 2, "min_workers", 2),
        ("MaxWorkers", 20, "max_workers", 20),
        ("MaxWebservers", 3, "max_webservers", 3),
        ("Schedulers", 3, "schedulers", 3),
        ("WeeklyMaintenanceWindowStart", "MON:03:30", "maintenance_window", "MON:03:30"),
        ("WebserverAccessMode", "PUBLIC_ONLY", "webserver_access_mode", "PUBLIC_ONLY"),
        ("NetworkConfiguration", {"SecurityGroupIds": ["sg-9"]}, "security_groups", ("sg-9",)),
        ("AirflowConfigurationOptions", {"core.lazy_load_plugins": "False"}, "options", None),
        ("AirflowConfigurationOptions", {}, "options", {}),
        ("RequirementsS3Path", "", "requirements", None),
        ("PluginsS3Path", "", "plugins", None),
        ("StartupScriptS3Path", "", "startup_script", None),
        ("RequirementsS3ObjectVersion", "r2", "requirements", S3Object("requirements.txt", "r2")),
    ],
)
def test_one_member_changes_and_nothing_else(member: str, value: Any, attribute: str, wanted: Any) -> None:
    found = after(**{member: value})
    assert getattr(found, attribute) == (value if attribute == "options" else wanted)
    others = {name for name in vars(found) if name != attribute}
    assert {name: getattr(found, name) for name in others} == {name: getattr(PINNED, name) for name in others}


def test_a_path_without_a_version_means_the_version_that_is_current_now() -> None:
    assert after(RequirementsS3Path="requirements.txt").requirements == S3Object("requirements.txt", "")
    assert after(RequirementsS3Path="r.txt", RequirementsS3ObjectVersion="7").requirements == S3Object("r.txt", "7")


def test_versions_of_one_bucket_mean_nothing_in_another() -> None:
    moved = after(SourceBucketArn="arn:aws:s3:::other")
    assert (moved.bucket, moved.requirements) == ("other", S3Object("requirements.txt", ""))


def test_log_modules_that_are_not_named_stay() -> None:
    found = after(LoggingConfiguration={"SchedulerLogs": {"Enabled": True, "LogLevel": "ERROR"}}).logging
    assert (found["SchedulerLogs"].level, found["WorkerLogs"].level) == ("ERROR", "DEBUG")
    assert found["TaskLogs"] == FULL.logging["TaskLogs"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"AirflowVersion": "2.10.1"}, "AirflowVersion cannot be changed by this version of skylift"),
        ({"MinWorkers": 11}, r"MinWorkers \(11\) must not exceed MaxWorkers \(10\)"),
        ({"EnvironmentClass": "mw1.huge"}, "Unsupported environment class: mw1.huge"),
        ({"EnvironmentClass": "mw1.micro"}, "mw1.micro has exactly one worker"),
        ({"DagS3Path": "/"}, "DagS3Path must name a folder"),
        ({"RequirementsS3Path": "s3://b/r.txt"}, "RequirementsS3Path must be relative"),
        ({"PluginsS3ObjectVersion": "1"}, "PluginsS3ObjectVersion is given without PluginsS3Path"),
    ],
)
def test_what_is_merged_must_be_lawful_as_a_whole(members: dict[str, Any], words: str) -> None:
    base = spec(MaxWorkers=10, Schedulers=2)
    with pytest.raises(Invalid, match=words):
        updated(base, {}, {"Name": "flight", **members}, SETTINGS)


def test_a_version_that_is_no_longer_offered_is_no_obstacle() -> None:
    old = Spec.from_json({**spec(**request()).as_json(), "airflow_version": "2.9.9"})
    assert updated(old, {}, {"Name": "flight", "AirflowVersion": "2.9.9"}, SETTINGS).airflow_version == "2.9.9"
