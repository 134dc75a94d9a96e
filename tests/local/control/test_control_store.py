"""The rows of environments on a real PostgreSQL, and the provider's answers over them."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.control_scenes import EVERYTHING, SETTINGS, request, spec
from tests.local.control_postgres import serving_postgres

from skylift.aws.secrets import Secret
from skylift.control.api.provider import MwaaProvider
from skylift.control.postgres import PostgresAdmin
from skylift.control.store import EnvironmentStore, LastUpdate
from skylift.core.clock import ManualClock
from skylift.core.environment import Status
from skylift.core.errors import Refused, Unavailable
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

pytestmark = pytest.mark.local
CALLER = Caller("key", "arn:aws:iam::000000000000:root", "000000000000", "us-east-1")
ARN = "arn:aws:airflow:us-east-1:000000000000:environment/flight"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresAdmin]:
    with serving_postgres(tmp_path_factory.mktemp("postgres")) as admin:
        yield admin


@pytest.fixture
def store(postgres: PostgresAdmin, request: pytest.FixtureRequest) -> EnvironmentStore:
    made = EnvironmentStore(postgres, f"store_{abs(hash(request.node.name))}", ManualClock())
    made.prepare()
    made.prepare()  # a second control plane, or the next start, finds all in place
    return made


@pytest.fixture
def provider(store: EnvironmentStore) -> MwaaProvider:
    return MwaaProvider(store, SETTINGS, lambda: None, EVERYTHING)


def refusal(call: object, *arguments: object) -> tuple[str, str, int]:
    with pytest.raises(AwsError) as caught:
        call(CALLER, *arguments)  # type: ignore[operator]
    return caught.value.code, caught.value.message, caught.value.status


def test_a_row_comes_back_as_it_was_written(store: EnvironmentStore) -> None:
    wanted = spec(AirflowConfigurationOptions={"core.parallelism": "7"}, PluginsS3Path="plugins.zip")
    assert store.create(wanted, {"team": "blue"})
    found = store.get("flight")
    assert found is not None
    assert (found.spec, found.status, found.generation) == (wanted, Status.CREATING, 1)
    assert found.tags == {"team": "blue"}
    assert found.last_update == LastUpdate("PENDING", 1_750_000_000.0, "CreateEnvironment")
    assert store.all() == [found]


def test_a_name_is_taken_once(store: EnvironmentStore) -> None:
    assert store.create(spec(), {})
    assert not store.create(spec(MaxWorkers=3), {})
    assert store.get("flight").spec.max_workers == 10  # type: ignore[union-attr]


def test_what_was_learnt_for_an_older_request_is_dropped(store: EnvironmentStore) -> None:
    store.create(spec(), {})
    row = store.get("flight")
    assert row is not None
    assert store.record(replace(row, status=Status.AVAILABLE, facts={"web.address": "here"}))
    assert store.request_delete(row)
    assert not store.request_delete(row), "somebody else's request came first"
    assert not store.record(replace(row, status=Status.AVAILABLE, facts={}))
    now = store.get("flight")
    assert now is not None
    assert (now.status, now.generation, now.facts) == (Status.DELETING, 2, {"web.address": "here"})
    assert now.created_at == row.created_at
    store.forget(row, ("DELETED", "deleted", 1.0))
    assert store.get("flight") is not None
    store.forget(now, ("DELETED", "deleted", 1.0))
    assert store.get("flight") is None


def test_the_provider_refuses_as_mwaa_does(provider: MwaaProvider, store: EnvironmentStore) -> None:
    name = {"Name": "flight"}
    missing = ("ResourceNotFoundException", "Environment with name flight does not exist", 404)
    assert refusal(provider.get_environment, name) == missing
    assert refusal(provider.delete_environment, name) == missing
    assert refusal(provider.update_environment, name) == missing
    assert provider.create_environment(CALLER, request()) == {"Arn": ARN}
    taken = ("ValidationException", "Environment with name flight already exists", 400)
    assert refusal(provider.create_environment, request()) == taken
    busy = "Environments with CREATING status must complete previous operation before initiating a new operation"
    assert refusal(provider.delete_environment, name) == ("ValidationException", busy, 400)
    assert refusal(provider.create_environment, request(Name="b", AirflowVersion="1.0"))[0] == "ValidationException"
    assert refusal(provider.update_environment, name) == ("ValidationException", busy, 400)
    for operation in (provider.create_cli_token, provider.invoke_rest_api):
        code, message, _ = refusal(operation, name)
        assert code == "ValidationException"
        assert "has no web server yet" in message


def test_an_environment_is_shown_as_mwaa_shows_it(provider: MwaaProvider, store: EnvironmentStore) -> None:
    provider.create_environment(CALLER, request(RequirementsS3Path="requirements.txt", Tags={"a": "b"}))
    shown = provider.get_environment(CALLER, {"Name": "flight"})["Environment"]
    assert shown["Status"] == "CREATING"
    assert shown["LastUpdate"]["Status"] == "PENDING"
    assert "WebserverUrl" not in shown
    assert "RequirementsS3ObjectVersion" not in shown
    assert shown["LoggingConfiguration"]["SchedulerLogs"] == {"Enabled": False, "LogLevel": "INFO"}
    group = shown["LoggingConfiguration"]["TaskLogs"]["CloudWatchLogGroupArn"]
    assert group == "arn:aws:logs:us-east-1:000000000000:log-group:airflow-flight-Task"
    row = store.get("flight")
    assert row is not None
    failed = LastUpdate("FAILED", 5.0, "CreateEnvironment", "REQUIREMENTS_FAILED", "no such package")
    store.record(
        replace(row, status=Status.CREATE_FAILED, last_update=failed, facts={"source.requirements.version": "v3"})
    )
    shown = provider.get_environment(CALLER, {"Name": "flight"})["Environment"]
    assert shown["LastUpdate"]["Error"] == {"ErrorCode": "REQUIREMENTS_FAILED", "ErrorMessage": "no such package"}
    assert shown["RequirementsS3ObjectVersion"] == "v3"


def test_pages_of_names(provider: MwaaProvider) -> None:
    for number in range(5):
        provider.create_environment(CALLER, request(Name=f"flight-{number}"))
    first = provider.list_environments(CALLER, {"MaxResults": 3})
    assert first["Environments"] == ["flight-0", "flight-1", "flight-2"]
    second = provider.list_environments(CALLER, {"MaxResults": 3, "NextToken": first["NextToken"]})
    assert second == {"Environments": ["flight-3", "flight-4"]}
    assert refusal(provider.list_environments, {"NextToken": "é"})[0] == "ValidationException"


def test_tags(provider: MwaaProvider) -> None:
    provider.create_environment(CALLER, request(Tags={"a": "1", "b": "2"}))
    provider.tag_resource(CALLER, {"ResourceArn": ARN, "Tags": {"b": "3", "c": "4"}})
    provider.untag_resource(CALLER, {"ResourceArn": ARN, "tagKeys": ["a", "z"]})
    assert provider.list_tags_for_resource(CALLER, {"ResourceArn": ARN}) == {"Tags": {"b": "3", "c": "4"}}
    many = {f"k{number}": "v" for number in range(49)}
    assert refusal(provider.tag_resource, {"ResourceArn": ARN, "Tags": many})[0] == "ValidationException"
    wrong = ARN.replace("us-east-1", "eu-west-1")
    assert refusal(provider.list_tags_for_resource, {"ResourceArn": wrong})[0] == "ResourceNotFoundException"


def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    class Nowhere:
        def read(self, name: str) -> Secret:
            return Secret(name, "1", {"host": "127.0.0.1", "port": "9", "username": "u", "password": "p"})

    store = EnvironmentStore(PostgresAdmin(Nowhere(), "x"), "skylift", ManualClock())  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="does not answer"):
        store.all()
    code, _, status = refusal(
        MwaaProvider(store, SETTINGS, lambda: None, EVERYTHING).get_environment, {"Name": "flight"}
    )
    assert (code, status) == ("ServiceUnavailableException", 503)


@pytest.mark.parametrize(
    "text", ['{"host": "x", "port": "none", "username": "u", "password": "pass-word"}', "[1]", "pass-word"]
)
def test_a_malformed_secret_is_refused_without_its_text(text: str) -> None:
    class Malformed:
        def read(self, name: str) -> Secret:
            return Secret(name, "1", {str(key): str(one) for key, one in json.loads(text).items()})

    with pytest.raises(Refused, match="must be a JSON object with host") as caught:
        PostgresAdmin(Malformed(), "skylift/postgres").server()  # type: ignore[arg-type]
    assert "pass-word" not in "".join(traceback.format_exception(caught.value))
