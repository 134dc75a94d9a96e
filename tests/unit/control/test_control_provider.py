"""MWAA's operations on rows in memory: their answers, what they write, when they wake the reconciler, what they
refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.control_scenes import EVERYTHING, ROLE, SETTINGS, request, spec

from skylift.control.api.answers import environment
from skylift.control.api.provider import MwaaProvider
from skylift.control.settings import ControlSettings
from skylift.control.store import LastUpdate, Row
from skylift.core.environment import Generation, Spec, Status
from skylift.core.errors import Unavailable
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

pytestmark = pytest.mark.unit
AT = datetime(2026, 11, 20, tzinfo=UTC)
ARN = "arn:aws:airflow:us-east-1:000000000000:environment/"
CALLER = Caller("key", "arn:aws:iam::000000000000:user/anna", "000000000000", "us-east-1")


def row(wanted: Spec | None = None, **fields: Any) -> Row:
    wanted = wanted or spec()
    last = LastUpdate("SUCCESS", AT.timestamp(), "CreateEnvironment")
    return replace(Row(wanted.name, wanted, Generation(1), Status.AVAILABLE, AT, AT, last), **fields)


class Rows:
    """``Store`` in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.away = False
        self.outrun = False
        self.asked: list[tuple[str, int]] = []

    def _serve(self) -> None:
        if self.away:
            raise Unavailable("no database")

    def create(self, wanted: Spec, tags: Mapping[str, str]) -> bool:
        self._serve()
        if wanted.name in self.rows:
            return False
        self.rows[wanted.name] = row(wanted, status=Status.CREATING, tags=dict(tags))
        return True

    def get(self, name: str) -> Row | None:
        self._serve()
        return self.rows.get(name)

    def names(self, after: str, most: int) -> list[str]:
        self._serve()
        self.asked.append((after, most))
        return [name for name in sorted(self.rows) if name > after][:most]

    def request_delete(self, one: Row) -> bool:
        if not self.outrun:
            self.rows[one.name] = replace(one, status=Status.DELETING)
        return not self.outrun

    def tag(self, name: str, added: Mapping[str, str], removed: Sequence[str]) -> None:
        tags = {**self.rows[name].tags, **added}
        self.rows[name] = replace(self.rows[name], tags={k: v for k, v in tags.items() if k not in removed})


class World:
    def __init__(self) -> None:
        self.store, self.rings = Rows(), 0
        self.mwaa = MwaaProvider(self.store, SETTINGS, self.ring, EVERYTHING)  # type: ignore[arg-type]

    def ring(self) -> None:
        self.rings += 1

    def refusal(self, operation: str, **members: Any) -> tuple[str, int]:
        with pytest.raises(AwsError) as caught:
            getattr(self.mwaa, operation)(CALLER, members)
        self.said = str(caught.value.message)
        return caught.value.code, caught.value.status


@pytest.fixture
def world() -> World:
    return World()


def test_a_created_environment_is_one_row_and_one_ring(world: World) -> None:
    made = world.mwaa.create_environment(CALLER, request(Tags={"team": "blue"}))
    assert made == {"Arn": f"{ARN}flight"}
    assert (world.store.rows["flight"].tags, world.rings) == ({"team": "blue"}, 1)
    assert world.refusal("create_environment", **request()) == ("ValidationException", 400)
    assert world.said == "Environment with name flight already exists"
    assert (
        world.refusal("create_environment", **request(Name="other", MinWorkers=9, MaxWorkers=2))[0]
        == "ValidationException"
    )
    assert ({*world.store.rows}, world.rings) == ({"flight"}, 1), "a refused request wakes nobody"


def test_names_come_in_pages_without_a_gap(world: World) -> None:
    for number in range(60):
        world.store.create(spec(Name=f"e{number:02}"), {})
    seen: list[str] = []
    sizes: list[int] = []
    token: dict[str, str] = {}
    while True:
        page = world.mwaa.list_environments(CALLER, {"MaxResults": 100, **token})
        seen += page["Environments"]
        sizes.append(len(page["Environments"]))
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert seen == [f"e{number:02}" for number in range(60)]
    assert sizes == [25, 25, 10], "25 is the most"
    assert [len(world.mwaa.list_environments(CALLER, {"MaxResults": 7})["Environments"]) for _ in range(1)] == [7]
    last = world.mwaa.list_environments(CALLER, {"MaxResults": 20, "NextToken": token["NextToken"]})
    assert "NextToken" not in last, "exactly the rest is no reason for another page"


@pytest.mark.parametrize("token", ["é", "a", "/w==", "!!!!"])
def test_a_token_of_nobody_is_refused(world: World, token: str) -> None:
    assert world.refusal("list_environments", NextToken=token) == ("ValidationException", 400)
    assert "NextToken" in world.said


@pytest.mark.parametrize("status", [Status.CREATING, Status.UPDATING, Status.DELETING])
def test_what_is_in_the_middle_of_something_is_not_deleted(world: World, status: Status) -> None:
    world.store.rows["flight"] = row(status=status)
    assert world.refusal("delete_environment", Name="flight") == ("ValidationException", 400)
    assert world.said.startswith(f"Environments with {status} status must complete previous operation")
    assert (world.store.rows["flight"].status, world.rings) == (status, 0)


@pytest.mark.parametrize("status", [Status.AVAILABLE, Status.CREATE_FAILED, Status.UPDATE_FAILED, Status.UNAVAILABLE])
def test_a_delete_is_a_request_and_a_ring(world: World, status: Status) -> None:
    world.store.rows["flight"] = row(status=status)
    assert world.mwaa.delete_environment(CALLER, {"Name": "flight"}) == {}
    assert (world.store.rows["flight"].status, world.rings) == (Status.DELETING, 1)


def test_a_delete_that_somebody_outran_is_told(world: World) -> None:
    world.store.rows["flight"], world.store.outrun = row(), True
    assert world.refusal("delete_environment", Name="flight") == ("ValidationException", 400)
    assert "changed at the same time" in world.said
    assert world.rings == 0


def test_tags_come_change_and_go(world: World) -> None:
    world.store.rows["flight"] = row(tags={"a": "1"})
    arn = f"{ARN}flight"
    world.mwaa.tag_resource(CALLER, {"ResourceArn": arn, "Tags": {"a": "2", "b": "3"}})
    assert world.mwaa.list_tags_for_resource(CALLER, {"ResourceArn": arn}) == {"Tags": {"a": "2", "b": "3"}}
    world.mwaa.untag_resource(CALLER, {"ResourceArn": arn, "tagKeys": ["a", "never there"]})
    assert world.store.rows["flight"].tags == {"b": "3"}
    most = {f"t{number}": "x" for number in range(49)}
    world.mwaa.tag_resource(CALLER, {"ResourceArn": arn, "Tags": most})
    world.mwaa.tag_resource(CALLER, {"ResourceArn": arn, "Tags": {"b": "again"}})
    assert world.refusal("tag_resource", ResourceArn=arn, Tags={"one": "more"}) == ("ValidationException", 400)
    assert "at most 50 tags" in world.said
    assert len(world.store.rows["flight"].tags) == 50


@pytest.mark.parametrize(
    "arn", [f"{ARN}nobody", "arn:aws:airflow:eu-west-1:000000000000:environment/flight", "flight", ""]
)
def test_an_arn_of_nothing_is_not_found(world: World, arn: str) -> None:
    world.store.rows["flight"] = row()
    assert world.refusal("list_tags_for_resource", ResourceArn=arn) == ("ResourceNotFoundException", 404)


@pytest.mark.parametrize("operation", ["get_environment", "delete_environment"])
def test_an_environment_that_is_not_there_is_not_found(world: World, operation: str) -> None:
    assert world.refusal(operation, Name="flight") == ("ResourceNotFoundException", 404)
    assert world.said == "Environment with name flight does not exist"


def test_without_the_database_one_is_told_to_try_again(world: World) -> None:
    world.store.rows["flight"], world.store.away = row(), True
    calls: list[tuple[str, dict[str, Any]]] = [
        ("create_environment", request()),
        ("get_environment", {"Name": "flight"}),
        ("list_environments", {}),
        ("delete_environment", {"Name": "flight"}),
        ("list_tags_for_resource", {"ResourceArn": f"{ARN}flight"}),
    ]
    for operation, members in calls:
        assert world.refusal(operation, **members) == ("ServiceUnavailableException", 503), operation
        assert world.said == "The control plane's database does not answer. Try again."
    assert world.rings == 0


LEAST = {
    "Name": "flight",
    "Status": "AVAILABLE",
    "Arn": f"{ARN}flight",
    "CreatedAt": AT,
    "WebserverUrl": "127.66.0.1:8080",
    "ExecutionRoleArn": ROLE,
    "ServiceRoleArn": "arn:aws:iam::000000000000:role/aws-service-role/airflow.amazonaws.com/AWSServiceRoleForAmazonMWAA",
    "SourceBucketArn": "arn:aws:s3:::flight-bucket",
    "DagS3Path": "dags",
    "AirflowConfigurationOptions": {},
    "NetworkConfiguration": {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]},
    "LastUpdate": {"Status": "SUCCESS", "CreatedAt": AT, "Source": "CreateEnvironment"},
    "Tags": {},
}
FROM_THE_SPEC = {
    "AirflowVersion": "airflow_version",
    "EnvironmentClass": "environment_class",
    "MinWorkers": "min_workers",
    "MaxWorkers": "max_workers",
    "MinWebservers": "min_webservers",
    "MaxWebservers": "max_webservers",
    "Schedulers": "schedulers",
    "WeeklyMaintenanceWindowStart": "maintenance_window",
    "WebserverAccessMode": "webserver_access_mode",
    "EndpointManagement": "endpoint_management",
}
MODULES = ("DagProcessingLogs", "SchedulerLogs", "TaskLogs", "WebserverLogs", "WorkerLogs")


def test_the_least_environment_as_it_is_shown() -> None:
    shown = environment(row(facts={"web.address": "127.66.0.1:8080"}), SETTINGS)
    logging = shown.pop("LoggingConfiguration")
    assert sorted(logging) == sorted(MODULES)
    assert shown == LEAST | {name: getattr(spec(), attribute) for name, attribute in FROM_THE_SPEC.items()}
    assert None not in shown.values()


def test_all_that_one_asked_for_is_shown() -> None:
    wanted = spec(
        AirflowVersion="3.3.2",
        EnvironmentClass="mw1.medium",
        MinWorkers=2,
        MaxWorkers=7,
        MinWebservers=3,
        MaxWebservers=4,
        Schedulers=5,
        KmsKey="arn:aws:kms:us-east-1:000000000000:key/1",
        WebserverAccessMode="PRIVATE_ONLY",
        WeeklyMaintenanceWindowStart="SUN:03:30",
        RequirementsS3Path="requirements.txt",
        PluginsS3Path="plugins.zip",
        PluginsS3ObjectVersion="p1",
        StartupScriptS3Path="startup.sh",
        AirflowConfigurationOptions={"core.parallelism": "9"},
        LoggingConfiguration={"TaskLogs": {"Enabled": True, "LogLevel": "DEBUG"}},
    )
    failed = LastUpdate("FAILED", AT.timestamp(), "CreateEnvironment", "IMAGE_FAILED", "no such image")
    facts = {"source.requirements.version": "r1"}
    shown = environment(row(wanted, status=Status.CREATE_FAILED, last_update=failed, facts=facts), SETTINGS)
    assert "WebserverUrl" not in shown
    assert shown["Status"] == "CREATE_FAILED"
    assert shown["LastUpdate"]["Error"] == {"ErrorCode": "IMAGE_FAILED", "ErrorMessage": "no such image"}
    assert (shown["KmsKey"], shown["EnvironmentClass"]) == ("arn:aws:kms:us-east-1:000000000000:key/1", "mw1.medium")
    assert [shown[name] for name in ("MinWorkers", "MaxWorkers", "MinWebservers", "MaxWebservers", "Schedulers")] == [
        2, 7, 3, 4, 5
    ]  # fmt: skip
    assert (shown["WebserverAccessMode"], shown["WeeklyMaintenanceWindowStart"]) == ("PRIVATE_ONLY", "SUN:03:30")
    assert (shown["RequirementsS3Path"], shown["RequirementsS3ObjectVersion"]) == ("requirements.txt", "r1"), "as found"
    assert (shown["PluginsS3Path"], shown["PluginsS3ObjectVersion"]) == ("plugins.zip", "p1"), "as asked for"
    assert shown["StartupScriptS3Path"] == "startup.sh"
    assert "StartupScriptS3ObjectVersion" not in shown, "not known yet"
    assert shown["AirflowConfigurationOptions"] == {"core.parallelism": "9"}
    assert shown["LoggingConfiguration"]["TaskLogs"] == {
        "Enabled": True,
        "LogLevel": "DEBUG",
        "CloudWatchLogGroupArn": "arn:aws:logs:us-east-1:000000000000:log-group:airflow-flight-Task",
    }
    assert "CloudWatchLogGroupArn" not in shown["LoggingConfiguration"]["WorkerLogs"], "that one is off"


def test_a_setting_that_is_not_set_has_one_default() -> None:
    assert ControlSettings.read({}) == ControlSettings()
    assert (SETTINGS.launches_per_second, SETTINGS.steady_seconds, SETTINGS.create_seconds) == (20, 30, 1800)
