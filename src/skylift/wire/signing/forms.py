"""S3's uploads from HTML forms (POST Object): the signature is a field of the form, and covers the form's policy.

Whether the other fields keep the policy's conditions, and whether it has expired, is for S3 itself to say. Source:
"Authenticating Requests in Browser-Based Uploads Using POST", S3 API reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from skylift.wire.asgi import Head
from skylift.wire.signing.signature import Claim, Incomplete, claim_of, query_pairs
from skylift.wire.signing.signature_v2 import UrlClaim

MOST_FIELD_BYTES = 20_000
"""Longest beginning of a form: its fields and their headers up to the field ``file`` (AWS's limit)."""
FILE = "file"
_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^";\s]+))', re.IGNORECASE)
_NAME = re.compile(r'\bname=(?:"([^"]*)"|([^;\s]+))')
_FILE_NAME = re.compile(r'\bfilename=(?:"([^"]*)"|([^;\s]+))')
_SIGNED_BY_QUERY = frozenset({"X-Amz-Signature", "X-Amz-Algorithm", "Signature"})


def is_upload(head: Head) -> bool:
    """Whether it is a form, and nothing but the form may be signed."""
    if head.method != "POST" or not head.headers.get("content-type", "").startswith("multipart/form-data"):
        return False
    return "authorization" not in head.headers and not _SIGNED_BY_QUERY & dict(query_pairs(head.query)).keys()


def read_fields(head: Head, start: bytes) -> dict[str, str]:
    """The fields before the file, by their names in lower case, and the file's name as ``file``.

    Args:
        head: the request; its content type names the boundary.
        start: the body's beginning.

    Raises:
        Incomplete: there is no file in it.
    """
    found = _BOUNDARY.search(head.headers.get("content-type", ""))
    fields: dict[str, str] = {}
    for piece in start.split(b"--" + (found[1] or found[2]).encode())[1:] if found else ():
        headers, _, value = piece.partition(b"\r\n\r\n")
        described = headers.decode("latin-1")
        name = _first(_NAME, described)
        if name == FILE:
            return fields | {FILE: _first(_FILE_NAME, described)}
        fields[name.lower()] = value.removesuffix(b"\r\n").decode("utf-8", "surrogateescape")
    raise Incomplete("POST requires a file, after the other fields, which have at most 20,000 bytes.")


def key_of(fields: Mapping[str, str]) -> str:
    """The key of the object that a form uploads."""
    return fields.get("key", "").replace("${filename}", fields.get(FILE, ""))


def read_policy_claim(fields: Mapping[str, str]) -> Claim | UrlClaim | None:
    """The signature of a form, of version 4 or 2; ``None``: it is not signed. Raises ``Incomplete``."""
    token = fields.get("x-amz-security-token", "")
    if "x-amz-signature" in fields:
        credential, signature = fields.get("x-amz-credential", ""), fields["x-amz-signature"]
        return claim_of(credential, "", signature, fields.get("x-amz-date", ""), token, None)
    if "signature" not in fields:
        return None
    access_key, signature = fields.get("awsaccesskeyid", ""), fields["signature"]
    if not access_key or not (access_key + signature + token).isascii():
        raise Incomplete("Bucket POST must contain a field named 'AWSAccessKeyId'.")
    return UrlClaim(access_key, token, signature, "")


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return (found[1] or found[2] or "") if found else ""
