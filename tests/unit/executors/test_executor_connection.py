"""Which AWS credentials, region and endpoints the executor uses: the connection's, or those of AWS's default chain."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from time import sleep
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError
from tests.unit.executor_airflow import ecs_conf

# After executor_airflow, which says where Airflow's home is.
from airflow.models.connection import Connection  # isort: skip

from skylift.aws.clients import client
from skylift.aws.errors import translate
from skylift.aws.sessions import RETRY, following
from skylift.core.errors import Refused, Unavailable
from skylift.executors.options.connection import ConnectionSession, session_of
from skylift.executors.options.ecs import ecs_options

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("uri", [None, "aws://", "aws:///?__extra__=%7B%7D"])
def test_a_default_connection_that_says_nothing_is_awss_own_chain(
    monkeypatch: pytest.MonkeyPatch, uri: str | None
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT", raising=False)
    if uri is not None:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", uri)
    options = ecs_options(ecs_conf())
    assert session_of(options.connection, options.region) is None


@pytest.mark.parametrize(
    ("options", "connection"), [({}, "AWS_DEFAULT"), ({"conn_id": "mine"}, "MINE"), ({"aws_conn_id": "mine"}, "MINE")]
)
def test_a_connection_with_credentials_is_used_the_default_one_too(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, str], connection: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{connection}", "aws://the-key:the-secret@/")
    read = ecs_options(ecs_conf(**options))
    session = session_of(read.connection, read.region)
    assert session.get_credentials().access_key == "the-key"
    assert session.region_name == "us-east-1"


def test_a_connection_that_is_not_there_stops_the_start_with_one_line_that_names_it() -> None:
    with pytest.raises(
        Refused, match=r"\[aws_batch_executor\] conn_id: the connection 'gone' does not exist"
    ) as refused:
        session_of("gone", "us-east-1", "aws_batch_executor")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "team", "said"),
    [
        ("{", None, "does not exist, or its backend fails (Airflow's log says so)"),
        (
            '{"conn_type": "aws", "extra": {"config_kwargs": {"no_such_setting": 1}}}',
            None,
            "cannot be used: TypeError: ",
        ),
        ("aws://", "blue", "cannot be read: ValueError: Multi-team mode is not configured"),
    ],
)
def test_a_connection_that_is_wrong_stops_the_start_with_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, text: str, team: str | None, said: str
) -> None:
    if team and "team_name" not in inspect.signature(Connection.get_connection_from_secrets).parameters:
        pytest.skip("Airflow 3.1 has no connections of teams")
    monkeypatch.setenv("AIRFLOW_CONN_ODD", text)
    with pytest.raises(Refused) as refused:
        session_of("odd", "us-east-1", team=team)
    whose = " of team 'blue'" if team else ""
    assert str(refused.value).startswith(f"[aws_ecs_executor] conn_id{whose}: the connection 'odd' {said}")


EXTRA = (
    '{"conn_type": "aws", "login": "k", "password": "s", "extra": {"region_name": "eu-west-1", "verify": "/ca.pem", '
    '"endpoint_url": "http://127.0.0.1:1", "config_kwargs": {"read_timeout": 1, "tcp_keepalive": true}, '
    '"service_config": {"s3": {"endpoint_url": "http://127.0.0.1:2"}}}}'
)


def test_region_endpoints_and_settings_of_the_connection_hold_for_every_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", EXTRA)
    session = session_of("mine", "")
    made = {service: client(service, attempts=1, session=session) for service in ("ecs", "batch", "sqs", "logs", "s3")}
    assert {one.meta.region_name for one in made.values()} == {"eu-west-1"}
    endpoints = {service: one.meta.endpoint_url for service, one in made.items()}
    assert endpoints == dict.fromkeys(made, "http://127.0.0.1:1") | {"s3": "http://127.0.0.1:2"}
    for one in made.values():
        assert one.meta.config.tcp_keepalive, "what the connection says of botocore holds"
        assert one.meta.config.read_timeout == 60, "where we say something ourselves, ours does"
        assert one._endpoint.http_session._verify == "/ca.pem"


def test_settings_hold_also_if_only_one_side_has_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", EXTRA)
    assert session_of("mine", "").client("ecs").meta.config.tcp_keepalive, "the connection alone"
    monkeypatch.setenv("AIRFLOW_CONN_MINE", "aws://key:secret@/")
    ours = session_of("mine", "eu-west-1").client("ecs", config=Config(read_timeout=17))
    assert ours.meta.config.read_timeout == 17, "ours alone"


def test_the_options_region_goes_before_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", EXTRA)
    session = session_of("mine", "ap-south-1")
    assert client("ecs", session=session).meta.region_name == "ap-south-1"


@pytest.mark.skipif(
    "team_name" not in inspect.signature(Connection.get_connection_from_secrets).parameters,
    reason="Airflow 3.1 has no connections of teams",
)
def test_a_teams_own_connection_goes_before_everybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", "aws://all:s@/")
    monkeypatch.setenv("AIRFLOW_CONN__RED___MINE", "aws://red:s@/")
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    keys = {team: session_of("mine", "us-east-1", team=team).get_credentials().access_key for team in ("red", None)}
    assert keys == {"red": "red", None: "all"}


def test_a_rotated_key_is_used_without_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", "aws://old:s@/")
    session = ConnectionSession("mine", "us-east-1")
    monkeypatch.setenv("AIRFLOW_CONN_MINE", "aws://new:s@/")
    assert session.get_credentials().access_key == "new"


def test_a_connection_that_is_deleted_is_not_replaced_by_somebody_elses_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", "aws://old:s@/")
    session = ConnectionSession("mine", "us-east-1")
    monkeypatch.delenv("AIRFLOW_CONN_MINE")
    with pytest.raises(LookupError, match="mine"):
        session.get_credentials()


class Clock:
    """A clock of dates that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Keys:
    """Gives one credential after the other, or raises."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    def __call__(self) -> Credentials | None:
        self.asked += 1
        if self.error:
            raise self.error
        return Credentials(f"key-{self.asked}", "s")


def key_of(session: Any) -> str:
    return str(session.get_credentials().get_frozen_credentials().access_key)


def test_credentials_are_fetched_when_needed_and_again_every_few_minutes() -> None:
    clock, keys = Clock(), Keys()
    session = following(keys, "us-east-1", now=clock)
    ecs = session.client("ecs")
    assert keys.asked == 0, "a start asks nobody"
    assert [key_of(session), key_of(session)] == ["key-1", "key-1"]
    clock.wait(301)
    assert key_of(session) == "key-2"
    assert ecs._get_credentials().get_frozen_credentials().access_key == "key-2", "clients that are there follow"


def test_a_fetch_that_fails_leaves_the_old_ones_until_they_are_too_old_and_then_work_waits() -> None:
    clock, keys = Clock(), Keys()
    session = following(keys, "us-east-1", now=clock)
    assert key_of(session) == "key-1"
    keys.error = RuntimeError("the secrets backend is away")
    clock.wait(400)
    assert key_of(session) == "key-1"
    clock.wait(600)
    with pytest.raises(CredentialRetrievalError, match="secrets backend") as raised:
        key_of(session)
    assert isinstance(translate(raised.value, "ecs RunTask"), Unavailable)
    asked = keys.asked
    with pytest.raises(CredentialRetrievalError, match="secrets backend"):
        key_of(session)
    assert keys.asked == asked, "what has just failed is not tried again at once"
    keys.error = None
    clock.wait(RETRY)
    assert key_of(session).startswith("key-")


def test_no_credentials_at_all_is_botocores_own_error() -> None:
    session = following(lambda: None, "us-east-1")
    with pytest.raises(NoCredentialsError):
        session.client("ecs").list_clusters()
    assert isinstance(session, boto3.Session)


def test_clients_are_made_one_at_a_time_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the lock is for: a boto3 session must not make clients in several threads at once."""
    monkeypatch.setenv("AIRFLOW_CONN_MINE", EXTRA)
    session = ConnectionSession("mine", "eu-west-1")
    inside, most, together = 0, 0, Barrier(8)

    class Watched:
        """The session, which sees how many are in it."""

        def client(self, *names: Any, **options: Any) -> Any:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            # Long enough for all the others to come, if they may.
            sleep(0.02)
            made = real.client(*names, **options)
            inside -= 1
            return made

    real, session._session = session._session, Watched()
    services = ("ecs", "batch", "sqs", "logs", "s3", "ecs", "batch", "sqs")

    def make(service: str) -> Any:
        together.wait(60)
        return session.client(service)

    with ThreadPoolExecutor(len(services)) as pool:
        made = list(pool.map(make, services))
    assert [one.meta.service_model.service_name for one in made] == list(services)
    assert most == 1
