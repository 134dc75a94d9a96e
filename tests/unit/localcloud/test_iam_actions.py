"""What calls need in IAM: actions, resources and keys, by the Service Authorization Reference."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.localcloud.iam.actions.call import ApiCall, Lookups, Need, general_of
from skylift.localcloud.iam.actions.s3 import bucket_in_host, s3_needs
from skylift.localcloud.iam.actions.table import needs_of
from skylift.localcloud.iam.observed import MOST_RESOURCES, ObservedCalls, least_policy
from skylift.localcloud.ports import Document
from skylift.wire.asgi import Head

pytestmark = pytest.mark.unit

ACCOUNT, REGION = "111122223333", "eu-west-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


class Known(Lookups):
    """One of each."""

    def task_definition(self, reference: str) -> Document:
        return {"taskDefinitionArn": arn("ecs", "task-definition/work:3"), "taskRoleArn": ROLE} if reference else {}

    def job_definition(self, reference: str) -> Document:
        return {"jobDefinitionArn": arn("batch", "job-definition/work:7")} if reference == "work" else {}

    def secret(self, reference: str, region: str) -> str:
        return arn("secretsmanager", "secret:s-AbCdEf") if reference == "s" and region else ""

    def entity(self, kind: str, name: str) -> str:
        return f"arn:aws:iam::{ACCOUNT}:{kind}/path/{name}" if name == "known" else ""


def needs(service: str, operation: str, **members: Any) -> list[tuple[str, str]]:
    found = needs_of(ApiCall(service, operation, members, ACCOUNT, REGION, Known()))
    return [(one.action, one.resource) for one in found]


@pytest.mark.parametrize(
    ("service", "operation", "members", "expected"),
    [
        ("ecs", "RunTask", {"taskDefinition": "work"}, [
            ("ecs:RunTask", arn("ecs", "task-definition/work:3")), ("iam:PassRole", ROLE)]),
        ("ecs", "StopTask", {"cluster": arn("ecs", "cluster/c"), "task": "1"}, [("ecs:StopTask", arn("ecs", "task/c/1"))]),
        ("ecs", "DescribeTasks", {"tasks": ["1", "2"]}, [
            ("ecs:DescribeTasks", arn("ecs", "task/default/1")), ("ecs:DescribeTasks", arn("ecs", "task/default/2"))]),
        ("ecs", "DescribeTaskDefinition", {"taskDefinition": "work"}, [("ecs:DescribeTaskDefinition", "*")]),
        ("ecs", "UpdateTaskProtection", {"cluster": "c", "tasks": ["1"]}, [
            ("ecs:UpdateTaskProtection", arn("ecs", "task/c/1"))]),
        ("batch", "SubmitJob", {"jobDefinition": "work", "jobQueue": "q", "tags": {"a": "b"}}, [
            ("batch:SubmitJob", arn("batch", "job-definition/work:7")), ("batch:SubmitJob", arn("batch", "job-queue/q")),
            ("batch:TagResource", arn("batch", "job/*"))]),
        ("batch", "TerminateJob", {"jobId": "1-2:5"}, [("batch:TerminateJob", arn("batch", "job/1-2"))]),
        ("batch", "DescribeJobs", {"jobs": ["1"]}, [("batch:DescribeJobs", "*")]),
        ("batch", "RegisterJobDefinition", {"jobDefinitionName": "w", "containerProperties": {"jobRoleArn": ROLE}}, [
            ("batch:RegisterJobDefinition", arn("batch", "job-definition/w")), ("iam:PassRole", ROLE)]),
        ("airflow", "CreateEnvironment", {"Name": "e", "ExecutionRoleArn": ROLE}, [
            ("airflow:CreateEnvironment", arn("airflow", "environment/e")), ("iam:PassRole", ROLE)]),
        ("logs", "PutLogEvents", {"logGroupName": "/a", "logStreamName": "b/c"}, [
            ("logs:PutLogEvents", arn("logs", "log-group:/a:log-stream:b/c"))]),
        ("logs", "DescribeLogStreams", {"logGroupName": "/a"}, [("logs:DescribeLogStreams", arn("logs", "log-group:/a:*"))]),
        ("logs", "DescribeQueries", {}, [("logs:DescribeQueries", "")]),
        ("sqs", "DeleteMessageBatch", {"QueueUrl": "http://127.0.0.1:1/1/q"}, [("sqs:DeleteMessage", arn("sqs", "q"))]),
        ("secretsmanager", "GetSecretValue", {"SecretId": "s"}, [
            ("secretsmanager:GetSecretValue", arn("secretsmanager", "secret:s-AbCdEf"))]),
        ("secretsmanager", "GetSecretValue", {"SecretId": "no"}, [
            ("secretsmanager:GetSecretValue", arn("secretsmanager", "secret:no-??????"))]),
        ("events", "PutTargets", {"Rule": "r", "EventBusName": "b", "Targets": [{"RoleArn": ROLE}]}, [
            ("events:PutTargets", arn("events", "rule/b/r")), ("iam:PassRole", ROLE)]),
        ("iam", "GetRole", {"RoleName": "known"}, [("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/path/known")]),
        ("iam", "CreateRole", {"RoleName": "n", "Path": "/a/"}, [("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/a/n")]),
        ("sts", "GetCallerIdentity", {}, []),
        ("sts", "AssumeRole", {"RoleArn": ROLE, "Tags.member.1.Key": "a"}, [
            ("sts:AssumeRole", ROLE), ("sts:TagSession", ROLE)]),
        ("ec2", "DescribeVpcs", {}, [("ec2:DescribeVpcs", "*")]),
        ("monitoring", "PutMetricData", {}, [("cloudwatch:PutMetricData", "")]),
    ],
)  # fmt: skip
def test_what_an_operation_needs(service: str, operation: str, members: dict[str, Any], expected: Any) -> None:
    assert needs(service, operation, **members) == expected


def s3(method: str, target: str, body: bytes = b"", **headers: str) -> list[tuple[str, str]]:
    path, _, query = target.partition("?")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return [(one.action, one.resource) for one in s3_needs(Head(method, path, query, named), body, REGION)]


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/", [("s3:ListAllMyBuckets", "*")]),
        ("GET", "/b?list-type=2&prefix=x", [("s3:ListBucket", "arn:aws:s3:::b")]),
        ("HEAD", "/b/", [("s3:ListBucket", "arn:aws:s3:::b")]),
        ("PUT", "/b", [("s3:CreateBucket", "arn:aws:s3:::b")]),
        ("GET", "/b?versions", [("s3:ListBucketVersions", "arn:aws:s3:::b")]),
        ("DELETE", "/b?lifecycle", [("s3:PutLifecycleConfiguration", "arn:aws:s3:::b")]),
        ("DELETE", "/b?policy", [("s3:DeleteBucketPolicy", "arn:aws:s3:::b")]),
        ("HEAD", "/b/a%20b/c", [("s3:GetObject", "arn:aws:s3:::b/a b/c")]),
        ("GET", "/b/k?versionId=1", [("s3:GetObjectVersion", "arn:aws:s3:::b/k")]),
        ("PUT", "/b/k?partNumber=1&uploadId=u", [("s3:PutObject", "arn:aws:s3:::b/k")]),
        ("DELETE", "/b/k?uploadId=u", [("s3:AbortMultipartUpload", "arn:aws:s3:::b/k")]),
        ("GET", "/b/k?tagging&versionId=1", [("s3:GetObjectVersionTagging", "arn:aws:s3:::b/k")]),
        (
            "GET",
            "/b/k?attributes",
            [("s3:GetObjectAttributes", "arn:aws:s3:::b/k"), ("s3:GetObject", "arn:aws:s3:::b/k")],
        ),
    ],
)
def test_what_s3_needs(method: str, target: str, expected: Any) -> None:
    assert s3(method, target) == expected


def test_what_stands_in_headers_body_and_host() -> None:
    copied = s3("PUT", "/b/k", x_amz_copy_source="/from/a%2Fb?versionId=2", x_amz_tagging="a=b")
    assert copied == [
        ("s3:PutObject", "arn:aws:s3:::b/k"),
        ("s3:GetObjectVersion", "arn:aws:s3:::from/a/b"),
        ("s3:PutObjectTagging", "arn:aws:s3:::b/k"),
    ]
    body = b"<Delete><Object><Key>a</Key></Object><Object><Key>b</Key><VersionId>1</VersionId></Object></Delete>"
    assert s3("POST", "/b?delete", body) == [
        ("s3:DeleteObject", "arn:aws:s3:::b/a"),
        ("s3:DeleteObjectVersion", "arn:aws:s3:::b/b"),
    ]
    form = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {"key": "up/${filename}", "acl": "private", "x-amz-tagging": "a=b"}.items()
    )
    form += '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n...'
    assert s3("POST", "/b", form.encode(), content_type="multipart/form-data; boundary=x") == [
        ("s3:PutObject", "arn:aws:s3:::b/up/f"),
        ("s3:PutObjectTagging", "arn:aws:s3:::b/up/f"),
        ("s3:PutObjectAcl", "arn:aws:s3:::b/up/f"),
    ]
    assert s3("GET", "/k", host="pail.s3.eu-west-1.amazonaws.com") == [("s3:GetObject", "arn:aws:s3:::pail/k")]
    assert bucket_in_host(Head("GET", "/", "", {"host": "pail.localhost:4747"})) == "pail"
    assert bucket_in_host(Head("GET", "/", "", {"host": "127.0.0.1:4747"})) == ""


@pytest.mark.parametrize(
    ("resource", "general"),
    [
        (arn("ecs", "task/c/1"), arn("ecs", "task/c/*")),
        (arn("ecs", "task-definition/f:3"), arn("ecs", "task-definition/f:*")),
        (arn("batch", "job/1"), arn("batch", "job/*")),
        (arn("batch", "job-definition/f:3"), arn("batch", "job-definition/f:*")),
        (arn("logs", "log-group:/a:log-stream:b:c"), arn("logs", "log-group:/a:*")),
        ("arn:aws:s3:::b/k", ""),
        ("*", ""),
    ],
)
def test_what_a_policy_names_instead(resource: str, general: str) -> None:
    assert general_of(resource) == general


def test_what_is_seen_is_bounded_and_still_covered() -> None:
    seen = ObservedCalls(lambda: 5.0)
    for folder in range(30):
        for number in range(30):
            seen.record("p", Need("s3:GetObject", f"arn:aws:s3:::b/f{folder}/{number}"))
    found = seen.since()
    assert len(found) <= MOST_RESOURCES + 1
    (statement,) = least_policy(found)["Statement"]
    named = statement["Resource"]
    for folder in range(30):
        assert any(f"arn:aws:s3:::b/f{folder}/7".startswith(one.removesuffix("*")) for one in named), folder
    assert seen.since(6.0) == []
    assert seen.since(principal="q") == []


def test_actions_with_the_same_resources_share_a_statement() -> None:
    seen = ObservedCalls(lambda: 5.0)
    for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage"):
        seen.record("p", Need(action, "arn:aws:sqs:us-east-1:1:q"))
    seen.record("p", Need("s3:ListAllMyBuckets"))
    assert least_policy(seen.since())["Statement"] == [
        {"Effect": "Allow", "Action": ["s3:ListAllMyBuckets"], "Resource": ["*"]},
        {
            "Effect": "Allow",
            "Action": ["sqs:DeleteMessage", "sqs:ReceiveMessage"],
            "Resource": ["arn:aws:sqs:us-east-1:1:q"],
        },
    ]


def test_certificates_are_judged_by_their_arn() -> None:
    arn = "arn:aws:acm:us-east-1:000000000000:certificate/1"
    for operation in ("DescribeCertificate", "DeleteCertificate", "ImportCertificate"):
        assert needs("acm", operation, CertificateArn=arn) == [(f"acm:{operation}", arn)]
    assert needs("acm", "RequestCertificate", DomainName="a.b") == [("acm:RequestCertificate", "*")]
