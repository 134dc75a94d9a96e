"""Answers and refusals byte by byte, in each protocol. SDKs are lenient readers: what they forgive, a proxy, a log, or
somebody with curl would notice."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.model import ServiceModel

from skylift.core.errors import Broken, Refused, Unavailable
from skylift.wire.asgi import Answer, Head
from skylift.wire.errors import AwsError
from skylift.wire.intercept import Call, ConnectionCut, Interception
from skylift.wire.models import model_of
from skylift.wire.protocols import (
    codec_of,
    dump,
    form_fields,
    is_cbor,
    load_object,
    refuse_cbor,
    refuse_json,
    refuse_query,
)
from skylift.wire.provider import Caller
from skylift.wire.refusals import Dialect, SignatureFault, refusal, refuse_s3
from skylift.wire.service import ServiceEntry

pytestmark = pytest.mark.unit
CALLER = Caller("AKIA", "arn:aws:iam::000000000000:user/me", "000000000000", "us-east-1")
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
INTERNAL = "The request processing has failed because of an unknown error, exception or failure."


def head(method: str = "POST", path: str = "/", query: str = "", **headers: str) -> Head:
    return Head(method, path, query, {name.replace("_", "-"): value for name, value in headers.items()})


def test_json() -> None:
    model = model_of("ecs")
    codec = codec_of(model)
    operation = model.operation_model("ListClusters")
    headers = {"content-type": "application/x-amz-json-1.1", "x-amzn-requestid": "r"}
    assert codec.write(operation, {"clusterArns": ["a"], "nextToken": None, "other": 1}, "r") == Answer(
        200, headers, b'{"clusterArns":["a"]}'
    )
    refused = codec.refuse(AwsError("ClusterNotFoundException", "Cluster not found."), "r")
    assert refused == Answer(
        400,
        headers | {"x-amzn-errortype": "ClusterNotFoundException"},
        b'{"__type":"ClusterNotFoundException","message":"Cluster not found."}',
    )
    assert codec.refuse(AwsError("ServerException", "no", 503), "r").status == 503
    assert codec.refuse(AwsError("Other", "no", 418), "r").status == 418
    found, labels = codec.operation(head(x_amz_target="AmazonEC2ContainerServiceV20141113.ListClusters"), b"")
    assert (found.name, labels) == ("ListClusters", {})


@pytest.mark.parametrize(
    "target", ["", "ListClusters", "AmazonEC2ContainerServiceV20141113.Nothing", "Other.ListClusters"]
)
def test_json_of_an_operation_that_is_not_there(target: str) -> None:
    with pytest.raises(AwsError, match="is not known") as caught:
        codec_of(model_of("ecs")).operation(head(x_amz_target=target), b"")
    assert (caught.value.code, caught.value.status) == ("UnknownOperationException", 400)
    assert repr(target) in str(caught.value.message)


def test_rest_json() -> None:
    model = model_of("mwaa")
    codec = codec_of(model)
    headers = {"content-type": "application/json", "x-amzn-requestid": "r"}
    listed = codec.write(model.operation_model("ListEnvironments"), {"Environments": ["a"], "NextToken": None}, "r")
    assert listed == Answer(200, headers, b'{"Environments":["a"]}')
    assert codec.write(model.operation_model("PublishMetrics"), {}, "r").body == b"{}"
    refused = codec.refuse(AwsError("ResourceNotFoundException", "no", 400), "r")
    error = {"x-amzn-errortype": "ResourceNotFoundException"}
    assert refused == Answer(404, headers | error, b'{"__type":"ResourceNotFoundException","message":"no"}')
    body = b'{"__type":"RestApiClientException","message":"no","RestApiStatusCode":404}'
    of_airflow = codec.refuse(AwsError("RestApiClientException", "no", members={"RestApiStatusCode": 404}), "r")
    assert (of_airflow.status, of_airflow.body) == (400, body), "members of the error's own"
    with pytest.raises(AwsError) as caught:
        codec.operation(head("PATCH", "/nowhere"), b"")
    assert (caught.value.code, caught.value.status) == ("UnknownOperationException", 404)
    assert "PATCH /nowhere" in str(caught.value.message)


def test_query() -> None:
    model = model_of("elbv2")
    codec = codec_of(model)
    headers = {"content-type": "text/xml", "x-amzn-requestid": "r"}
    xmlns = 'xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"'
    metadata = "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>"
    group = {"TargetGroups": [{"TargetGroupArn": "a", "Port": 80, "HealthCheckEnabled": False}]}
    inner = "<TargetGroupArn>a</TargetGroupArn><Port>80</Port><HealthCheckEnabled>false</HealthCheckEnabled>"
    made = codec.write(model.operation_model("CreateTargetGroup"), group, "r")
    assert made == Answer(
        200,
        headers,
        f"<CreateTargetGroupResponse {xmlns}><CreateTargetGroupResult><TargetGroups><member>{inner}</member>"
        f"</TargetGroups></CreateTargetGroupResult>{metadata}</CreateTargetGroupResponse>".encode(),
    )
    refused = codec.refuse(AwsError("TargetGroupNotFoundException", "a < b"), "r")
    error = "<Error><Type>Sender</Type><Code>TargetGroupNotFound</Code><Message>a &lt; b</Message></Error>"
    assert refused == Answer(
        400, headers, f"<ErrorResponse {xmlns}>{error}<RequestId>r</RequestId></ErrorResponse>".encode()
    )
    assert codec.refuse(AwsError("TargetGroupNotFound", "no"), "r").body.count(b"<Code>TargetGroupNotFound</Code>") == 1
    ours = codec.refuse(AwsError("InternalFailure", "no", 500), "r")
    assert (ours.status, b"<Type>Receiver</Type><Code>InternalFailure</Code>" in ours.body) == (500, True)


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({}, "MissingAction", "no Action"),
        ({"Action": ""}, "MissingAction", "no Action"),
        ({"Action": "Nothing"}, "InvalidAction", "operation Nothing for version 2015-12-01"),
    ],
)
def test_query_of_an_operation_that_is_not_there(fields: dict[str, str], code: str, said: str) -> None:
    with pytest.raises(AwsError, match=said) as caught:
        codec_of(model_of("elbv2")).operation(head(), urlencode(fields).encode())
    assert (caught.value.code, caught.value.status) == (code, 400)


def test_a_form_is_its_query_string_and_its_body() -> None:
    assert form_fields(head(query="a=1&b="), b"c=%C3%A4&a=2") == {"a": "2", "b": "", "c": "ä"}
    for body in (b"\xff", "&".join(f"f{n}=" for n in range(20_001)).encode()):
        with pytest.raises(AwsError) as caught:
            form_fields(head(), body)
        assert caught.value.code == "MalformedQueryString"
    assert len(form_fields(head(), "&".join(f"f{n}=" for n in range(20_000)).encode())) == 20_000


def test_a_protocol_that_is_not_spoken_is_our_mistake() -> None:
    with pytest.raises(Broken, match="does not speak smoke"):
        codec_of(
            ServiceModel({"metadata": {"protocol": "smoke", "serviceId": "x"}, "operations": {}, "shapes": {}}, "x")
        )


@pytest.mark.parametrize(
    "body", [b"{", b"[1,]", b'{"a": NaN}', b'{"a": Infinity}', b'"\\ud800"', b"\xff", b"[" * 100_000]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(AwsError, match="not valid JSON") as caught:
        load_object(body)
    assert (caught.value.code, caught.value.status) == ("SerializationException", 400)


def test_an_empty_body_is_an_empty_object_and_json_is_short_and_unicode() -> None:
    assert load_object(b"") == {}
    assert load_object(b'{"a": "\\u00e4"}') == {"a": "ä"}
    assert dump({"a": "ä", "b": [1, 2]}) == '{"a":"ä","b":[1,2]}'.encode()
    assert dump("\ud800") == b'"?"', "half a pair costs its character, not the answer"


def test_refusals_of_services_whose_model_is_not_asked() -> None:
    error = AwsError("Odd", "a & b", 503, {"more": 1})
    assert refuse_query("Odd", "a & b", 503, "", "r") == Answer(
        503,
        {"content-type": "text/xml", "x-amzn-requestid": "r"},
        b"<ErrorResponse><Error><Type>Receiver</Type><Code>Odd</Code><Message>a &amp; b</Message></Error>"
        b"<RequestId>r</RequestId></ErrorResponse>",
    )
    assert b"<Type>Sender</Type>" in refuse_query("Odd", "", 499, "", "r").body
    assert refuse_json(error, "application/x-amz-json-1.0", "r") == Answer(
        503,
        {"content-type": "application/x-amz-json-1.0", "x-amzn-requestid": "r", "x-amzn-errortype": "Odd"},
        b'{"__type":"Odd","message":"a & b","more":1}',
    )
    assert refuse_cbor(error, "r") == Answer(
        503,
        {"content-type": "application/cbor", "x-amzn-requestid": "r", "smithy-protocol": "rpc-v2-cbor"},
        b"\xa2\x7a\0\0\0\x06__type\x7a\0\0\0\x03Odd\x7a\0\0\0\x07message\x7a\0\0\0\x05a & b",
    )
    assert refuse_s3(error, head(path="/bu%20cket/<key>"), "r") == Answer(
        503,
        {"content-type": "application/xml", "x-amz-request-id": "r", "x-amz-id-2": "r"},
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>Odd</Code><Message>a &amp; b</Message>'
        b"<Resource>/bu cket/&lt;key&gt;</Resource><RequestId>r</RequestId></Error>",
    )


@pytest.mark.parametrize(
    ("headers", "cbor"),
    [
        ({"content_type": "application/cbor"}, True),
        ({"smithy_protocol": "rpc-v2-cbor"}, True),
        ({"content_type": "application/json", "smithy_protocol": "rpc-v2-json"}, False),
        ({}, False),
    ],
)
def test_cbor_is_known_by_either_header(headers: dict[str, str], cbor: bool) -> None:
    assert is_cbor(head(**headers)) is cbor


@pytest.mark.parametrize("fault", SignatureFault)
@pytest.mark.parametrize("dialect", Dialect)
def test_every_fault_has_words_in_every_dialect(fault: SignatureFault, dialect: Dialect) -> None:
    error = refusal(fault, dialect, "more")
    assert error.dialect is dialect
    assert error.message.endswith("more")
    assert (error.status >= 500) == (fault is SignatureFault.BROKEN)
    if dialect is Dialect.JSON and error.status < 500:
        assert error.code.endswith("Exception"), "JSON's errors are called so, the others' are not"
    else:
        assert not error.code.endswith("Exception")


class Serving:
    """A provider whose one operation does what the test says."""

    service = "ecs"

    def __init__(self, outcome: Any, blocking: bool = False) -> None:
        self.outcome, self.blocking = outcome, blocking

    def list_clusters(self, _caller: Caller, request: dict[str, Any]) -> Any:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome(request) if callable(self.outcome) else self.outcome


def served(provider: Any, body: bytes = b"{}", interceptor: Any = None, operation: str = "ListClusters") -> Answer:
    entry = ServiceEntry(provider, interceptor)
    asked = head(x_amz_target=f"AmazonEC2ContainerServiceV20141113.{operation}")
    try:
        return asyncio.run(entry.answer(asked, body, CALLER, "r"))
    finally:
        entry.close()


class ForCallers(Unavailable):
    """One whose text is for whoever calls."""

    for_callers = True


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize(
    ("outcome", "status", "code", "message"),
    [
        (AwsError("ClientException", "no"), 400, "ClientException", "no"),
        (Refused("change it"), 400, "InvalidParameterException", "change it"),
        (Unavailable("a path of ours"), 503, "ServerException", INTERNAL),
        (ForCallers("free some space"), 503, "ServerException", "free some space"),
        (KeyError("a bug"), 500, "ServerException", INTERNAL),
    ],
)
def test_what_a_provider_raises_is_told_in_the_services_words(
    outcome: Any, status: int, code: str, message: str, blocking: bool
) -> None:
    answer = served(Serving(outcome, blocking))
    assert (answer.status, json.loads(answer.body)) == (status, {"__type": code, "message": message})


@pytest.mark.parametrize("blocking", [True, False])
def test_what_a_provider_answers(blocking: bool) -> None:
    assert served(Serving(lambda request: {"clusterArns": [str(request)]}, blocking), b'{"maxResults": 5}').body == (
        b'{"clusterArns":["{\'maxResults\': 5}"]}'
    )
    assert served(Serving(None, blocking)).body == b"{}", "nothing is an empty answer"

    async def later() -> dict[str, Any]:
        return {"nextToken": "later"}

    assert served(Serving(lambda _: later())).body == b'{"nextToken":"later"}'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"maxResults": "x"}', "STRING_VALUE cannot be converted to integer"),
        (b"{", "The body is not valid JSON."),
    ],
)
def test_what_cannot_be_read_is_refused_before_the_provider_is_asked(body: bytes, said: str) -> None:
    answer = served(Serving(AssertionError("asked")), body)
    wanted = {"__type": "SerializationException", "message": said}
    assert (answer.status, json.loads(answer.body)) == (400, wanted)


def test_all_that_is_wrong_is_listed() -> None:
    class Mwaa(Serving):
        service = "mwaa"

        def create_environment(self, _caller: Caller, _request: object) -> None:
            raise AssertionError("asked")

    def said(**members: Any) -> str:
        body, asked = json.dumps(members).encode(), head("PUT", "/environments/flight")
        answer = asyncio.run(ServiceEntry(Mwaa(None)).answer(asked, body, CALLER, "r"))
        assert (answer.status, json.loads(answer.body)["__type"]) == (400, "ValidationException")
        return str(json.loads(answer.body)["message"])

    null = "failed to satisfy constraint: Member must not be null"
    names = ("executionRoleArn", "sourceBucketArn", "dagS3Path", "networkConfiguration")
    listed = "; ".join(f"Value null at '{name}' {null}" for name in names)
    assert said() == f"4 validation errors detected: {listed}"
    whole = {
        "ExecutionRoleArn": "arn:aws:iam::000000000000:role/r",
        "SourceBucketArn": "arn:aws:s3:::b",
        "DagS3Path": "dags",
        "NetworkConfiguration": {},
    }
    low = "Value '0' at 'maxWorkers' failed to satisfy constraint: Member must have value greater than or equal to 1"
    assert said(**whole, MaxWorkers=0) == f"1 validation error detected: {low}"


@pytest.mark.parametrize(
    ("members", "advice"),
    [
        ({"IdentityCenterConfiguration": {"IdentityStoreId": "d-1"}}, "IAM Identity Center"),
        ({"Teams": {"blue": {}}}, "an environment for each team"),
    ],
)
def test_a_member_that_is_newer_than_the_model_is_refused_and_not_dropped(members: Any, advice: str) -> None:
    class Mwaa(Serving):
        service = "mwaa"

        def update_environment(self, _caller: Caller, _request: object) -> dict[str, str]:
            return {"Arn": "updated"}

    def asked(value: dict[str, Any]) -> Answer:
        entry = ServiceEntry(Mwaa(None))
        body = json.dumps(value).encode()
        return asyncio.run(entry.answer(head("PATCH", "/environments/flight"), body, CALLER, "r"))

    answer = asked(members)
    assert (answer.status, json.loads(answer.body)["__type"]) == (400, "ValidationException")
    assert advice in json.loads(answer.body)["message"]
    assert asked({"AirflowConfigurationOptions": {"a.teams": "Teams"}}).status == 200


def test_an_operation_without_a_method_is_not_served() -> None:
    answer = served(Serving({}), operation="DescribeTasks")
    said = {"__type": "NotImplemented", "message": "DescribeTasks of ecs is not supported here."}
    assert (answer.status, json.loads(answer.body)) == (501, said)


class Intercepting:
    """Does as the test says, and keeps the call."""

    def __init__(self, decision: Interception) -> None:
        self.decision, self.calls = decision, list[Call]()

    async def interception(self, call: Call) -> Interception:
        self.calls.append(call)
        return self.decision


def test_a_call_may_be_answered_rewritten_or_cut() -> None:
    provider = Serving({"clusterArns": ["real"]})
    through = Intercepting(Interception())
    assert served(provider, b'{"maxResults":5}', through).body == b'{"clusterArns":["real"]}'
    (call,) = through.calls
    assert (call.service, call.operation, call.caller, call.request) == (
        "ecs",
        "ListClusters",
        CALLER,
        {"maxResults": 5},
    )
    invented = Interception(answer={"clusterArns": []})
    assert served(Serving(AssertionError()), b"{}", Intercepting(invented)).body == b'{"clusterArns":[]}'
    turned = Interception(rewrite=lambda output: {"clusterArns": [*output["clusterArns"], "more"]})
    assert served(provider, b"{}", Intercepting(turned)).body == b'{"clusterArns":["real","more"]}'
    done: list[int] = []
    with pytest.raises(ConnectionCut):
        served(Serving(lambda _: done.append(1)), b"{}", Intercepting(Interception(cut=True)))
    assert done == [1], "it is done, and nobody is told"


@pytest.mark.parametrize(
    ("service", "asked", "body", "ours"),
    [
        ("ecs", head(x_amz_target="AmazonEC2ContainerServiceV20141113.X"), b"", True),
        ("ecs", head(x_amz_target="Other.ListClusters"), b"", False),
        ("ecs", head(), b"", True),
        ("elbv2", head(), b"Version=2015-12-01", True),
        ("elbv2", head(), b"Version=2012-06-01", False),
        ("elbv2", head(), b"", True),
        ("mwaa", head(x_amz_target="Other.X"), b"", True),
    ],
)
def test_services_that_share_a_name_are_told_apart(service: str, asked: Head, body: bytes, ours: bool) -> None:
    provider: Any = Serving({})
    provider.service = service
    assert ServiceEntry(provider).wants(asked, body) is ours


def test_only_rest_can_tell_by_method_and_path() -> None:
    mwaa: Any = Serving({})
    mwaa.service = "mwaa"
    entry = ServiceEntry(mwaa)
    assert (entry.signing_name, entry.protocol, entry.name) == ("airflow", "rest-json", "mwaa")
    assert entry.has_route(head("GET", "/environments"))
    assert not entry.has_route(head("GET", "/bucket/key"))
    assert not ServiceEntry(Serving({})).has_route(head("POST", "/"))
