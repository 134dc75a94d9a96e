"""The emulated services in use: real boto3 over the real wire, for each service that skylift or its users need."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from tests.local.rest_server import KEY, Rest, rest_of_aws

from skylift.localcloud.emulators.table import TABLE, Depth, Emulator, page, served

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with rest_of_aws(tmp_path_factory.mktemp("rest") / "rest") as running:
        yield running


def test_s3_conditional_puts(rest: Rest) -> None:
    s3 = rest.client("s3")
    s3.create_bucket(Bucket="conditional")
    etag = s3.put_object(Bucket="conditional", Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"other"'}):
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket="conditional", Key="k", Body=b"2", **condition)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    s3.put_object(Bucket="conditional", Key="k", Body=b"2", IfMatch=etag)
    assert s3.get_object(Bucket="conditional", Key="k")["Body"].read() == b"2"


def test_s3_multipart_ranges_and_odd_keys(rest: Rest) -> None:
    s3, body = rest.client("s3"), os.urandom(12 << 20)
    s3.create_bucket(Bucket="large")
    s3.upload_fileobj(io.BytesIO(body), "large", "big", Config=TransferConfig(multipart_threshold=5 << 20))
    back = io.BytesIO()
    s3.download_fileobj("large", "big", back)
    assert hashlib.sha256(back.getvalue()).digest() == hashlib.sha256(body).digest()
    assert s3.get_object(Bucket="large", Key="big", Range="bytes=5-9")["Body"].read() == body[5:10]
    key = "a b/ü+%/x=y&z.txt"
    s3.put_object(Bucket="large", Key=key, Body=b"odd")
    assert key in [one["Key"] for one in s3.list_objects_v2(Bucket="large")["Contents"]]
    assert s3.get_object(Bucket="large", Key=key)["Body"].read() == b"odd"


def test_a_bucket_may_be_named_health(rest: Rest) -> None:
    s3 = rest.client("s3")
    s3.create_bucket(Bucket="health")
    s3.put_object(Bucket="health", Key="a", Body=b"1")
    assert s3.head_bucket(Bucket="health")["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert [one["Key"] for one in s3.list_objects_v2(Bucket="health")["Contents"]] == ["a"]
    assert s3.get_bucket_location(Bucket="health")["ResponseMetadata"]["HTTPStatusCode"] == 200
    signing = rest.client("s3", signature_version="s3v4")
    address = signing.generate_presigned_url("list_objects_v2", Params={"Bucket": "health"})
    assert b"<Key>a</Key>" in urllib.request.urlopen(address).read()
    s3.delete_object(Bucket="health", Key="a")
    s3.delete_bucket(Bucket="health")
    assert "health" not in [one["Name"] for one in s3.list_buckets()["Buckets"]]


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_s3_presigned_addresses(rest: Rest, version: str) -> None:
    s3 = rest.client("s3")
    bucket = f"presigned-{version}"
    s3.create_bucket(Bucket=bucket)
    signing = rest.client("s3", signature_version=version)
    put = signing.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a b"})
    # A plain client: urllib would add a Content-Type, which version 2 signs.
    plain = http.client.HTTPConnection(urlsplit(put).netloc, timeout=10)
    plain.request("PUT", put.partition(urlsplit(put).netloc)[2], b"by address")
    assert plain.getresponse().status == 200
    get = signing.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"})
    assert urllib.request.urlopen(get, timeout=10).read() == b"by address"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(get.replace("a%20b", "other"), timeout=10)


def test_sqs_and_events_reach_each_other(rest: Rest) -> None:
    sqs, events = rest.client("sqs"), rest.client("events")
    queue = sqs.create_queue(QueueName="told")["QueueUrl"]
    assert queue.startswith(rest.url)
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="tell", EventPattern='{"source": ["mine"]}')
    events.put_targets(Rule="tell", Targets=[{"Id": "1", "Arn": arn}])
    events.put_events(Entries=[{"Source": "mine", "DetailType": "d", "Detail": '{"n": 1}'}])
    message = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]
    assert json.loads(message["Body"])["detail"] == {"n": 1}


def test_cloudwatch_in_the_protocol_of_this_botocore(rest: Rest) -> None:
    metrics, now = rest.client("cloudwatch"), datetime.now(UTC)
    metrics.put_metric_data(
        Namespace="AmazonMWAA", MetricData=[{"MetricName": "Heartbeat", "Value": 2.0, "Timestamp": now}] * 3
    )
    stat = {"Metric": {"Namespace": "AmazonMWAA", "MetricName": "Heartbeat"}, "Period": 60, "Stat": "Sum"}
    found = metrics.get_metric_data(
        MetricDataQueries=[{"Id": "q", "MetricStat": stat}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
    )
    assert found["MetricDataResults"][0]["Values"] == [6.0]


def test_kms_dynamodb_and_networks(rest: Rest) -> None:
    kms, table, ec2 = rest.client("kms"), rest.client("dynamodb"), rest.client("ec2")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    secret = kms.encrypt(KeyId=key, Plaintext=b"hi")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=secret)["Plaintext"] == b"hi"
    table.create_table(
        TableName="locks",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    item = {"Item": {"k": {"S": "1"}}, "ConditionExpression": "attribute_not_exists(k)"}
    table.put_item(TableName="locks", **item)
    with pytest.raises(table.exceptions.ConditionalCheckFailedException):
        table.put_item(TableName="locks", **item)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    assert ec2.describe_subnets(SubnetIds=[subnet["SubnetId"]])["Subnets"][0]["VpcId"] == vpc
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["VpcId"] == vpc


def test_moto_answers_for_what_ministack_lacks(rest: Rest) -> None:
    made = rest.client("emr-serverless").create_application(name="a", releaseLabel="emr-6.6.0", type="SPARK")
    assert ":000000000000:" in made["arn"]
    assert rest.client("sagemaker").list_models()["Models"] == []
    assert rest.client("redshift-data").execute_statement(Database="d", Sql="select 1", ClusterIdentifier="c")["Id"]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        rest.client("emr-serverless").get_application(applicationId="0000000000000000")


def test_operations_that_moto_does_not_know_are_refused(rest: Rest) -> None:
    with pytest.raises(ClientError, match="not been implemented") as caught:
        rest.client("ce").list_cost_category_definitions()
    assert caught.value.response["Error"]["Code"] == "NotImplemented"


def test_services_that_nobody_serves_are_refused_by_name(rest: Rest) -> None:
    for service, operation in (("braket", "search_quantum_tasks"), ("codebuild", "list_projects")):
        filters = {"filters": []} if service == "braket" else {}
        with pytest.raises(ClientError, match=f"does not serve '{service}'") as caught:
            getattr(rest.client(service), operation)(**filters)
        assert caught.value.response["Error"]["Code"] == "NotImplemented"


def test_the_emulators_own_addresses_are_closed(rest: Rest) -> None:
    rest.client("s3").create_bucket(Bucket="survivor")
    request = urllib.request.Request(f"{rest.url}/_ministack/reset", method="POST")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=10)
    signed = rest.client("s3")
    signed.meta.events.register("before-sign.s3", lambda request, **_: _aim(request, f"{rest.url}/_ministack/reset"))
    with pytest.raises(ClientError, match="does not serve"):
        signed.list_buckets()
    assert "survivor" in [one["Name"] for one in rest.client("s3").list_buckets()["Buckets"]]


def _aim(request: object, url: str) -> None:
    request.url, request.method = url, "POST"  # type: ignore[attr-defined]


def test_it_listens_where_the_wire_listens_and_nowhere_else(rest: Rest) -> None:
    sockets = set()
    for descriptor in Path(f"/proc/{rest.process.pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(descriptor))
        except FileNotFoundError:
            continue
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{rest.process.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                listening.append(fields[1])
    assert len(listening) == 1
    assert listening[0].startswith("0100007F:")


def test_the_table_names_each_service_once() -> None:
    names = [name for row in TABLE for name in row.names]
    assert len(names) == len(set(names))
    assert all(row.keeps == "nothing" and row.depth is Depth.ANSWERS for row in TABLE if row.server is Emulator.MOTO)
    assert served("ecs") is not None
    assert served("batch") is not None
    assert served("codebuild") is None
    rows = page().splitlines()
    assert len([line for line in rows if line.startswith("| ")]) == len(TABLE) + 1
    assert any(row.startswith("| emr-serverless | moto | answers | nothing | no job runs") for row in rows)
    assert (Path(__file__).parents[3] / "docs" / "services.md").read_text() == page(), "make docs"


def test_filter_log_events_by_the_prefix_of_streams(rest: Rest) -> None:
    logs, now = rest.client("logs"), int(datetime.now(UTC).timestamp() * 1000)
    logs.create_log_group(logGroupName="prefixed")
    for stream in ("task/a/1", "task/a/2", "task/b/1"):
        logs.create_log_stream(logGroupName="prefixed", logStreamName=stream)
        event = {"timestamp": now, "message": stream}
        logs.put_log_events(logGroupName="prefixed", logStreamName=stream, logEvents=[event])

    def found(**request: Any) -> list[str]:
        answer = logs.filter_log_events(logGroupName="prefixed", **request)
        return sorted(event["message"] for event in answer["events"])

    assert found(logStreamNamePrefix="task/a/") == ["task/a/1", "task/a/2"]
    assert found(logStreamNamePrefix="task/a/2", filterPattern="task") == ["task/a/2"]
    assert found(logStreamNamePrefix="nobody/") == []
    assert found(logStreamNames=["task/b/1"]) == ["task/b/1"]
    assert len(found()) == 3
    with pytest.raises(ClientError) as caught:
        found(logStreamNamePrefix="task/", logStreamNames=["task/b/1"])
    assert caught.value.response["Error"]["Code"] == "InvalidParameterException"
    with pytest.raises(ClientError) as caught:
        logs.filter_log_events(logGroupName="nowhere", logStreamNamePrefix="x")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("service", "operation", "request_"),
    [
        ("iam", "get_organizations_access_report", {"JobId": "1" * 36}),
        ("ec2", "describe_transit_gateway_multicast_domains", {}),
        ("kms", "describe_custom_key_stores", {}),
        ("dynamodb", "list_global_tables", {}),
        ("route53", "get_checker_ip_ranges", {}),
        ("eks", "describe_addon_versions", {}),
        ("sesv2", "get_dedicated_ips", {}),
        ("cloudtrail", "list_dashboards", {}),
        ("organizations", "create_organization", {}),
        ("apigatewayv2", "get_vpc_links", {}),
        ("lakeformation", "list_lake_formation_opt_ins", {}),
        ("logs", "list_anomalies", {}),
    ],
)
def test_an_operation_that_nobody_here_has_is_said_to_be_so(
    rest: Rest, service: str, operation: str, request_: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(rest.client(service), operation)(**request_)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("NotImplemented", 501)
    assert caught.value.operation_name in answer["Error"]["Message"]


def test_an_operation_that_aws_does_not_have_is_no_operation(rest: Rest) -> None:
    kms = rest.client("kms")

    def rename(request: Any, **_: Any) -> None:
        del request.headers["X-Amz-Target"]
        request.headers["X-Amz-Target"] = "TrentService.MakeCoffee"

    kms.meta.events.register("before-sign.kms.ListKeys", rename)
    with pytest.raises(ClientError) as caught:
        kms.list_keys()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_role_of_another_account_cannot_be_assumed(rest: Rest) -> None:
    sts = rest.client("sts")
    own = sts.assume_role(RoleArn="arn:aws:iam::000000000000:role/own", RoleSessionName="me")
    assert own["AssumedRoleUser"]["Arn"] == "arn:aws:sts::000000000000:assumed-role/own/me"
    other = "arn:aws:iam::111122223333:role/other"
    with pytest.raises(ClientError, match="assume a role of 000000000000") as caught:
        sts.assume_role(RoleArn=other, RoleSessionName="me")
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("AccessDenied", 403)
    assert f"sts:AssumeRole on resource: {other}" in answer["Error"]["Message"]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.names[0])
def test_a_client_of_another_region_is_told_which_one_to_use(rest: Rest, row: Any) -> None:
    """For every service, also for those that are refused anyway; signed by hand, as boto3 would sign it."""
    signer = SigV4Auth(Credentials(KEY.access_key, KEY.secret), row.names[0], "eu-west-1")
    for headers in ({"Content-Type": "application/x-amz-json-1.1"}, {}):
        request = AWSRequest(
            "POST", f"{rest.url}/", {**headers, "X-Amz-Content-SHA256": hashlib.sha256(b"{}").hexdigest()}, b"{}"
        )
        signer.add_auth(request)
        wanted = urllib.request.Request(f"{rest.url}/", b"{}", dict(request.headers.items()))
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(wanted, timeout=30)
        assert caught.value.code in {400, 403}
        assert "set AWS_REGION=us-east-1" in caught.value.read().decode()
