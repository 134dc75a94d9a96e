"""S3's rules that ministack does not keep: lengths of keys, and what completes a multipart upload.

Sources: "Creating object key names" and "Multipart upload limits", S3 user guide; "Error responses", S3 API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from skylift.localcloud.emulators.unavailable import Answer

MOST_KEY_BYTES = 1024
"""Of a key in UTF-8."""
LEAST_PART_BYTES = 5 * 1024 * 1024
"""Of each part of an upload but the last."""
MOST_PARTS = 10_000

PART_NUMBER = f"Part number must be an integer between 1 and {MOST_PARTS}, inclusive."
_MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"
_ORDER = "The list of parts was not in ascending order. Parts must be ordered by part number."
_SMALL = "Your proposed upload is smaller than the minimum allowed size"


def refusal_of_key(s3: Any, key: str) -> Answer | None:
    """The error for a key that is too long."""
    size = len(key.encode("utf-8", "surrogatepass"))
    if size <= MOST_KEY_BYTES:
        return None
    sizes = {"Size": str(size), "MaxSizeAllowed": str(MOST_KEY_BYTES)}
    answer: Answer = s3._error("KeyTooLongError", "Your key is too long", 400, extra=sizes)
    return answer


def refusal_of_part(
    s3: Any, method: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
) -> Answer | None:
    """The error for a request that breaks a rule of multipart uploads; ``None``: it is none, or breaks no rule that
    ministack does not keep itself."""
    if method == "PUT" and "uploadId" in query and "x-amz-copy-source" in headers:
        return None if is_part_number(s3._qp(query, "partNumber")) else _error(s3, "InvalidArgument", PART_NUMBER)
    upload = s3._multipart_uploads.get(s3._qp(query, "uploadId")) if method == "POST" else None
    return _refusal_of_completion(s3, upload["parts"], body) if upload is not None else None


def is_part_number(text: str) -> bool:
    """Whether a part may have this number."""
    return text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_PARTS


def _refusal_of_completion(s3: Any, stored: Mapping[int, Mapping[str, Any]], body: bytes) -> Answer | None:
    try:
        named = _named_parts(body)
    except (ElementTree.ParseError, ValueError):
        return _error(s3, "MalformedXML", _MALFORMED)
    numbers = [number for number, _ in named]
    if not numbers or len(numbers) > MOST_PARTS:
        return _error(s3, "MalformedXML", _MALFORMED)
    if numbers != sorted(set(numbers)):
        return _error(s3, "InvalidPartOrder", _ORDER)
    if any(number not in stored or stored[number]["etag"].strip('"') != etag for number, etag in named):
        return None  # InvalidPart, which ministack says
    for number, etag in named[:-1]:
        if (size := stored[number]["size"]) < LEAST_PART_BYTES:
            told = {"ProposedSize": size, "MinSizeAllowed": LEAST_PART_BYTES, "PartNumber": number, "ETag": etag}
            return _error(s3, "EntityTooSmall", _SMALL, {name: str(value) for name, value in told.items()})
    return None


def _named_parts(body: bytes) -> list[tuple[int, str]]:
    """Numbers and ETags. Raises ``ParseError`` and ``ValueError``."""
    root = ElementTree.fromstring(body)  # noqa: S314 - as ministack reads it after us
    parts = ({_tag(child): child.text or "" for child in element} for element in root.iter() if _tag(element) == "Part")
    return [(int(part.get("PartNumber", "")), part.get("ETag", "").strip('"')) for part in parts]


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _error(s3: Any, code: str, message: str, more: Mapping[str, str] | None = None) -> Answer:
    answer: Answer = s3._error(code, message, 400, extra=dict(more or {}))
    return answer
