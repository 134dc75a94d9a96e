"""Models of AWS's services are read once per process, and sessions share nothing else."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from airflow.providers.amazon.aws.hooks.base_aws import BaseSessionFactory

from skylift.aws import models
from skylift.runtime.aws_sessions import SessionFactory

pytestmark = pytest.mark.unit
KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}


def test_a_document_is_read_once() -> None:
    models.session("us-east-1").client("sqs", **KEYS)
    before = dict(models._documents)
    assert any(Path(name).parts[-3:-2] == ("sqs",) for name in before)
    other = models.session("eu-west-1").client("sqs", **KEYS)
    assert models._documents == before
    assert other.meta.region_name == "eu-west-1"


def test_clients_are_as_boto3s_own() -> None:
    ours, theirs = models.session("eu-west-1"), boto3.session.Session(region_name="eu-west-1")
    for service in ("s3", "logs", "sts"):
        one, other = ours.client(service, **KEYS), theirs.client(service, **KEYS)
        assert one.meta.endpoint_url == other.meta.endpoint_url
        assert one.meta.service_model.operation_names == other.meta.service_model.operation_names
        assert one.meta.service_model.metadata == other.meta.service_model.metadata
    assert ours.get_available_services() == theirs.get_available_services()
    assert ours.get_available_resources() == theirs.get_available_resources()


def test_sessions_do_not_share_credentials() -> None:
    first, second = models.session("us-east-1"), models.session("us-east-1")
    first._session.set_credentials("only", "mine")
    assert first.get_credentials().access_key == "only"
    assert second._session is not first._session


def test_airflows_hooks_get_such_a_session() -> None:
    assert issubclass(SessionFactory, BaseSessionFactory)
    session = SessionFactory(conn=None, region_name="us-west-2", config=None).create_session()
    assert isinstance(session, boto3.session.Session)
    assert session.region_name == "us-west-2"
    assert isinstance(session._session.get_component("data_loader"), models._Models)
