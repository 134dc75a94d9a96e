"""S3's own rules, by real boto3 and plain HTTP: presigned addresses and forms, parts, keys, new buckets."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError
from tests.local.rest_server import Rest, rest_of_aws

pytestmark = pytest.mark.local
PART = b"p" * (5 << 20)
"""The least that is a part before the last."""


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with rest_of_aws(tmp_path_factory.mktemp("s3") / "rest") as running:
        running.client("s3").create_bucket(Bucket="bucket")
        yield running


def refused(call: Callable[..., Any], *args: Any, **members: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(*args, **members)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_presigned_address_says_how_the_object_is_shown(rest: Rest, version: str) -> None:
    signing = rest.client("s3", signature_version=version)
    s3 = rest.client("s3")
    s3.put_object(Bucket="bucket", Key="a b", Body=b"1,2", ContentType="text/plain", CacheControl="no-store")
    shown = {
        "ResponseContentType": "text/csv",
        "ResponseContentDisposition": 'attachment; filename="a b.csv"',
        "ResponseCacheControl": "max-age=3",
        "ResponseContentLanguage": "de",
        "ResponseContentEncoding": "x-none",
        "ResponseExpires": "Thu, 01 Dec 2033 16:00:00 GMT",
    }
    address = signing.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "a b", **shown})
    with urllib.request.urlopen(address, timeout=30) as answer:
        names = [name.removeprefix("Response") for name in shown]
        headers = {"ContentType": "Content-Type", "CacheControl": "Cache-Control", "Expires": "Expires"}
        told = [answer.headers[headers.get(name, name.replace("Content", "Content-"))] for name in names]
        assert told == list(shown.values())
        assert answer.read() == b"1,2"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(address.replace("text%2Fcsv", "text%2Fhtml"), timeout=30)


def post(url: str, fields: Mapping[str, str], content: bytes, name: str = "n.txt") -> tuple[int, Any, str]:
    """Status, headers and error code (or whole body) of a form that is sent as browsers do."""
    parts = [f'--xx\r\nContent-Disposition: form-data; name="{one}"\r\n\r\n{fields[one]}\r\n' for one in fields]
    file = f'--xx\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/x\r\n\r\n'
    body = "".join([*parts, file]).encode() + content + b"\r\n--xx--\r\n"
    request = urllib.request.Request(url, body, {"content-type": "multipart/form-data; boundary=xx"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, ElementTree.fromstring(error.read()).findtext("Code") or ""


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_form_uploads_what_its_policy_allows(rest: Rest, version: str) -> None:
    signing = rest.client("s3", signature_version=version)
    s3 = rest.client("s3")
    conditions = [["content-length-range", 2, 10], ["starts-with", "$x-amz-meta-who", "an"], {"acl": "private"}]
    form = signing.generate_presigned_post(
        "bucket", "up/${filename}", Fields={"acl": "private"}, Conditions=conditions, ExpiresIn=60
    )
    fields = {**form["fields"], "x-amz-meta-who": "anna"}
    status, headers, _ = post(form["url"], fields, b"12345", f"{version}.txt")
    assert (status, headers["Location"]) == (204, f"{rest.url}/bucket/up/{version}.txt")
    found = s3.get_object(Bucket="bucket", Key=f"up/{version}.txt")
    assert (found["Body"].read(), found["Metadata"], found["ContentType"]) == (b"12345", {"who": "anna"}, "text/x")

    assert post(form["url"], fields, b"1")[::2] == (400, "EntityTooSmall")
    assert post(form["url"], fields, b"1" * 11)[::2] == (400, "EntityTooLarge")
    wrong = {"x-amz-meta-who": "bob"}, {"acl": "public-read"}, {"key": "elsewhere"}, {"x-amz-meta-more": "1"}
    for change in wrong:
        assert post(form["url"], {**fields, **change}, b"12345")[::2] == (403, "AccessDenied"), change
    policy = json.loads(base64.b64decode(fields["policy"]))
    wider = base64.b64encode(json.dumps({**policy, "conditions": []}).encode()).decode()
    assert post(form["url"], {**fields, "policy": wider}, b"12345")[::2] == (403, "SignatureDoesNotMatch")
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket", Prefix="elsewhere")


def test_a_form_that_is_late_or_nobodys_uploads_nothing(rest: Rest) -> None:
    s3 = rest.client("s3", signature_version="s3v4")
    late = s3.generate_presigned_post("bucket", "late", ExpiresIn=-5)
    assert post(late["url"], late["fields"], b"x")[::2] == (403, "AccessDenied")
    other = rest.client("s3", key="AKIAUNKNOWN", signature_version="s3v4").generate_presigned_post("bucket", "late")
    assert post(other["url"], other["fields"], b"x")[::2] == (403, "InvalidAccessKeyId")
    assert post(f"{rest.url}/bucket", {"key": "late"}, b"x")[::2] == (403, "AccessDenied")
    long = s3.generate_presigned_post("bucket", "k" * 1025)
    assert post(long["url"], long["fields"], b"x")[::2] == (400, "KeyTooLongError")
    after = s3.generate_presigned_post("bucket", "late", Fields={"success_action_status": "201"}, Conditions=[])
    assert post(after["url"], after["fields"], b"x")[::2] == (403, "AccessDenied"), "a field that no condition covers"
    assert refused(s3.head_object, Bucket="bucket", Key="late")[1] == 404


def test_a_form_may_ask_for_the_answer_it_wants(rest: Rest) -> None:
    s3 = rest.client("s3", signature_version="s3v4")
    answer = {"success_action_status": "201"}
    form = s3.generate_presigned_post("bucket", "big", Fields=answer, Conditions=[answer])
    status, _, body = post(form["url"], form["fields"], PART + b"end")
    assert status == 201
    assert ElementTree.fromstring(body).findtext("Location") == f"{rest.url}/bucket/big"
    assert s3.head_object(Bucket="bucket", Key="big")["ContentLength"] == len(PART) + 3


def upload(s3: Any, key: str, parts: Mapping[int, bytes], bucket: str = "bucket") -> tuple[str, list[dict[str, Any]]]:
    """A multipart upload that is not completed: its id, and what completes it."""
    begun = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    place = {"Bucket": bucket, "Key": key, "UploadId": begun}
    etags = {number: s3.upload_part(**place, PartNumber=number, Body=body)["ETag"] for number, body in parts.items()}
    return begun, [{"PartNumber": number, "ETag": etag} for number, etag in etags.items()]


def test_what_completes_an_upload(rest: Rest) -> None:
    s3 = rest.client("s3")
    begun, (first, second) = upload(s3, "whole", {1: PART, 7: b"end"})

    def complete(*parts: dict[str, Any]) -> Any:
        named = {"Parts": list(parts)}
        return s3.complete_multipart_upload(Bucket="bucket", Key="whole", UploadId=begun, MultipartUpload=named)

    assert refused(complete, second, first) == ("InvalidPartOrder", 400)
    assert refused(complete, first, first) == ("InvalidPartOrder", 400)
    assert refused(complete, first, {**second, "ETag": first["ETag"]}) == ("InvalidPart", 400)
    assert refused(complete, first, {**second, "PartNumber": 8}) == ("InvalidPart", 400)
    assert refused(complete) == ("MalformedXML", 400)
    assert complete(first, second)["ETag"].endswith('-2"')
    assert complete(first, second)["ETag"].endswith('-2"'), "asked again"
    small, parts = upload(s3, "small", {1: b"a", 2: b"b"})
    with pytest.raises(ClientError, match="smaller than the minimum") as caught:
        s3.complete_multipart_upload(Bucket="bucket", Key="small", UploadId=small, MultipartUpload={"Parts": parts})
    error = caught.value.response["Error"]
    told = error["Code"], error["ProposedSize"], error["MinSizeAllowed"], error["PartNumber"]
    assert told == ("EntityTooSmall", "1", "5242880", "1")
    place = {"Bucket": "bucket", "Key": "small", "UploadId": small}
    for number in (0, 10_001):
        assert refused(s3.upload_part, **place, PartNumber=number, Body=b"") == ("InvalidArgument", 400)
        copied = {"PartNumber": number, "CopySource": "bucket/whole"}
        assert refused(s3.upload_part_copy, **place, **copied) == ("InvalidArgument", 400)
    s3.abort_multipart_upload(**place)
    assert refused(s3.list_parts, **place) == ("NoSuchUpload", 404)


def test_parts_can_be_read_alone_even_after_a_restart(tmp_path: Path) -> None:
    def look(s3: Any, **which: str) -> None:
        place = {"Bucket": "kept", "Key": "whole", **which}
        head = s3.head_object(**place, PartNumber=3)
        assert (head["PartsCount"], head["ContentLength"]) == (2, 3)
        assert "PartsCount" not in s3.head_object(**place)
        first, last = (s3.get_object(**place, PartNumber=number) for number in (1, 3))
        assert (first["ContentLength"], last["Body"].read(), last["PartsCount"]) == (len(PART), b"end", 2)
        assert last["ContentRange"] == f"bytes {len(PART)}-{len(PART) + 2}/{len(PART) + 3}"
        for wrong in (2, 4, 10_000):
            assert refused(s3.get_object, **place, PartNumber=wrong) == ("InvalidPartNumber", 416)
        assert refused(s3.get_object, **place, PartNumber=0) == ("InvalidArgument", 400)
        assert refused(s3.get_object, **place, PartNumber=1, Range="bytes=0-1") == ("InvalidRequest", 400)
        assert s3.get_object(**place, Range=f"bytes={len(PART)}-")["Body"].read() == b"end"

    with rest_of_aws(tmp_path) as before:
        s3 = before.client("s3")
        s3.create_bucket(Bucket="kept")
        begun, parts = upload(s3, "whole", {1: PART, 3: b"end"}, "kept")
        s3.complete_multipart_upload(Bucket="kept", Key="whole", UploadId=begun, MultipartUpload={"Parts": parts})
        s3.put_object(Bucket="kept", Key="plain", Body=b"12345")
        look(s3)
        before.kill()
    with rest_of_aws(tmp_path) as after:
        s3 = after.client("s3")
        look(s3)
        assert s3.get_object(Bucket="kept", Key="plain", PartNumber=1)["ContentRange"] == "bytes 0-4/5"
        assert refused(s3.head_object, Bucket="kept", Key="plain", PartNumber=2)[1] == 416
        s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
        s3.put_object(Bucket="kept", Key="whole", Body=b"new")
        look(s3, VersionId="null")


def test_a_key_has_at_most_1024_bytes(rest: Rest) -> None:
    s3 = rest.client("s3")
    s3.put_object(Bucket="bucket", Key="k" * 1024, Body=b"1")
    s3.put_object(Bucket="bucket", Key="€" * 341, Body=b"1")
    too_long = "€" * 342
    assert refused(s3.put_object, Bucket="bucket", Key=too_long, Body=b"1") == ("KeyTooLongError", 400)
    source = {"Bucket": "bucket", "Key": "k" * 1024}
    assert refused(s3.copy_object, Bucket="bucket", Key=too_long, CopySource=source) == ("KeyTooLongError", 400)
    assert refused(s3.create_multipart_upload, Bucket="bucket", Key="k" * 1025) == ("KeyTooLongError", 400)
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="bucket", Key="k" * 1025)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Size"], error["MaxSizeAllowed"]) == ("KeyTooLongError", "1025", "1024")


def test_a_new_bucket_is_closed_to_the_public(rest: Rest) -> None:
    s3 = rest.client("s3")
    s3.create_bucket(Bucket="closed")
    block = s3.get_public_access_block(Bucket="closed")["PublicAccessBlockConfiguration"]
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    assert block == dict.fromkeys(names, True)
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::closed/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    assert refused(s3.put_bucket_policy, Bucket="closed", Policy=policy) == ("AccessDenied", 403)
    s3.delete_public_access_block(Bucket="closed")
    assert refused(s3.get_public_access_block, Bucket="closed") == ("NoSuchPublicAccessBlockConfiguration", 404)
    s3.put_bucket_policy(Bucket="closed", Policy=policy)
