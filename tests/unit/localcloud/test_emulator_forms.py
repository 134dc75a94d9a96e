"""Query's forms before they get to an emulator: what botocore writes passes, whatever the operation; what lacks a
member, or has one of another type, is refused in the service's words."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.serialize import create_serializer

from skylift.localcloud.emulators.edge import MOST_FORM_BYTES, Edge, _read_form
from skylift.localcloud.emulators.inputs import RestModels, protocol_of
from skylift.localcloud.emulators.table import TABLE, Served
from skylift.wire.asgi import Head
from skylift.wire.errors import AwsError
from skylift.wire.models import model_of

pytestmark = pytest.mark.unit
QUERY = sorted(name for row in TABLE for name in row.names if protocol_of(name) == "query")
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def value_of(shape: Shape, dice: random.Random, depth: int = 0) -> Any:
    if isinstance(shape, StructureShape):
        wanted = {
            name: member
            for name, member in shape.members.items()
            if name in shape.required_members or (depth < 3 and dice.random() < 0.8)
        }
        return {name: value_of(member, dice, depth + 1) for name, member in wanted.items()}
    if isinstance(shape, ListShape):
        return [value_of(shape.member, dice, depth + 1) for _ in range(2)]
    if isinstance(shape, MapShape):
        return {"key": value_of(shape.value, dice, depth + 1)}
    return {
        "string": lambda: dice.choice(["x", "ä & <b>", "a.member.1", "0"]),
        "integer": lambda: dice.randint(-5, 99),
        "long": lambda: dice.randint(-5, 99),
        "double": lambda: 1.5,
        "float": lambda: 1.5,
        "boolean": lambda: dice.random() < 0.5,
        "timestamp": lambda: datetime.fromtimestamp(dice.randint(0, 2**31), UTC),
        "blob": lambda: b"bytes",
    }[shape.type_name]()


def says(value: Any) -> bool:
    """Whether a form can say it: an empty structure leaves no field."""
    inside = value.values() if isinstance(value, dict) else value
    return any(map(says, inside)) if isinstance(value, dict | list) else True


def forms(service: str) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Each operation with an input, what was asked for, and its fields as botocore writes them."""
    model, serializer = model_of(service), create_serializer("query", include_validation=False)
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.input_shape is not None:
            asked = value_of(operation.input_shape, random.Random(name))
            yield (
                name,
                asked,
                {key: str(text) for key, text in serializer.serialize_to_request(asked, operation)["body"].items()},
            )


@pytest.mark.parametrize("service", QUERY)
def test_what_botocore_writes_is_read_as_it_was_meant_and_lacks_nothing(service: str) -> None:
    models = RestModels()
    models.read(service)
    tried: set[str] = set()
    for name, asked, fields in forms(service):
        found = models.asked([service], Head("POST", "/", "", FORM), fields)
        assert found is not None, name
        assert found.operation.name == name
        assert found.body_shape is not None
        read = _read_form(found.body_shape, fields)
        assert list(found.inputs.required.of(found.body_shape)(read, "")) == [], name
        assert {key for key in read if says(read[key])} == {key for key in asked if says(asked[key])}, name
        tried.add(name)
    assert len(tried) > 5


def looked_at(service: str, fields: dict[str, str], extra: bytes = b"") -> None:
    row = next(row for row in TABLE if service in row.names)
    asyncio.run(Edge()._look(row, Head("POST", "/", "", FORM), urlencode(fields).encode() + extra))


REFUSED = [
    ("iam", {"Action": "CreateRole", "RoleName": "r"}, "ValidationError", "Value null at 'assumeRolePolicyDocument'"),
    ("iam", {"Action": "CreateUser"}, "ValidationError", "Value null at 'userName'"),
    ("iam", {"Action": "ListUsers", "MaxItems": "many"}, "MalformedInput", "'MaxItems' is not of type integer"),
    (
        "iam",
        {"Action": "CreateUser", "UserName": "u", "Tags.member.1.Value": "x"},
        "ValidationError",
        "Value null at 'tags.1.member.key'",
    ),
    ("sns", {"Action": "Publish", "TopicArn": "t"}, "ValidationError", "Value null at 'message'"),
    ("sts", {"Action": "AssumeRole", "RoleArn": "r"}, "ValidationError", "Value null at 'roleSessionName'"),
    ("rds", {"Action": "DescribeDBInstances", "MaxRecords": "1.5"}, "MalformedInput", "not of type integer"),
    ("autoscaling", {"Action": "SetDesiredCapacity", "DesiredCapacity": "1"}, "ValidationError", "'autoScalingGroupName'"),
]  # fmt: skip


@pytest.mark.parametrize(("service", "fields", "code", "text"), REFUSED)
def test_what_lacks_a_member_or_has_another_type_is_refused(
    service: str, fields: dict[str, str], code: str, text: str
) -> None:
    with pytest.raises(AwsError) as refused:
        looked_at(service, fields)
    assert refused.value.code == code
    assert text in refused.value.message
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("service", "fields", "extra"),
    [
        ("iam", {"Action": "Nothing"}, b""),
        ("iam", {}, b""),
        ("iam", {"Action": "CreateUser", "UserName": "u", "Odd": "x"}, b""),
        ("ses", {"Action": "SendRawEmail"}, b"&x=" + b"x" * MOST_FORM_BYTES),
        ("ec2", {"Action": "CreateVpc"}, b""),
    ],
)
def test_what_is_not_known_here_is_left_to_the_emulator(service: str, fields: dict[str, str], extra: bytes) -> None:
    looked_at(service, fields, extra)
    assert isinstance(next(row for row in TABLE if service in row.names), Served)
