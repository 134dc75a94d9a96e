"""What a signature must say before anything of it is checked; each thing that is missing or wrong is named."""

from __future__ import annotations

import pytest

from skylift.wire.asgi import Head
from skylift.wire.signing.signature import Claim, Incomplete, payload_word, read_claim, unsigned_headers

pytestmark = pytest.mark.unit
SIGNATURE = "0" * 64
STAMP = "20261130T120000Z"
CREDENTIAL = "AKIA/20261130/eu-north-1/ecs/aws4_request"


def by_header(
    credential: str = CREDENTIAL, headers: str = "host;x-amz-date", signature: str = SIGNATURE, **more: str
) -> Head:
    words = {"Credential": credential, "SignedHeaders": headers, "Signature": signature}
    said = ", ".join(f"{name}={value}" for name, value in words.items() if value)
    return Head("POST", "/", "", {"authorization": f"AWS4-HMAC-SHA256 {said}", "x-amz-date": STAMP, **more})


def by_query(**changed: str) -> Head:
    words = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": CREDENTIAL.replace("/", "%2F"),
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": SIGNATURE,
        "X-Amz-Date": STAMP,
        "X-Amz-Expires": "60",
        **{f"X-Amz-{name}": value for name, value in changed.items()},
    }
    return Head("GET", "/", "&".join(f"{name}={value}" for name, value in words.items() if value), {})


def test_a_claim_in_the_header_is_read() -> None:
    claim = Claim(
        "AKIA", "20261130", "eu-north-1", "ecs", ("host", "x-amz-date"), SIGNATURE, STAMP, "a token", None
    )  # fmt: skip
    assert read_claim(by_header(**{"x-amz-security-token": "a token"})) == claim
    assert read_claim(by_header(headers="Host;X-Amz-Date", **{"x-amz-security-token": "a token"})) == claim
    assert claim.signed_at == 1796040000.0


def test_a_claim_in_the_query_is_read() -> None:
    claim = read_claim(by_query(**{"Security-Token": "a%20token"}))
    assert claim == Claim("AKIA", "20261130", "eu-north-1", "ecs", ("host",), SIGNATURE, STAMP, "a token", 60)


def test_without_either_there_is_no_claim() -> None:
    assert read_claim(Head("GET", "/", "a=b&X-Amz-Date=x", {"x-amz-date": STAMP})) is None


@pytest.mark.parametrize("date", ["Mon, 30 Nov 2026 12:00:00 GMT", "Mon, 30 Nov 2026 13:00:00 +0100"])
def test_a_date_header_will_do(date: str) -> None:
    claim = read_claim(by_header(date=date, **{"x-amz-date": ""}))
    assert claim is not None
    assert claim.stamp == STAMP


WRONG: list[tuple[Head, str]] = [
    (Head("GET", "/", "", {"authorization": "Bearer x"}), "Unsupported Authorization type: only AWS4-HMAC-SHA256"),
    (by_header(credential=""), "Authorization header requires 'Credential' parameter."),
    (by_header(headers=""), "Authorization header requires 'SignedHeaders' parameter."),
    (by_header(signature=""), "Authorization header requires 'Signature' parameter."),
    (by_header(credential="AKIA/20261130/eu-north-1/ecs"), "Credential must be <access key>/<date>"),
    (by_header(credential="/20261130/eu-north-1/ecs/aws4_request"), "Credential must be <access key>/<date>"),
    (by_header(credential="AKIA/20261130/eu-north-1/ecs/aws3_request"), "Credential must be <access key>/<date>"),
    (by_header(credential="AKIA/a/20261130/eu-north-1/ecs/aws4_request"), "Credential must be <access key>/<date>"),
    (by_header(credential="ÄKIA/20261130/eu-north-1/ecs/aws4_request"), "A signature and its credentials are ASCII."),
    (by_header(**{"x-amz-security-token": "ä"}), "A signature and its credentials are ASCII."),
    (by_header(credential="AKIA/20261129/eu-north-1/ecs/aws4_request"), "Date in Credential scope does not match"),
    (by_header(signature="0" * 63), "Signature must be 64 hexadecimal digits in lower case."),
    (by_header(signature="A" * 64), "Signature must be 64 hexadecimal digits in lower case."),
    (by_header(**{"x-amz-date": ""}), "must be YYYYMMDDTHHMMSSZ in X-Amz-Date, or a Date header"),
    (by_header(**{"x-amz-date": "2026-11-30"}), "must be YYYYMMDDTHHMMSSZ in X-Amz-Date"),
    (by_header(**{"x-amz-date": "20261330T120000Z"}), "The date of the request is no date."),
    (by_header(date="yesterday", **{"x-amz-date": ""}), "The Date header is no date."),
    (by_query(Algorithm="AWS4-ECDSA"), "X-Amz-Algorithm only supports AWS4-HMAC-SHA256."),
    (by_query(Algorithm=""), "X-Amz-Algorithm only supports AWS4-HMAC-SHA256."),
    *(
        (by_query(**{name: ""}), "Query-string authentication needs X-Amz-Credential, X-Amz-SignedHeaders")
        for name in ("Credential", "SignedHeaders", "Date", "Expires")
    ),
    *(
        (by_query(Expires=lives), "X-Amz-Expires must be between 1 and 604800 seconds.")
        for lives in ("0", "604801", "-1", "x", "9" * 13)
    ),
]


@pytest.mark.parametrize(("head", "why"), WRONG)
def test_what_is_wrong_with_it_is_named(head: Head, why: str) -> None:
    with pytest.raises(Incomplete) as error:
        read_claim(head)
    assert why in str(error.value)


@pytest.mark.parametrize("lives", ["1", "604800"])
def test_a_presigned_url_lives_up_to_a_week(lives: str) -> None:
    claim = read_claim(by_query(Expires=lives))
    assert claim is not None
    assert claim.seconds == int(lives)


def claim_of(service: str, seconds: int | None = None) -> Claim:
    signed = ("host", "x-amz-date")
    return Claim("AKIA", "20261130", "eu-north-1", service, signed, SIGNATURE, STAMP, "", seconds)


@pytest.mark.parametrize("service", ["s3", "s3express", "s3-object-lambda", "s3-outposts"])
def test_s3_wants_the_payloads_digest_or_word(service: str) -> None:
    head = Head("PUT", "/", "", {})
    assert claim_of(service).is_s3
    with pytest.raises(Incomplete, match="Missing required header for this request: x-amz-content-sha256"):
        payload_word(claim_of(service), head)
    assert payload_word(claim_of(service, 60), head) == "UNSIGNED-PAYLOAD"
    said = Head("PUT", "/", "", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    assert payload_word(claim_of(service), said) == "UNSIGNED-PAYLOAD"


def test_other_services_sign_the_body() -> None:
    assert not claim_of("ecs").is_s3
    assert payload_word(claim_of("ecs"), Head("POST", "/", "", {})) is None
    digest = Head("POST", "/", "", {"x-amz-content-sha256": "a" * 64})
    assert payload_word(claim_of("ecs"), digest) == "a" * 64
    with pytest.raises(Incomplete, match="must be a SHA-256 in hex"):
        payload_word(claim_of("ecs"), Head("POST", "/", "", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}))


def test_headers_of_aws_must_be_signed() -> None:
    sent = {"x-amz-date": STAMP, "x-amz-target": "T", "x-amz-user-agent": "sdk", "content-type": "c"}
    assert unsigned_headers(claim_of("ecs"), Head("POST", "/", "", sent)) == ["x-amz-target"]
    assert unsigned_headers(Claim("", "", "", "", (), "", "", "", None), Head("POST", "/", "", {})) == ["host"]
