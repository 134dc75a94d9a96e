"""Every operation of the services that we serve, there and back: botocore writes and we read, we write and botocore
reads.

The values are made at random from the model (a fixed seed each), so that lists, maps, times and nesting all come up.
"""

from __future__ import annotations

import json
import random
import re
import warnings
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from skylift.wire.asgi import Head
from skylift.wire.checks import Checks, compile_pattern
from skylift.wire.errors import AwsError
from skylift.wire.protocols import Codec, codec_of

pytestmark = pytest.mark.unit

MODELS = {
    name: ServiceModel(Loader().load_service_model(name, "service-2"), name)
    for name in ("ecs", "mwaa", "elbv2", "batch", "application-autoscaling")
}
OPERATIONS = [(name, operation) for name, model in MODELS.items() for operation in model.operation_names]
TEXTS = ("a", "with space", "ä&<>\"'%/+=;?#", "two\nlines", "0", "arn:aws:x:y:000000000000:a/b")


def value_of(shape: Shape, dice: random.Random, depth: int = 0) -> Any:
    if isinstance(shape, StructureShape):
        if shape.is_document_type:
            return {"any": [1, "thing", None, {"deep": True}]}
        chosen = {name: member for name, member in shape.members.items() if must(name, shape, dice, depth)}
        return {name: value_of(member, dice, depth + 1) for name, member in chosen.items()}
    if isinstance(shape, ListShape):
        return [value_of(shape.member, dice, depth + 1) for _ in range(dice.randint(1, 2))]
    if isinstance(shape, MapShape):
        return {f"key{number}": value_of(shape.value, dice, depth + 1) for number in range(dice.randint(1, 2))}
    return scalar(shape, dice)


def must(name: str, shape: StructureShape, dice: random.Random, depth: int) -> bool:
    in_path = shape.members[name].serialization.get("location") == "uri"
    return in_path or (depth < 6 and dice.random() < 0.7)


def scalar(shape: Shape, dice: random.Random) -> Any:
    return {
        "string": lambda: dice.choice(shape.enum if getattr(shape, "enum", None) else TEXTS),
        "integer": lambda: dice.randint(-5, 2**31 - 1),
        "long": lambda: dice.randint(-5, 2**53),
        "double": lambda: dice.random() * 100,
        "float": lambda: dice.random() * 100,
        "boolean": lambda: dice.random() < 0.5,
        "timestamp": lambda: datetime.fromtimestamp(dice.randint(0, 2**31), UTC),
        "blob": lambda: dice.randbytes(9),
    }[shape.type_name]()


def as_received(service: str, operation: OperationModel, request: dict[str, Any]) -> tuple[Head, bytes]:
    wire = create_serializer(MODELS[service].protocol, include_validation=False).serialize_to_request(
        request, operation
    )
    body = wire["body"]
    encoded = urlencode(body).encode() if isinstance(body, dict) else body
    query = wire["query_string"]
    pairs = query if isinstance(query, str) else urlencode(query, doseq=True)
    headers = {name.lower(): value for name, value in wire["headers"].items()}
    return Head(wire["method"], wire["url_path"], pairs, headers), encoded.encode() if isinstance(
        encoded, str
    ) else encoded


@pytest.fixture(scope="module")
def speeches() -> dict[str, Codec]:
    return {name: codec_of(model) for name, model in MODELS.items()}


@pytest.mark.parametrize(("service", "name"), OPERATIONS, ids=lambda word: word)
def test_we_read_what_botocore_writes(service: str, name: str, speeches: dict[str, Codec]) -> None:
    operation = MODELS[service].operation_model(name)
    for seed in range(5):
        request = value_of(operation.input_shape, random.Random(seed)) if operation.input_shape else {}
        head, body = as_received(service, operation, request)
        found, labels = speeches[service].operation(head, body)
        assert found.name == name
        assert same(speeches[service].read(found, labels, head, body), request)


@pytest.mark.parametrize(("service", "name"), OPERATIONS, ids=lambda word: word)
def test_botocore_reads_what_we_write(service: str, name: str, speeches: dict[str, Codec]) -> None:
    operation = MODELS[service].operation_model(name)
    for seed in range(5):
        output = value_of(operation.output_shape, random.Random(seed)) if operation.output_shape else {}
        answer = speeches[service].write(operation, output, "request-1")
        received = {"status_code": answer.status, "headers": answer.headers, "body": answer.body}
        parsed = create_parser(MODELS[service].protocol).parse(received, operation.output_shape)
        metadata = parsed.pop("ResponseMetadata")
        assert same(parsed, output)
        assert metadata["HTTPStatusCode"] == operation.http.get("responseCode", 200)


def same(one: Any, other: Any) -> bool:
    """Equal, where an empty structure may be absent (Query cannot say it)."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(same(one.get(key, {}), other.get(key, {})) for key in one.keys() | other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return len([x for x in one if x]) == len([x for x in other if x]) and all(
            map(same, [x for x in one if x], [x for x in other if x])
        )
    return bool(one == other) or (one in ({}, []) and not strip(other)) or (other in ({}, []) and not strip(one))


def strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: inner for key, item in value.items() if (inner := strip(item)) not in ({}, [])}
    return [strip(item) for item in value if strip(item) not in ({}, [])] if isinstance(value, list) else value


@pytest.mark.parametrize("service", MODELS)
def test_every_pattern_of_the_model_can_be_said(service: str) -> None:
    model = MODELS[service]
    patterns = [shape.metadata.get("pattern") for shape in map(model.shape_for, model.shape_names)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pattern in filter(None, patterns):
            compile_pattern(pattern)


BROKEN_RULES = {
    "required": ("mwaa", "CreateEnvironment", {"Name": "a"}, "Value null at 'executionRoleArn' failed", 4),
    "pattern": (
        "mwaa",
        "GetEnvironment",
        {"Name": "1bad name!"},
        "Value '1bad name!' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: "
        "[a-zA-Z][0-9a-zA-Z-_]*",
        1,
    ),
    "too short": ("mwaa", "GetEnvironment", {"Name": ""}, "Value '' at 'name'", 1),
    "too long": ("mwaa", "GetEnvironment", {"Name": "a" * 81}, "Member must have length less than or equal to 80", 1),
    "too many": ("mwaa", "ListEnvironments", {"MaxResults": 26}, "Value '26' at 'maxResults'", 1),
    "too few": ("mwaa", "ListEnvironments", {"MaxResults": 0}, "Member must have value greater than or equal to 1", 1),
    "enum": (
        "mwaa",
        "UpdateEnvironment",
        {"Name": "a", "WorkerReplacementStrategy": "NOPE"},
        "Member must satisfy enum value set: [FORCED, GRACEFUL]",
        1,
    ),
    "nested": (
        "mwaa",
        "UpdateEnvironment",
        {"Name": "a", "LoggingConfiguration": {"TaskLogs": {"Enabled": True}}},
        "Value null at 'loggingConfiguration.taskLogs.logLevel' failed",
        1,
    ),
    "list": (
        "mwaa",
        "UpdateEnvironment",
        {"Name": "a", "NetworkConfiguration": {"SecurityGroupIds": ["sg-1", "x"]}},
        "Value 'x' at 'networkConfiguration.securityGroupIds.2.member' failed",
        1,
    ),
    "map key": (
        "mwaa",
        "UpdateEnvironment",
        {"Name": "a", "AirflowConfigurationOptions": {"Core.x": "v"}},
        "at 'airflowConfigurationOptions.Core.x.key' failed",
        1,
    ),
    "empty map": ("mwaa", "TagResource", {"ResourceArn": "arn:aws:airflow:a:000000000000:environment/x", "Tags": {}}, "at 'tags' failed", 1),
    "list of structures": (
        "ecs",
        "RunTask",
        {"taskDefinition": "a", "tags": [{"key": "ok ä"}, {"key": "bad!"}]},
        "at 'tags.2.member.key' failed",
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("service", "name", "request_", "text", "count"), BROKEN_RULES.values(), ids=BROKEN_RULES)
def test_a_broken_rule_is_named(service: str, name: str, request_: dict[str, Any], text: str, count: int) -> None:
    failures = list(Checks().of(MODELS[service].operation_model(name).input_shape)(request_, ""))
    assert len(failures) == count, failures
    assert any(text in failure for failure in failures), failures


def test_a_sensitive_value_is_not_shown() -> None:
    shape = MODELS["mwaa"].operation_model("UpdateEnvironment").input_shape
    request = {"Name": "a", "AirflowConfigurationOptions": {"core.fernet_key": "hush\x00"}}
    (failure,) = Checks().of(shape)(request, "")
    assert "hush" not in failure


WRONG_TYPES = {
    "text for a number": {"desiredCount": "2"},
    "number for text": {"cluster": 3},
    "truth for a number": {"desiredCount": True},
    "broken number": {"desiredCount": 1.5},
    "number too large": {"desiredCount": 2**31},
    "list for a structure": {"deploymentConfiguration": []},
    "structure for a list": {"loadBalancers": {}},
    "text for truth": {"forceNewDeployment": "true"},
    "nothing in a list": {"capacityProviderStrategy": [None]},
}


@pytest.mark.parametrize("members", WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_a_wrong_type_is_a_serialization_error(members: dict[str, Any], speeches: dict[str, Codec]) -> None:
    operation = MODELS["ecs"].operation_model("UpdateService")
    body = json.dumps({"service": "s", **members}).encode()
    with pytest.raises(AwsError, match="SerializationException"):
        speeches["ecs"].read(operation, {}, Head("POST", "/", "", {}), body)


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b'{"a": \xff}', b"[]", b"3", b'"x"', b"null"])
def test_a_body_that_is_no_object_is_refused(body: bytes, speeches: dict[str, Codec]) -> None:
    operation = MODELS["ecs"].operation_model("ListClusters")
    with pytest.raises(AwsError, match="SerializationException"):
        speeches["ecs"].read(operation, {}, Head("POST", "/", "", {}), body)


def test_what_the_model_does_not_know_is_dropped(speeches: dict[str, Codec]) -> None:
    codec, operation = speeches["ecs"], MODELS["ecs"].operation_model("ListClusters")
    body = b'{"maxResults": 2, "later": {"x": 1}, "nextToken": null}'
    assert codec.read(operation, {}, Head("POST", "/", "", {}), body) == {"maxResults": 2}
    answer = codec.write(operation, {"clusterArns": ["a"], "secret": 1, "nextToken": None}, "r")
    assert json.loads(answer.body) == {"clusterArns": ["a"]}


def test_xml_holds_no_character_that_it_cannot(speeches: dict[str, Codec]) -> None:
    operation = MODELS["elbv2"].operation_model("DescribeLoadBalancers")
    answer = speeches["elbv2"].write(operation, {"NextMarker": "a\x00\x1b<b"}, "r")
    assert "<NextMarker>a\ufffd\ufffd&lt;b</NextMarker>".encode() in answer.body


FORMS = {
    "many fields": b"Action=DescribeTags&" + b"a=b&" * 30_000,
    "a number that is none": b"Action=DescribeTags&ResourceArns.member.1=x&ResourceArns.member." + b"9" * 5000 + b"=y",
    "a deep name": b"Action=DescribeTags&ResourceArns.member.1=x&" + b"a." * 100_000 + b"=y",
    "not UTF-8": b"Action=DescribeTags&ResourceArns.member.1=\xff",
}


@pytest.mark.parametrize(("body", "taken"), zip(FORMS.values(), (False, True, True, False), strict=True), ids=FORMS)
def test_a_form_is_read_or_refused_whatever_it_is(body: bytes, taken: bool, speeches: dict[str, Codec]) -> None:
    codec, head = speeches["elbv2"], Head("POST", "/", "", {})
    if taken:
        operation, labels = codec.operation(head, body)
        assert codec.read(operation, labels, head, body) == {"ResourceArns": ["x"]}
    else:
        with pytest.raises(AwsError, match="MalformedQueryString"):
            codec.operation(head, body)


def test_a_shape_whose_pattern_python_cannot_say_fails_each_time_in_the_same_way() -> None:
    """It once stood for itself from the second time on, and was asked for ever."""
    shapes = {
        "Outer": {"type": "structure", "members": {"Name": {"shape": "Name"}}, "required": ["Name"]},
        "Name": {"type": "string", "pattern": "[\\u-\\u"},
    }
    model = ServiceModel({"metadata": {}, "operations": {}, "shapes": shapes}, "made")
    checks = Checks()
    for _ in range(2):
        with pytest.raises(re.error):
            checks.of(model.shape_for("Outer"))
    without = Checks(patterns=False, required={"Outer": ("Other",)})
    assert len(list(without.of(model.shape_for("Outer"))({}, ""))) == 2
