"""The operation of a call that no provider of ours parses, as faults and people name it."""

from __future__ import annotations

import pytest

from skylift.wire.asgi import Head
from skylift.wire.intercept import operation_of

pytestmark = pytest.mark.unit
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.mark.parametrize(
    ("service", "head", "body", "operation"),
    [
        ("logs", Head("POST", "/", "", {"x-amz-target": "Logs_20140328.PutLogEvents"}), b"{}", "PutLogEvents"),
        ("iam", Head("POST", "/", "", FORM), b"Version=1&Action=GetRole&RoleName=x", "GetRole"),
        ("iam", Head("POST", "/", "", {}), b"Action=GetRole", "POST"),
        ("sts", Head("GET", "/", "Action=GetCallerIdentity&Version=1", {}), b"", "GetCallerIdentity"),
        ("lambda", Head("GET", "/2015-03-31/functions", "", {}), b"", "GET"),
        ("lambda", Head("GET", "/bucket/key", "", {}), b"", "GET"),
        ("s3", Head("GET", "/bucket/some/key", "", {}), b"", "GetObject"),
        ("s3", Head("GET", "/bucket/key", "versionId=1&x-id=GetObject", {}), b"", "GetObject"),
        ("s3", Head("PUT", "/bucket/key", "", {}), b"x", "PutObject"),
        ("s3", Head("HEAD", "/bucket/key", "", {}), b"", "HeadObject"),
        ("s3", Head("DELETE", "/bucket/key", "", {}), b"", "DeleteObject"),
        ("s3", Head("POST", "/bucket/key", "", {}), b"", "POST"),
        ("s3", Head("PUT", "/bucket/key", "partNumber=1&uploadId=u", {}), b"", "PUT"),
        ("s3", Head("GET", "/bucket", "list-type=2&prefix=a", {}), b"", "ListObjectsV2"),
        ("s3", Head("GET", "/bucket/", "list-type=1", {}), b"", "GET"),
        ("s3", Head("PUT", "/bucket", "", {}), b"", "PUT"),
    ],
)
def test_the_operation_of_a_call(service: str, head: Head, body: bytes, operation: str) -> None:
    assert operation_of(service, head, body) == operation
