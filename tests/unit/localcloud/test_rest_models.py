"""The beginnings of models that ministack gets say what whole models say, and give the rest when it is asked for."""

from __future__ import annotations

from types import SimpleNamespace

import botocore.session
import pytest

from skylift.localcloud.emulators.ministack_models import spare
from skylift.localcloud.emulators.table import TABLE, Emulator
from skylift.wire.models import metadata_of

pytestmark = pytest.mark.unit
SERVICES = {name for row in TABLE if row.server is Emulator.MINISTACK for name in row.names}


def test_metadata_are_those_of_the_whole_model() -> None:
    session = botocore.session.get_session()
    checked = sorted(SERVICES & set(session.get_available_services()))
    assert {"s3", "sqs", "ec2", "iam", "sns"} <= set(checked)
    assert [name for name in checked if metadata_of(name) != session.get_service_model(name).metadata] == []


def test_a_service_without_a_model_has_none() -> None:
    assert metadata_of("no-such-service") is None


def test_whole_models_are_read_only_when_more_is_asked() -> None:
    asked = []

    def whole(service: str) -> object:
        asked.append(service)
        return SimpleNamespace(shape_names=["A"])

    responses = SimpleNamespace(_service_model=whole, _BOTOCORE_NAME={"queues": "sqs"})
    spare(responses)
    assert responses._service_model("queues").metadata["protocol"] == "json"
    assert asked == []
    assert responses._service_model("queues").shape_names == ["A"]
    assert responses._service_model("unknown").shape_names == ["A"]
    assert asked == ["queues", "unknown"]
