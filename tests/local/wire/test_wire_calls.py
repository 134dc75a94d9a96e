"""Real boto3 over real sockets against small providers of each protocol: calls, refusals, our own mistakes, fallback
and routes."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from skylift.core.errors import Refused, Unavailable
from skylift.wire.app import WireApp
from skylift.wire.asgi import Answer, Receive, Scope, Send, read_body, send_answer
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller
from skylift.wire.serve import serving
from skylift.wire.signing.keys import DerivedKeys, Key

pytestmark = pytest.mark.local

NOON = datetime(2026, 11, 20, 12, 0, 0, 250_000, UTC)
ACCOUNT = "123456789012"
KEYS = DerivedKeys(b"test master secret, 32 bytes long", time.time)
KEY = KEYS.issue(f"arn:aws:iam::{ACCOUNT}:user/admin", 3600)


class Ecs:
    """Answers on the event loop."""

    service = "ecs"
    blocking = False

    async def list_clusters(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        return {"clusterArns": [f"{caller.account} {caller.region} {caller.principal}", json.dumps(request)]}

    def run_task(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        shown = {"taskArn": "arn", "createdAt": NOON, "tags": request["tags"], "overrides": request["overrides"]}
        return {"tasks": [shown], "failures": []}

    def describe_tasks(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("ClusterNotFoundException", "Cluster not found.")

    def update_service(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("ConflictException", "Taken.", members={"resourceIds": ["a", "b"]})

    def describe_clusters(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("a password")

    def list_services(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        raise Unavailable("the database at postgres://user:hush@host is starting")

    def delete_service(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        raise Refused("scale it to 0 first")


class Mwaa:
    """Answers from threads."""

    service = "mwaa"
    blocking = True

    def __init__(self) -> None:
        self.meeting = threading.Barrier(2, timeout=10)

    def get_environment(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        return {"Environment": {"Name": request["Name"], "CreatedAt": NOON, "LastUpdate": {"Status": "SUCCESS"}}}

    def list_environments(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        return {"Environments": [json.dumps(request)]}

    def delete_environment(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("ResourceNotFoundException", f"Environment {request['Name']} was not found.")

    def untag_resource(self, _: Caller, request: dict[str, Any]) -> None:
        assert request == {"ResourceArn": f"arn:aws:airflow:us-east-1:{ACCOUNT}:environment/a", "tagKeys": ["k", "l m"]}

    def invoke_rest_api(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        body = request["Body"]
        if request["Method"] == "DELETE":
            members = {"RestApiStatusCode": 404, "RestApiResponse": {"detail": "no"}}
            raise AwsError("RestApiClientException", "", members=members)
        return {"RestApiStatusCode": 200, "RestApiResponse": {"echo": body}}

    def create_web_login_token(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("AccessDeniedException", "Not you.")

    def create_cli_token(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        self.meeting.wait()
        return {"CliToken": "both met", "WebServerHostname": "h"}


class Elb:
    """Answers from threads, in XML."""

    service = "elbv2"
    blocking = True

    def describe_load_balancers(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("Names") == ["none"]:
            raise AwsError("LoadBalancerNotFoundException", "One or more load balancers <were> not found")
        common = {"CreatedTime": NOON, "SecurityGroups": ["a&b", "c"], "State": {"Code": "active"}}
        return {"LoadBalancers": [{"LoadBalancerName": name, **common} for name in request["Names"]]}

    def create_target_group(self, _: Caller, request: dict[str, Any]) -> dict[str, Any]:
        return {"TargetGroups": [{"TargetGroupName": request["Name"], "Port": request["Port"] + 1}]}


async def rest(scope: Scope, receive: Receive, send: Send) -> None:
    """The rest of AWS: tells what it got."""
    body = await read_body(receive, 1 << 30)
    text = f"{scope['method']} {scope['path']} {len(body)} {scope['skylift.caller'].access_key}"
    shown = {"GET": text.encode(), "POST": b"<Seen><DeleteLoadBalancerResult/></Seen>"}.get(scope["method"], b"")
    await send_answer(send, Answer(200, {"content-type": "text/plain", "x-amz-meta-seen": text}, shown))


async def metadata(scope: Scope, _: Receive, send: Send) -> None:
    """A route of its own, without a signature."""
    await send_answer(send, Answer(200, {}, f"metadata {scope['path']}".encode()))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = WireApp([Ecs(), Mwaa(), Elb()], KEYS, fallback=rest, routes={"/_skylift/metadata": metadata}, account=ACCOUNT)
    with serving(app) as served:
        yield served
    app.close()


def client(service: str, url: str, key: Key = KEY, **config: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key.access_key,
        aws_secret_access_key=key.secret,
        aws_session_token=key.session_token or None,
        config=Config(**{"inject_host_prefix": False, "retries": {"total_max_attempts": 1}, **config}),
    )


def test_json(url: str) -> None:
    ecs = client("ecs", url)
    answer = ecs.list_clusters(maxResults=7)
    assert answer["clusterArns"] == [f"{ACCOUNT} us-east-1 {KEY.principal}", '{"maxResults": 7}']
    assert len(answer["ResponseMetadata"]["RequestId"]) == 36
    environment = [{"name": "ä", "value": "ö 'x' \"y\" \\ \n"}]
    overrides = {"containerOverrides": [{"name": "c", "environment": environment}]}
    ran = ecs.run_task(taskDefinition="t", tags=[{"key": "k", "value": ""}], overrides=overrides)["tasks"][0]
    assert ran["overrides"] == overrides
    assert ran["createdAt"] == NOON


def test_rest_json(url: str) -> None:
    mwaa = client("mwaa", url)
    environment = mwaa.get_environment(Name="a-B_9")["Environment"]
    assert (environment["Name"], environment["CreatedAt"]) == ("a-B_9", NOON)
    listed = mwaa.list_environments(MaxResults=3, NextToken="a/b+c=")["Environments"][0]
    assert json.loads(listed) == {"MaxResults": 3, "NextToken": "a/b+c="}
    mwaa.untag_resource(ResourceArn=f"arn:aws:airflow:us-east-1:{ACCOUNT}:environment/a", tagKeys=["k", "l m"])
    body = {"conf": {"a": [1, None, "x"]}, "é": 1.5}
    called = mwaa.invoke_rest_api(Name="a", Path="/dags", Method="POST", Body=body)
    assert called["RestApiResponse"] == {"echo": body}


def test_query(url: str) -> None:
    elb = client("elbv2", url)
    first, second = elb.describe_load_balancers(Names=["<a> & b", "ä"])["LoadBalancers"]
    assert (first["LoadBalancerName"], second["LoadBalancerName"]) == ("<a> & b", "ä")
    assert first["CreatedTime"] == NOON
    assert first["SecurityGroups"] == ["a&b", "c"]
    group = elb.create_target_group(Name="g", Port=80, Protocol="HTTP", VpcId="vpc-1")["TargetGroups"][0]
    assert group == {"TargetGroupName": "g", "Port": 81}


def test_blocking_calls_run_side_by_side(url: str) -> None:
    answers: list[str] = []
    calls = [lambda: answers.append(client("mwaa", url).create_cli_token(Name="a")["CliToken"]) for _ in range(2)]
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == ["both met", "both met"]


Call = Callable[[Callable[[str], Any]], Any]

ERRORS: dict[str, tuple[Call, str, int, str]] = {
    "json": (lambda to: to("ecs").describe_tasks(tasks=["a"]), "ClusterNotFoundException", 400, "Cluster not found."),
    "rest-json": (lambda to: to("mwaa").delete_environment(Name="x"), "ResourceNotFoundException", 404, "Environment "
                                                                                                        "x was not found."),
    "rest-json, capital Message": (lambda to: to("mwaa").create_web_login_token(Name="x"), "AccessDeniedException", 403, "Not you."),
    "query": (
        lambda to: to("elbv2").describe_load_balancers(Names=["none"]),
        "LoadBalancerNotFound", 400, "One or more load balancers <were> not found",
    ),
    "json, invalid": (
        lambda to: to("ecs").run_task(taskDefinition="t", launchType="MOON"), "InvalidParameterException", 400,
        "1 validation error detected: Value 'MOON' at 'launchType' failed to satisfy constraint: "
        "Member must satisfy enum value set: [EC2, FARGATE, EXTERNAL, MANAGED_INSTANCES]",
    ),
    "rest-json, invalid": (
        lambda to: to("mwaa").get_environment(Name="1 bad"), "ValidationException", 400,
        "1 validation error detected: Value '1 bad' at 'name' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z][0-9a-zA-Z-_]*",
    ),
    "query, invalid": (
        lambda to: to("elbv2").create_target_group(Name="g", Port=65536), "ValidationError", 400,
        "1 validation error detected: Value '65536' at 'port' failed to satisfy constraint: "
        "Member must have value less than or equal to 65535",
    ),
    "json, not supported": (
        lambda to: to("ecs").list_tasks(), "NotImplemented", 501, "ListTasks of ecs is not supported here."
    ),
    "query, not supported": (
        lambda to: to("elbv2").describe_rules(), "NotImplemented", 501, "DescribeRules of elbv2 is not supported here."
    ),
    "refused deeper down": (
        lambda to: to("ecs").delete_service(service="s"), "InvalidParameterException", 400, "scale it to 0 first",
    ),
    "our bug": (
        lambda to: to("ecs").describe_clusters(), "ServerException", 500,
        "The request processing has failed because of an unknown error, exception or failure.",
    ),
    "not ready": (
        lambda to: to("ecs").list_services(), "ServerException", 503,
        "The request processing has failed because of an unknown error, exception or failure.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "code", "status", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(call: Call, code: str, status: int, message: str, url: str) -> None:
    with pytest.raises(ClientError) as raised:
        call(lambda service: client(service, url))
    response = raised.value.response
    assert response["Error"]["Code"] == code
    assert response["Error"]["Message"] == message
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert len(response["ResponseMetadata"]["RequestId"]) == 36


def test_boto3_knows_our_errors_by_class(url: str) -> None:
    elb, mwaa, ecs = (client(name, url) for name in ("elbv2", "mwaa", "ecs"))
    with pytest.raises(elb.exceptions.LoadBalancerNotFoundException):
        elb.describe_load_balancers(Names=["none"])
    with pytest.raises(mwaa.exceptions.RestApiClientException) as raised:
        mwaa.invoke_rest_api(Name="a", Path="/dags", Method="DELETE", Body={})
    assert raised.value.response["RestApiStatusCode"] == 404
    assert raised.value.response["RestApiResponse"] == {"detail": "no"}
    with pytest.raises(ecs.exceptions.ConflictException) as conflict:
        ecs.update_service(service="s")
    assert conflict.value.response["resourceIds"] == ["a", "b"]


def test_our_bug_is_in_the_log_and_not_on_the_wire(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(ClientError) as raised:
        client("ecs", url).describe_clusters()
    request_id = raised.value.response["ResponseMetadata"]["RequestId"]
    (record,) = [record for record in caplog.records if request_id in record.getMessage()]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


def test_a_client_that_uses_us_as_its_proxy(url: str) -> None:
    """Terraform with HTTP_PROXY: absolute-form targets with MWAA's host prefixes."""
    mwaa = client("mwaa", "http://mwaa.test:5601", inject_host_prefix=True, proxies={"http": url})
    assert mwaa.get_environment(Name="a")["Environment"]["Name"] == "a"
    assert mwaa.invoke_rest_api(Name="a", Path="/dags", Method="GET", Body={})["RestApiStatusCode"] == 200
    s3 = client("s3", "http://s3.test:5601", proxies={"http": url}, s3={"addressing_style": "path"})
    assert s3.get_object(Bucket="b", Key="a b")["Body"].read().startswith(b"GET /b/a b 0")


@pytest.mark.parametrize("length", [0, 1, 9_000_000])
def test_s3_goes_to_the_fallback(length: int, url: str) -> None:
    s3 = client("s3", url)
    put = s3.put_object(Bucket="b", Key="a b/ä!*'()+=&?#//../c", Body=b"x" * length)
    assert put["ResponseMetadata"]["HTTPHeaders"]["x-amz-meta-seen"].endswith(f" {length} {KEY.access_key}")


def test_long_signed_bodies_of_other_services_go_to_the_fallback(url: str) -> None:
    answer = client("lambda", url).update_function_code(FunctionName="f", ZipFile=b"x" * 9_000_000)
    seen = answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-meta-seen"]
    assert seen.startswith("PUT /2015-03-31/functions/f/code 12")


def test_a_service_that_shares_our_signing_name_goes_to_the_fallback(url: str) -> None:
    """Classic ELB signs as ``elasticloadbalancing`` too, with another Version."""
    answer = client("elb", url).delete_load_balancer(LoadBalancerName="x")
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-meta-seen"].startswith("POST / ")


@pytest.mark.parametrize("version", [None, "s3v4"])
def test_presigned_urls(version: str | None, url: str) -> None:
    s3 = client("s3", url, **({"signature_version": version} if version else {}))
    signed = s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k x/y", "VersionId": "3"})
    assert ("X-Amz-Signature" in signed) == (version == "s3v4")
    with urllib.request.urlopen(signed, timeout=10) as answer:
        assert answer.read().startswith(b"GET /b/k x/y 0")


def test_routes_come_before_the_signature(url: str) -> None:
    with urllib.request.urlopen(f"{url}/_skylift/metadata/v4/x", timeout=10) as answer:
        assert answer.read() == b"metadata /_skylift/metadata/v4/x"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{url}/_skylift/metadatax", timeout=10)
    assert refused.value.code == 403
