"""A long body that msgspec takes means the same as one read shape by shape; what it does not take is left to that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.wire.errors import AwsError
from skylift.wire.json_shapes import Readers
from skylift.wire.long_bodies import LEAST_BYTES, LongBodies
from skylift.wire.models import model_of
from skylift.wire.protocols import load_object

FILLER = {"unknown": "x" * LEAST_BYTES}
SCALARS = st.none() | st.booleans() | st.integers(-(1 << 65), 1 << 65) | st.floats() | st.text(max_size=5)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
EVENT = st.fixed_dictionaries({}, optional={"timestamp": SCALARS, "message": SCALARS, "other": VALUES})
REQUEST = st.fixed_dictionaries(
    {}, optional={"logGroupName": SCALARS, "logStreamName": SCALARS, "logEvents": st.lists(EVENT | SCALARS, max_size=4)}
)


def shape_of(service: str, operation: str) -> Any:
    return model_of(service).operation_model(operation).input_shape


def slow(service: str, operation: str, body: bytes) -> Any:
    return Readers().of(shape_of(service, operation))(load_object(body))


@given(REQUEST)
def test_a_body_that_it_takes_means_the_same(request: dict[str, Any]) -> None:
    body = json.dumps({**request, **FILLER}).encode()
    found = LongBodies().read(shape_of("logs", "PutLogEvents"), body)
    if found is not None:
        assert found == slow("logs", "PutLogEvents", body)
        assert [type(one) for one in found.values()] == [
            type(one) for one in slow("logs", "PutLogEvents", body).values()
        ]


def test_a_usual_batch_is_taken() -> None:
    events = [
        {"timestamp": 1_700_000_000_000 + number, "message": f'{{"line": {number}}} é'} for number in range(1_000)
    ]
    request = {"logGroupName": "/a", "logStreamName": "s", "logEvents": events}
    assert LongBodies().read(shape_of("logs", "PutLogEvents"), json.dumps(request).encode()) == request


@pytest.mark.parametrize(
    "event",
    [
        '{"timestamp": null, "message": "a"}',
        '{"timestamp": 5.0, "message": "a"}',
        '{"timestamp": 5, "message": "\\ud800"}',
        '{"timestamp": 9223372036854775808, "message": "a"}',
        '{"timestamp": true, "message": "a"}',
        '{"timestamp": 5, "message": NaN}',
        '{"timestamp": 5, "message": "\xff"}',
        "[" * 100_000,
    ],
)
def test_what_needs_a_second_look_is_left(event: str) -> None:
    body = f'{{"unknown": "{FILLER["unknown"]}", "logEvents": [{event}]}}'.encode("latin-1")
    assert LongBodies().read(shape_of("logs", "PutLogEvents"), body) is None


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("secretsmanager", "PutSecretValue"),  # a blob
        ("cloudwatch", "PutMetricData"),  # times, numbers with fractions
    ],
)
def test_shapes_with_more_than_text_and_whole_numbers_are_left(service: str, operation: str) -> None:
    assert LongBodies().read(shape_of(service, operation), json.dumps(FILLER).encode()) is None


def test_wrong_types_are_told_in_aws_words() -> None:
    body = json.dumps({"logGroupName": 5, **FILLER}).encode()
    assert LongBodies().read(shape_of("logs", "PutLogEvents"), body) is None
    with pytest.raises(AwsError, match="NUMBER_VALUE cannot be converted to string"):
        slow("logs", "PutLogEvents", body)
