"""Whose AWS credentials the executor takes: the connection's, or those of AWS's own chain."""

from __future__ import annotations

import pytest
from tests.unit.executor_airflow import ecs_conf

from skylift.executors.connection import session_of
from skylift.executors.ecs_options import ecs_options

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
