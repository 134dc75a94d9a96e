"""Models of AWS's services without their documentation are otherwise the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.loaders import Loader

from skylift.aws import models
from skylift.core.slim import slim
from skylift.wire.models import model_of

pytestmark = pytest.mark.unit
KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}


def test_only_documentation_goes() -> None:
    text = (
        '{"documentation": "<p>long</p>", "shapes": {"B": {"type": "list"}, "A": {"members": {"documentation": '
        '{"shape": "B"}}}}}'
    )
    read = json.loads(text, object_pairs_hook=slim)
    assert read == {
        "documentation": "",
        "shapes": {"B": {"type": "list"}, "A": {"members": {"documentation": {"shape": "B"}}}},
    }
    assert list(read["shapes"]) == ["B", "A"]


def test_words_that_come_again_are_one() -> None:
    first, second = (json.loads('{"shape": "SecurityGroupId"}', object_pairs_hook=slim)["shape"] for _ in range(2))
    assert first is second


@pytest.mark.parametrize("service", ["ecs", "batch", "mwaa"])
def test_the_wires_models_are_botocores(service: str) -> None:
    assert model_of(service)._service_description == _undocumented(Loader().load_service_model(service, "service-2"))


@pytest.mark.parametrize("service", ["s3", "sqs"])
def test_clients_models_are_botocores(service: str) -> None:
    made = models.session("us-east-1").client(service, **KEYS).meta.service_model
    whole = Loader().load_service_model(service, "service-2")
    assert whole["documentation"]
    assert [one.name for one in made.client_context_parameters] == list(whole.get("clientContextParams", ()))
    assert made._service_description == _undocumented(whole)


def test_a_request_can_be_made() -> None:
    """botocore reads the documentation of S3's client parameters when it looks for the endpoint."""
    made = models.session("us-east-1").client("s3", **KEYS, endpoint_url="http://127.0.0.1:1")
    assert made.generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"}).startswith("http://127.0.0.1:1/b/k?")


def _undocumented(model: Any) -> Any:
    if isinstance(model, list):
        return [_undocumented(one) for one in model]
    if not isinstance(model, dict):
        return model
    return {k: "" if k == "documentation" and isinstance(v, str) else _undocumented(v) for k, v in model.items()}
