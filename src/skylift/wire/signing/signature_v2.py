"""Presigned S3 URLs and forms in Signature Version 2: boto3 makes them in us-east-1 unless it is told
``signature_version="s3v4"``.

Only URLs (``?AWSAccessKeyId=...&Expires=...&Signature=...``) and forms for POST Object. The old
``Authorization: AWS`` header is refused, because all SDKs sign headers with version 4. Source: "Signing and
authenticating REST requests", S3 developer guide, and botocore's ``HmacV1QueryAuth``.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass

from botocore.auth import HmacV1Auth

from skylift.wire.asgi import Head
from skylift.wire.signing.signature import query_pairs

_SUBRESOURCES = frozenset(HmacV1Auth.QSAOfInterest)
_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class UrlClaim:
    """What the URL says: who signed it, with what token, and until when it lives (seconds since the epoch; empty for a
    form, whose policy says it)."""

    access_key: str
    session_token: str
    signature: str
    expires: str


def read_url_claim(head: Head) -> UrlClaim | None:
    """The signature in a URL; ``None`` if there is none of this version."""
    query = dict(query_pairs(head.query))
    names = ("AWSAccessKeyId", "Signature", "Expires")
    access_key, signature, expires = (query.get(name, "") for name in names)
    token = query.get("x-amz-security-token", "")
    if not (access_key and signature and _SECONDS.fullmatch(expires)):
        return None
    return UrlClaim(access_key, token, signature, expires) if (access_key + signature + token).isascii() else None


def is_url_signed_by(secret: str, claim: UrlClaim, head: Head) -> bool:
    """Whether that secret made the signature; takes the same time whatever the answer."""
    sent = {name.lower(): value for name, value in query_pairs(head.query)} | dict(head.headers)
    amz = sorted(f"{name}:{value.strip()}" for name, value in sent.items() if name.startswith("x-amz-"))
    lines = [
        head.method,
        sent.get("content-md5", ""),
        sent.get("content-type", ""),
        claim.expires,
        *amz,
        _resource(head),
    ]
    return _signs(secret, claim, "\n".join(lines))


def is_policy_signed_by(secret: str, claim: UrlClaim, policy: str) -> bool:
    """Whether that secret signed the policy of a form (base64); takes the same time whatever the answer."""
    return _signs(secret, claim, policy)


def _signs(secret: str, claim: UrlClaim, text: str) -> bool:
    digest = hmac.digest(secret.encode(), text.encode("utf-8", "surrogateescape"), "sha1")
    return hmac.compare_digest(base64.b64encode(digest), claim.signature.encode())


def _resource(head: Head) -> str:
    asked = [pair for pair in query_pairs(head.query) if pair[0] in _SUBRESOURCES]
    words = [f"{name}={value}" if value else name for name, value in sorted(asked)]
    return head.path + ("?" + "&".join(words) if words else "")
