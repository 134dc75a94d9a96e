"""Who calls? Every request passes here: its signature proves the caller, or it is refused.

Finding the key and checking the clock need nothing of the body. The signature itself covers the body's digest. If the
client declares the digest in ``x-amz-content-sha256`` (S3 always does), the signature is checked at once and the body
while it passes. If not (all other services), the body is read first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from skylift.core.clock import Clock
from skylift.wire.asgi import BodyCheck, DigestCheck, Head
from skylift.wire.provider import Caller
from skylift.wire.refusals import Dialect, Rejection, SignatureFault, refusal
from skylift.wire.signing import chunks, forms, signature_v2
from skylift.wire.signing.keys import Key, Keyring
from skylift.wire.signing.signature import (
    Claim,
    Incomplete,
    is_digest,
    is_policy_signed_by,
    is_signed_by,
    payload_word,
    read_claim,
    seal_of,
    unsigned_headers,
)
from skylift.wire.signing.signature_v2 import is_url_signed_by, read_url_claim

EMULATOR_KEYS = frozenset(
    {"test", "testing", "mock", "mock_access_key", "dummy", "foo", "fake", "local", "000000000000"}
)
"""Access keys that other emulators and their examples use."""

HINT = ' The key "{}" is not accepted here. This sets one that is: eval "$(skylift shellenv)"'

SKEW_SECONDS = 15 * 60
"""How far a signature's time may be from ours."""


@dataclass(frozen=True)
class SignedRequest:
    """A request whose key is known and whose time is right, but whose signature may still wait for its body.

    Attributes:
        service: signing name: ``ecs``, ``airflow``, ``s3``.
        dialect: how to refuse.
        caller: who it is, once the signature is checked.
        digest: hex SHA-256 that the body must have; ``None`` if any body will do.
        proven: whether the signature has been checked.
        word: what was signed in the body's place, e.g. ``STREAMING-UNSIGNED-PAYLOAD-TRAILER``; ``None``: the body
            itself.
    """

    service: str
    dialect: Dialect
    caller: Caller
    digest: str | None
    proven: bool
    head: Head
    key: Key
    claim: Claim | None
    word: str | None = None

    def body_check(self) -> BodyCheck | None:
        """What must be seen of the body while it passes; ``None``: any body will do. Raises ``AwsError``."""
        if self.digest is not None:
            return DigestCheck(self.digest, refusal(SignatureFault.WRONG_BODY, self.dialect))
        if self.word not in chunks.WORDS or self.claim is None:
            return None
        signed = self.word != chunks.UNSIGNED_TRAILER
        seal = seal_of(self.key.secret, self.claim) if signed else None
        return chunks.ChunkCheck(self.head.headers, seal, trailer=self.word != chunks.SIGNED)

    def prove(self, digest: str) -> None:
        """Checks what waited for the body, given the body's digest. Raises ``AwsError``."""
        if self.digest is not None and self.digest != digest:
            raise refusal(SignatureFault.WRONG_BODY, self.dialect)
        if not self.proven and self.claim and not is_signed_by(self.key.secret, self.claim, self.head, digest):
            raise refusal(SignatureFault.MISMATCH, self.dialect)


class Authenticator:
    """Checks signatures.

    Args:
        region: the only one that is served. With several, a resource made in one is missing in the other, as on AWS,
            and here that is nearly always a client that was not told.

    """

    def __init__(self, keyring: Keyring, account: str, region: str, clock: Clock) -> None:
        self._keyring = keyring
        self._account = account
        self._region = region
        self._clock = clock

    def admit(self, head: Head, dialect_without: Callable[[Head], Dialect]) -> SignedRequest:
        """Returns the request, if the key is known, the time is right, and the signature, as far as it can be checked,
        is valid.

        Args:
            head: the request.
            dialect_without: how to refuse when the request does not even say which service it wants; asked only then.

        Raises:
            AwsError: refused, in the service's words.
        """
        claim: Claim | None = None
        try:
            claim = read_claim(head)
            if claim is None:
                return self._admit_url(head, dialect_without(head))
            dialect = dialect_of(head, claim.service)
            word = payload_word(claim, head)
        except Incomplete as error:
            dialect = dialect_without(head) if claim is None else dialect_of(head, claim.service)
            raise refusal(SignatureFault.INCOMPLETE, dialect, str(error)) from None
        key = self._key(claim.access_key, claim.session_token, dialect)
        self._look_at_clock(claim, dialect)
        if claim.region != self._region:
            raise refusal(SignatureFault.WRONG_REGION, dialect, _wrong_region(claim.region, self._region, dialect))
        if missing := unsigned_headers(claim, head):
            raise refusal(SignatureFault.HEADER_NOT_SIGNED, dialect, ", ".join(missing))
        if word is not None and not is_signed_by(key.secret, claim, head, word):
            raise refusal(SignatureFault.MISMATCH, dialect)
        caller = Caller(key.access_key, key.principal, self._account, claim.region)
        digest = word if word is not None and is_digest(word) else None
        return SignedRequest(claim.service, dialect, caller, digest, word is not None, head, key, claim, word)

    def _admit_url(self, head: Head, dialect: Dialect) -> SignedRequest:
        claim = read_url_claim(head)
        if claim is None:
            raise refusal(SignatureFault.UNSIGNED, dialect)
        key = self._key(claim.access_key, claim.session_token, Dialect.S3)
        if self._clock() > int(claim.expires):
            raise refusal(SignatureFault.EXPIRED_URL, Dialect.S3)
        if not is_url_signed_by(key.secret, claim, head):
            raise refusal(SignatureFault.MISMATCH, Dialect.S3)
        caller = Caller(key.access_key, key.principal, self._account, "")
        return SignedRequest("s3", Dialect.S3, caller, None, True, head, key, None)

    def admit_form(self, head: Head, start: bytes) -> SignedRequest:
        """Returns an upload to S3 from a form, if the form's policy is signed with a known key.

        Args:
            head: the request.
            start: the beginning of the form.

        Raises:
            AwsError: refused, in S3's words.
        """
        try:
            fields = forms.read_fields(head, start)
            claim = forms.read_policy_claim(fields)
        except Incomplete as error:
            raise Rejection("InvalidArgument", str(error), 400, Dialect.S3) from None
        if claim is None:
            raise refusal(SignatureFault.UNSIGNED, Dialect.S3)
        key, policy = self._key(claim.access_key, claim.session_token, Dialect.S3), fields.get("policy", "")
        if isinstance(claim, signature_v2.UrlClaim):
            signed = signature_v2.is_policy_signed_by(key.secret, claim, policy)
        else:
            if claim.region != self._region:
                words = _wrong_region(claim.region, self._region, Dialect.S3)
                raise refusal(SignatureFault.WRONG_REGION, Dialect.S3, words)
            signed = claim.service == "s3" and is_policy_signed_by(key.secret, claim, policy)
        if not signed:
            raise refusal(SignatureFault.MISMATCH, Dialect.S3)
        caller = Caller(key.access_key, key.principal, self._account, "")
        return SignedRequest("s3", Dialect.S3, caller, None, True, head, key, None)

    def _key(self, access_key: str, session_token: str, dialect: Dialect) -> Key:
        key = self._keyring.find(access_key, session_token)
        if key is None:
            hint = HINT.format(access_key) if access_key.lower() in EMULATOR_KEYS else ""
            raise refusal(SignatureFault.UNKNOWN_KEY, dialect, hint)
        if key.expires is not None and key.expires <= self._clock():
            raise refusal(SignatureFault.EXPIRED_KEY, dialect)
        return key

    def _look_at_clock(self, claim: Claim, dialect: Dialect) -> None:
        now = self._clock()
        if claim.seconds is None and abs(now - claim.signed_at) > SKEW_SECONDS:
            raise refusal(SignatureFault.SKEWED, dialect, f"{claim.stamp} is more than 15 minutes from {_stamp(now)}.")
        if claim.seconds is not None and claim.signed_at > now + SKEW_SECONDS:
            raise refusal(SignatureFault.SKEWED, dialect, f"{claim.stamp} is not yet current at {_stamp(now)}.")
        if claim.seconds is not None and claim.signed_at + claim.seconds < now:
            ended = _stamp(claim.signed_at + claim.seconds)
            raise refusal(SignatureFault.EXPIRED_URL, dialect, f"{ended} is now earlier than {_stamp(now)}.")


def dialect_of(head: Head, service: str | None) -> Dialect:
    """How to refuse a request of a service; ``None``: it does not say which, so its form must tell."""
    if service is not None and (service == "s3" or service.startswith(("s3-", "s3express"))):
        return Dialect.S3
    content_type = head.headers.get("content-type", "")
    if "x-amz-target" in head.headers or content_type.startswith(("application/json", "application/x-amz-json")):
        return Dialect.JSON
    if content_type.startswith("application/x-www-form-urlencoded") or "Action=" in head.query:
        return Dialect.QUERY
    if service in {"route53", "cloudfront"}:
        return Dialect.QUERY  # their rest-xml errors have Query's form
    return Dialect.S3 if service is None else Dialect.JSON


def _wrong_region(asked: str, served: str, dialect: Dialect) -> str:
    """S3's words begin as AWS's, because SDKs read the region from them."""
    asked = asked[:64]
    begin = f"the region '{asked}' is wrong; expecting '{served}'. " if dialect is Dialect.S3 else ""
    return f"{begin}Only {served} is served here, not '{asked}': set AWS_REGION={served}, as skylift shellenv does."


def _stamp(seconds: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
