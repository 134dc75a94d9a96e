"""AWS Signature Version 4, on the checking side: pure functions over a request's head.

Sources of the rules: "Create a signed AWS API request" (IAM user guide) and botocore/auth.py, whose path rule is used
unchanged: S3 signs the path as sent, every other service signs it normalised and percent-encoded a second time.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote, unquote

from botocore.utils import normalize_url_path

from skylift.wire.asgi import Head
from skylift.wire.signing import chunks

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
S3_NAMES = frozenset({"s3", "s3express", "s3-object-lambda", "s3-outposts"})
"""Signing names that follow S3's rules."""
LONGEST_PRESIGNED_SECONDS = 7 * 24 * 3600
_HASH = re.compile(r"[0-9a-f]{64}")
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SECONDS = re.compile(r"[0-9]{1,12}")


class Incomplete(Exception):
    """A signature is there but cannot be read; the text says what is wrong."""


@dataclass(frozen=True)
class Claim:
    """What a request's signature says.

    Attributes:
        access_key: id of the key that signed.
        day, region, service: the scope; ``day`` is ``YYYYMMDD``.
        signed_headers: names in lower case, in the order given.
        signature: 64 hex digits, unchecked.
        stamp: ``YYYYMMDDTHHMMSSZ``.
        session_token: empty when none was sent.
        seconds: how long a presigned URL lives; ``None`` for a signature in the header.
    """

    access_key: str
    day: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    stamp: str
    session_token: str
    seconds: int | None

    @property
    def signed_at(self) -> float:
        """When it was signed: seconds since the epoch."""
        return _seconds(self.stamp)

    @property
    def is_s3(self) -> bool:
        """Whether S3's rules apply."""
        return self.service in S3_NAMES


def read_claim(head: Head) -> Claim | None:
    """The signature of a request, from its header or its query; ``None`` if it is unsigned. Raises ``Incomplete``."""
    authorization = head.headers.get("authorization")
    if authorization is not None:
        return _from_header(authorization, head)
    query = dict(query_pairs(head.query))
    return _from_query(query) if "X-Amz-Signature" in query or "X-Amz-Algorithm" in query else None


def payload_word(claim: Claim, head: Head) -> str | None:
    """The payload's digest, or the word in its place, that was signed; ``None`` if the digest is the body's own.

    Raises:
        Incomplete: a word that the service does not take.
    """
    word = head.headers.get("x-amz-content-sha256")
    if claim.seconds is not None and "x-amz-content-sha256" not in claim.signed_headers:
        word = UNSIGNED_PAYLOAD if claim.is_s3 else None
    if word is None:
        if claim.is_s3:
            raise Incomplete("Missing required header for this request: x-amz-content-sha256")
        return None
    free = claim.is_s3 and (word == UNSIGNED_PAYLOAD or word in chunks.WORDS)
    if not free and _HASH.fullmatch(word) is None:
        words = ", ".join(sorted(chunks.WORDS))
        raise Incomplete(f"x-amz-content-sha256 must be a SHA-256 in hex, or for S3 {UNSIGNED_PAYLOAD}, {words}.")
    return word


def is_digest(word: str) -> bool:
    """Whether a payload word is a digest that the body must match."""
    return _HASH.fullmatch(word) is not None


def unsigned_headers(claim: Claim, head: Head) -> list[str]:
    """Headers that AWS wants signed and that are not: ``host`` and all ``x-amz-*`` that were sent."""
    wanted = [name for name in head.headers if name.startswith("x-amz-") and name != "x-amz-user-agent"]
    return [name for name in ["host", *wanted] if name not in claim.signed_headers]


def is_signed_by(secret: str, claim: Claim, head: Head, payload: str) -> bool:
    """Whether that secret made the signature; takes the same time whatever the answer.

    Args:
        secret: the key's.
        claim: from ``read_claim``.
        head: the request's.
        payload: digest of the body, or the word in its place.
    """
    canonical = _canonical_request(claim, head, payload)
    scope = f"{claim.day}/{claim.region}/{claim.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    key = _signing_key(secret, claim.day, claim.region, claim.service)
    wanted = hmac.digest(key, f"{ALGORITHM}\n{claim.stamp}\n{scope}\n{digest}".encode(), "sha256").hex()
    return hmac.compare_digest(wanted, claim.signature)


def is_policy_signed_by(secret: str, claim: Claim, policy: str) -> bool:
    """Whether that secret signed the policy of a form (base64); takes the same time whatever the answer."""
    key = _signing_key(secret, claim.day, claim.region, claim.service)
    wanted = hmac.digest(key, policy.encode("utf-8", "surrogateescape"), "sha256").hex()
    return hmac.compare_digest(wanted, claim.signature)


def seal_of(secret: str, claim: Claim) -> chunks.Seal:
    """What the signatures of a body's chunks follow from, once the request's own has been checked."""
    key = _signing_key(secret, claim.day, claim.region, claim.service)
    return chunks.Seal(key, claim.stamp, f"{claim.day}/{claim.region}/{claim.service}/aws4_request", claim.signature)


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Names and values of a query string, decoded; ``+`` stays ``+``, as AWS has it."""
    pairs = (piece.partition("=") for piece in query.split("&") if piece)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def claim_of(credential: str, signed: str, signature: str, stamp: str, token: str, seconds: int | None) -> Claim:
    """The claim of a signature's words. Raises ``Incomplete``.

    Args:
        credential: ``<access key>/<date>/<region>/<service>/aws4_request``.
        signed: names of headers, joined by ``;``.
        signature: 64 hex digits.
        stamp: ``YYYYMMDDTHHMMSSZ``.
        token: of the session, or empty.
        seconds: how long a presigned URL lives; ``None`` for others.
    """
    if not all(word.isascii() for word in (credential, signed, signature, stamp, token)):
        raise Incomplete("A signature and its credentials are ASCII.")
    access_key, *scope = credential.split("/")
    if len(scope) != 4 or scope[3] != "aws4_request" or not access_key:
        raise Incomplete("Credential must be <access key>/<date>/<region>/<service>/aws4_request.")
    if _STAMP.fullmatch(stamp) is None:
        raise Incomplete("The date of the request must be YYYYMMDDTHHMMSSZ in X-Amz-Date, or a Date header.")
    try:
        _seconds(stamp)
    except ValueError:
        raise Incomplete("The date of the request is no date.") from None
    if scope[0] != stamp[:8]:
        raise Incomplete("Date in Credential scope does not match YYYYMMDD from the date of the request.")
    if _HASH.fullmatch(signature) is None:
        raise Incomplete("Signature must be 64 hexadecimal digits in lower case.")
    day, region, service = scope[:3]
    return Claim(access_key, day, region, service, tuple(signed.lower().split(";")), signature, stamp, token, seconds)


def _from_header(authorization: str, head: Head) -> Claim:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise Incomplete(f"Unsupported Authorization type: only {ALGORITHM} is served.")
    words = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    missing = [name for name in ("Credential", "SignedHeaders", "Signature") if not words.get(name)]
    if missing:
        raise Incomplete(f"Authorization header requires '{missing[0]}' parameter.")
    token = head.headers.get("x-amz-security-token", "")
    return claim_of(words["Credential"], words["SignedHeaders"], words["Signature"], _header_stamp(head), token, None)


def _from_query(query: dict[str, str]) -> Claim:
    if query.get("X-Amz-Algorithm") != ALGORITHM:
        raise Incomplete(f"X-Amz-Algorithm only supports {ALGORITHM}.")
    names = ("X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Date", "X-Amz-Expires")
    credential, signed, signature, stamp, lives = (query.get(name, "") for name in names)
    if not (credential and signed and signature and stamp and lives):
        raise Incomplete(f"Query-string authentication needs {', '.join(names)}.")
    if _SECONDS.fullmatch(lives) is None or not 0 < int(lives) <= LONGEST_PRESIGNED_SECONDS:
        raise Incomplete("X-Amz-Expires must be between 1 and 604800 seconds.")
    return claim_of(credential, signed, signature, stamp, query.get("X-Amz-Security-Token", ""), int(lives))


def _header_stamp(head: Head) -> str:
    stamp = head.headers.get("x-amz-date", "")
    if stamp or "date" not in head.headers:
        return stamp
    try:
        return time.strftime("%Y%m%dT%H%M%SZ", parsedate_to_datetime(head.headers["date"]).utctimetuple())
    except (ValueError, OverflowError):
        raise Incomplete("The Date header is no date.") from None


@lru_cache(maxsize=64)
def _seconds(stamp: str) -> int:
    """Since the epoch. All requests of a second have one stamp, and strptime is slow. Raises ``ValueError``."""
    return calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))


@lru_cache(maxsize=512)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The same for all requests of a day from one key to one service."""
    key = f"AWS4{secret}".encode()
    for word in (day, region, service, "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key


def _canonical_request(claim: Claim, head: Head, payload: str) -> str:
    path = head.path or "/"
    path = quote(path, safe="/%~") if claim.is_s3 else quote(normalize_url_path(path), safe="/~")
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in query_pairs(head.query)
        if name != "X-Amz-Signature" or claim.seconds is None
    )
    query = "&".join(f"{name}={value}" for name, value in pairs)
    headers = "".join(f"{name}:{' '.join(head.headers.get(name, '').split())}\n" for name in claim.signed_headers)
    return "\n".join((head.method, path, query, headers, ";".join(claim.signed_headers), payload))
