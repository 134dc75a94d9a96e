"""S3 for the control plane: what does not exist, and what these credentials cannot see."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.stub import Stubber

from skylift.aws.s3 import S3
from skylift.core.errors import Unavailable

pytestmark = pytest.mark.unit


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> S3:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    return S3("us-east-1")


def refusing(s3: S3, *answers: tuple[str, str, int]) -> Stubber:
    client: Any = s3._s3
    stubber = Stubber(client)
    for operation, code, status in answers:
        stubber.add_client_error(operation, code, http_status_code=status)
    stubber.activate()
    return stubber


def test_an_expired_token_is_no_missing_bucket_and_no_missing_file(s3: S3) -> None:
    expired = ("get_object", "ExpiredToken", 400)
    refusing(s3, ("head_bucket", "400", 400), ("head_object", "400", 400), ("head_object", "400", 400), expired)
    with pytest.raises(Unavailable):
        s3.bucket_exists("bucket")
    with pytest.raises(Unavailable):
        s3.find("bucket", "key")
    with pytest.raises(Unavailable, match="ExpiredToken"):
        s3.find("bucket", "key", "version")


@pytest.mark.parametrize("code", ["InvalidArgument", "NoSuchVersion"])
def test_a_version_that_s3_cannot_parse_is_not_there(s3: S3, code: str) -> None:
    stubber = refusing(s3, ("head_object", "400", 400), ("get_object", code, 400))
    assert s3.find("bucket", "key", "no version") is None
    stubber.assert_no_pending_responses()


def test_what_is_not_there_is_not_there(s3: S3) -> None:
    refusing(s3, ("head_bucket", "404", 404), ("head_object", "404", 404))
    assert not s3.bucket_exists("bucket")
    assert s3.find("bucket", "key") is None
