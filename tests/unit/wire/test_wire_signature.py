"""Signatures against AWS's own published examples, then every way in which one can be wrong."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.unit.whole_answers import compared

from skylift.core.clock import ManualClock
from skylift.wire.asgi import Head
from skylift.wire.errors import AwsError
from skylift.wire.refusals import Dialect, SignatureFault, refusal
from skylift.wire.signing.authenticator import Authenticator, dialect_of
from skylift.wire.signing.keys import Key, StaticKeys
from skylift.wire.signing.signature import Incomplete, is_signed_by, read_claim

pytestmark = pytest.mark.unit

EMPTY = hashlib.sha256(b"").hexdigest()
ACCOUNT, REGION = "000000000000", "us-east-1"
ADMIN = "arn:aws:iam::000000000000:user/admin"
S3_KEY, S3_SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SUITE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def authorization(key: str, scope: str, headers: str, signature: str) -> str:
    return f"AWS4-HMAC-SHA256 Credential={key}/{scope}/aws4_request, SignedHeaders={headers}, Signature={signature}"


S3_HOST = "examplebucket.s3.amazonaws.com"
S3_SCOPE = "20130524/us-east-1/s3"
S3_DATE = "20130524T000000Z"
SUITE_SCOPE = "20150830/us-east-1/service"
SUITE_HEADERS = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}


def suite(signature: str) -> dict[str, str]:
    return SUITE_HEADERS | {"authorization": authorization("AKIDEXAMPLE", SUITE_SCOPE, "host;x-amz-date", signature)}


PUBLISHED = {
    "suite: get-vanilla": (
        SUITE_SECRET,
        Head("GET", "/", "", suite("5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")),
        EMPTY,
    ),
    "suite: get-vanilla-query-order-key-case": (
        SUITE_SECRET,
        Head(
            "GET",
            "/",
            "Param2=value2&Param1=value1",
            suite("b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ),
        EMPTY,
    ),
    "S3 guide: get object": (
        S3_SECRET,
        Head(
            "GET",
            "/test.txt",
            "",
            {
                "host": S3_HOST,
                "range": "bytes=0-9",
                "x-amz-content-sha256": EMPTY,
                "x-amz-date": S3_DATE,
                "authorization": authorization(
                    S3_KEY,
                    S3_SCOPE,
                    "host;range;x-amz-content-sha256;x-amz-date",
                    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
                ),
            },
        ),
        EMPTY,
    ),
    "S3 guide: put object": (
        S3_SECRET,
        Head(
            "PUT",
            "/test%24file.text",
            "",
            {
                "host": S3_HOST,
                "date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
                "x-amz-date": S3_DATE,
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
                "authorization": authorization(
                    S3_KEY,
                    S3_SCOPE,
                    "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
                ),
            },
        ),
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    ),
    "S3 guide: get bucket lifecycle": (
        S3_SECRET,
        Head(
            "GET",
            "/",
            "lifecycle",
            {
                "host": S3_HOST,
                "x-amz-content-sha256": EMPTY,
                "x-amz-date": S3_DATE,
                "authorization": authorization(
                    S3_KEY,
                    S3_SCOPE,
                    "host;x-amz-content-sha256;x-amz-date",
                    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
                ),
            },
        ),
        EMPTY,
    ),
    "S3 guide: presigned get": (
        S3_SECRET,
        Head(
            "GET",
            "/test.txt",
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={S3_KEY}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
            f"&X-Amz-Date={S3_DATE}&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
            "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
            {"host": S3_HOST},
        ),
        "UNSIGNED-PAYLOAD",
    ),
}


@pytest.mark.parametrize(("secret", "head", "payload"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_examples(secret: str, head: Head, payload: str) -> None:
    claim = read_claim(head)
    assert claim is not None
    assert is_signed_by(secret, claim, head, payload)
    assert not is_signed_by(secret + "x", claim, head, payload)
    assert not is_signed_by(secret, claim, replace(head, path=head.path + "x"), payload)
    assert not is_signed_by(secret, claim, head, "0" * 64)


KEY = Key("AKIDEXAMPLE", "a secret", ADMIN)
SESSION = Key("ASIAEXAMPLE", "another secret", ADMIN, session_token="a/token+with=signs", expires=None)


def signed(
    signer: str = "header",
    service: str = "ecs",
    url: str = "http://h/",
    key: Key = KEY,
    region: str = "us-east-1",
    **more: object,
) -> Head:
    """A request signed by botocore, as we receive it."""
    body = more.get("body", b"")
    request = AWSRequest("POST" if body else "GET", url, headers=dict(more.get("headers", {})), data=body)  # type: ignore[call-overload]
    credentials = Credentials(key.access_key, key.secret, key.session_token or None)
    if signer == "header":
        (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, region).add_auth(request)
    elif signer == "url":
        kind = S3SigV4QueryAuth if service == "s3" else SigV4QueryAuth
        kind(credentials, service, region, expires=600).add_auth(request)
    else:
        HmacV1QueryAuth(credentials, 600).add_auth(request)
    parts = urlsplit(request.url)
    headers = {name.lower(): value for name, value in request.headers.items()} | {"host": "h"}
    return Head(request.method, parts.path, parts.query, headers)


def authenticator(head: Head, later: float = 0.0) -> Authenticator:
    claim = read_claim(head)
    expires = next((piece for piece in head.query.split("&") if piece.startswith("Expires=")), "Expires=0")
    start = claim.signed_at if claim else float(expires.removeprefix("Expires=")) - 600
    return Authenticator(StaticKeys([KEY, SESSION]), ACCOUNT, REGION, ManualClock(start + later))


GOOD = {
    "header": signed(),
    "header, session": signed(key=SESSION),
    "header, odd path": signed(url="http://h/a%2Fb//c/../d%20e"),
    "header, odd query": signed(url="http://h/?b=2&a=%2F%20x&a=1&c"),
    "header, S3": signed(service="s3", url="http://h/b/k%20x//y/../z%2B"),
    "header, spaces in a header": signed(headers={"x-amz-meta-a": "  a   b  "}),
    "url, S3": signed("url", "s3", "http://h/b/k?versionId=3"),
    "url, S3, session": signed("url", "s3", "http://h/b/k", key=SESSION),
    "url, STS": signed("url", "sts", "http://h/?Action=GetCallerIdentity&Version=2011-06-15"),
    "version 2 url": signed("url2", "s3", "http://h/b/k%20x"),
    "version 2 url, session": signed("url2", "s3", "http://h/b/k?versionId=x%2Fy&response-content-type=a", key=SESSION),
}


@pytest.mark.parametrize("head", GOOD.values(), ids=GOOD)
def test_what_botocore_signs_is_admitted(head: Head) -> None:
    signed_request = authenticator(head).admit(head, lambda _: Dialect.S3)
    signed_request.prove(EMPTY)
    assert signed_request.caller.principal == ADMIN


@pytest.mark.parametrize("head", GOOD.values(), ids=GOOD)
def test_a_changed_request_is_refused(head: Head) -> None:
    changed = [
        replace(head, method="PUT"),
        replace(head, path=head.path + "x"),
        replace(head, query=head.query + ("&versionId=other" if head.query else "versionId=other")),
        replace(head, headers=dict(head.headers) | {"x-amz-copy-source": "b/other"}),
    ]
    if "AWSAccessKeyId" not in head.query:  # version 2 does not sign the host
        changed.append(replace(head, headers=dict(head.headers) | {"host": "other"}))
    for number, other in enumerate(changed):
        with pytest.raises(AwsError) as refused:
            authenticator(other).admit(other, lambda _: Dialect.S3).prove(EMPTY)
        assert refused.value.status == 403, number


def without(head: Head, name: str) -> Head:
    return replace(head, headers={key: value for key, value in head.headers.items() if key != name})


def with_header(head: Head, **headers: str) -> Head:
    return replace(
        head, headers=dict(head.headers) | {name.replace("_", "-"): value for name, value in headers.items()}
    )


JSON = {"headers": {"x-amz-target": "T.Op"}, "body": b"{}"}
FORM = {"headers": {"content-type": "application/x-www-form-urlencoded"}, "body": b"Action=A"}
UNKNOWN = Key("AKIDUNKNOWN", "s", ADMIN)
WRONG = replace(KEY, secret="wrong")
STALE = replace(SESSION, session_token="stale")
MINUTE = 60.0

REFUSED = {
    "json unsigned": (without(signed(**JSON), "authorization"), 0, "MissingAuthenticationTokenException", 403),
    "query unsigned": (without(signed(**FORM), "authorization"), 0, "MissingAuthenticationToken", 403),
    "s3 unsigned": (Head("GET", "/b/k", "", {"host": "h"}), 0, "AccessDenied", 403),
    "json unknown key": (signed(key=UNKNOWN, **JSON), 0, "UnrecognizedClientException", 403),
    "query unknown key": (signed(key=UNKNOWN, **FORM), 0, "InvalidClientTokenId", 403),
    "s3 unknown key": (signed(service="s3", key=UNKNOWN), 0, "InvalidAccessKeyId", 403),
    "wrong session token": (signed(key=STALE), 0, "UnrecognizedClientException", 403),
    "json wrong secret": (signed(key=WRONG, **JSON), 0, "InvalidSignatureException", 403),
    "query wrong secret": (signed(key=WRONG, **FORM), 0, "SignatureDoesNotMatch", 403),
    "s3 wrong secret": (signed(service="s3", key=WRONG), 0, "SignatureDoesNotMatch", 403),
    "s3 url wrong secret": (signed("url", "s3", key=WRONG), 0, "SignatureDoesNotMatch", 403),
    "s3 url 2 wrong secret": (signed("url2", "s3", key=WRONG), 0, "SignatureDoesNotMatch", 403),
    "json too old": (signed(**JSON), 16 * MINUTE, "InvalidSignatureException", 403),
    "query too old": (signed(**FORM), 16 * MINUTE, "SignatureDoesNotMatch", 403),
    "s3 too old": (signed(service="s3"), 16 * MINUTE, "RequestTimeTooSkewed", 403),
    "s3 too new": (signed(service="s3"), -16 * MINUTE, "RequestTimeTooSkewed", 403),
    "s3 url expired": (signed("url", "s3"), 11 * MINUTE, "AccessDenied", 403),
    "s3 url from the future": (signed("url", "s3"), -16 * MINUTE, "RequestTimeTooSkewed", 403),
    "s3 url 2 expired": (signed("url2", "s3"), 11 * MINUTE, "AccessDenied", 403),
    "query url expired": (signed("url", "sts", "http://h/?Action=A"), 11 * MINUTE, "RequestExpired", 400),
    "s3 without payload hash": (
        without(signed(service="s3"), "x-amz-content-sha256"), 0, "AuthorizationHeaderMalformed", 400,
    ),
    "unsigned payload where it may not be": (
        with_header(signed(), x_amz_content_sha256="UNSIGNED-PAYLOAD"), 0, "IncompleteSignatureException", 400,
    ),
    "another scheme": (with_header(signed(**JSON), authorization="Bearer x"), 0, "IncompleteSignatureException", 400),
    "no words": (with_header(signed(**JSON), authorization="AWS4-HMAC-SHA256 x"), 0, "IncompleteSignatureException", 400),
    "no date": (without(signed(**JSON), "x-amz-date"), 0, "IncompleteSignatureException", 400),
    "a date that is none": (with_header(signed(**JSON), x_amz_date="20261399T999999Z"), 0, "IncompleteSignatureException", 400),
    "json unsigned header": (with_header(signed(**JSON), x_amz_other="1"), 0, "InvalidSignatureException", 403),
}  # fmt: skip


@pytest.mark.parametrize(("head", "later", "code", "status"), REFUSED.values(), ids=REFUSED)
def test_refused_in_the_services_own_words(head: Head, later: float, code: str, status: int) -> None:
    digest = hashlib.sha256(b"{}" if "x-amz-target" in head.headers else b"Action=A").hexdigest()
    try:
        read_claim(head)
        keeper = authenticator(head, later)
    except Incomplete:  # the signature cannot be read, so there is no time in it to set the clock by
        keeper = Authenticator(StaticKeys([KEY]), ACCOUNT, REGION, ManualClock())
    with pytest.raises(AwsError) as refused:
        keeper.admit(head, lambda head: dialect_of(head, None)).prove(digest)
    assert (refused.value.code, refused.value.status) == (code, status)
    assert refused.value.message
    for secret in (KEY.secret, SESSION.secret, SESSION.session_token):
        assert secret not in refused.value.message


def test_a_body_must_be_the_signed_one() -> None:
    for head, code in (
        (signed(service="s3", body=b"abc"), "XAmzContentSHA256Mismatch"),
        (signed(**JSON), "InvalidSignatureException"),
    ):
        signed_request = authenticator(head).admit(head, lambda _: Dialect.S3)
        with pytest.raises(AwsError) as refused:
            signed_request.prove(hashlib.sha256(b"abd").hexdigest())
        assert refused.value.code == code


def test_an_expired_session_is_refused() -> None:
    head = signed(key=SESSION, **JSON)
    claim = read_claim(head)
    assert claim is not None
    keys = StaticKeys([replace(SESSION, expires=claim.signed_at + 60)])
    Authenticator(keys, ACCOUNT, REGION, ManualClock(claim.signed_at + 59)).admit(head, lambda _: Dialect.JSON)
    with pytest.raises(AwsError, match="ExpiredTokenException"):
        Authenticator(keys, ACCOUNT, REGION, ManualClock(claim.signed_at + 61)).admit(head, lambda _: Dialect.JSON)


class S3Word(S3SigV4Auth):
    """Signs the word that the request has already, as SDKs do for streams."""

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        self._set_necessary_date_headers(request)


def test_s3_may_sign_no_payload_or_a_stream() -> None:
    for word in ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
        request = AWSRequest("PUT", "http://h/b/k", headers={"X-Amz-Content-SHA256": word}, data=b"abc")
        S3Word(Credentials(KEY.access_key, KEY.secret), "s3", "us-east-1").add_auth(request)
        headers = {name.lower(): value for name, value in request.headers.items()} | {"host": "h"}
        head = Head("PUT", "/b/k", "", headers)
        signed_request = authenticator(head).admit(head, lambda _: Dialect.S3)
        assert signed_request.proven
        assert signed_request.digest is None


@pytest.mark.parametrize(
    ("head", "code", "begin"),
    [
        (signed(region="eu-west-1", **JSON), "InvalidSignatureException", "Credential should be scoped"),
        (signed(region="eu-west-1", **FORM), "SignatureDoesNotMatch", "Credential should be scoped"),
        (
            signed(service="s3", region="eu-west-1"),
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-east-1'. ",
        ),
        (signed("url", "s3", region="eu-west-1"), "AuthorizationHeaderMalformed", "The authorization header is malf"),
        (signed("url", "sts", "http://h/?Action=A", region="eu-west-1"), "SignatureDoesNotMatch", "Credential should"),
    ],
    ids=["json", "query", "s3", "s3 url", "query url"],
)
def test_another_region_is_refused_and_told_which_one_to_use(head: Head, code: str, begin: str) -> None:
    with pytest.raises(AwsError) as refused:
        authenticator(head).admit(head, lambda _: Dialect.JSON)
    assert refused.value.code == code
    assert refused.value.message.startswith(begin)
    assert "set AWS_REGION=us-east-1" in refused.value.message


def test_other_emulators_keys_are_told_how_to_get_one_that_works() -> None:
    for name, hinted in (("test", True), ("TESTING", True), ("AKIDUNKNOWN", False)):
        head = signed(key=replace(UNKNOWN, access_key=name), **JSON)
        with pytest.raises(AwsError) as refused:
            authenticator(head).admit(head, lambda _: Dialect.JSON)
        assert refused.value.code == "UnrecognizedClientException"
        assert ("skylift shellenv" in refused.value.message) == hinted


def test_every_refusal_in_every_dialect(tmp_path: Path) -> None:
    """In full, since SDKs retry by code and status, and people read the rest."""
    told = {
        f"{fault.name} {dialect.name}": [error.code, error.status, error.message]
        for fault in SignatureFault
        for dialect in Dialect
        for error in [refusal(fault, dialect, "<detail>")]
    }
    compared(told, Path(__file__).parent / "answers" / "refusals.json")
