"""Pieces of an object: one part of a multipart upload (``PartNumber`` of GetObject and HeadObject), and a range of an
old version, of both of which ministack gives the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skylift.localcloud.emulators.s3.rules import PART_NUMBER, is_part_number
from skylift.localcloud.emulators.unavailable import Answer

_BOTH = "Cannot specify both Range header and partNumber query parameter"
_NO_PART = "The requested partnumber is not satisfiable"
_WHOLE = ("content-length", "content-range", "x-amz-checksum")
"""Headers that tell of the whole object."""


def wants_piece(s3: Any, method: str, key: str, headers: Mapping[str, str], query: Mapping[str, Any]) -> bool:
    """Whether a request reads a piece in one of these ways."""
    if not key or method not in {"GET", "HEAD"} or "uploadId" in query:
        return False
    return bool(s3._qp(query, "partNumber")) or ("range" in headers and bool(s3._qp(query, "versionId")))


def piece_of(
    s3: Any, bucket: str, key: str, headers: Mapping[str, str], query: Mapping[str, Any], whole: Answer
) -> Answer:
    """The piece that was asked for.

    Args:
        s3: ministack's module ``services.s3``.
        bucket, key, headers, query: of the request.
        whole: ministack's answer to the request without ``Range`` and ``partNumber``.
    """
    number, asked = s3._qp(query, "partNumber"), headers.get("range", "")
    if number and asked:
        return _error(s3, "InvalidRequest", _BOTH, 400)
    if number and not is_part_number(number):
        return _error(s3, "InvalidArgument", PART_NUMBER, 400)
    if whole[0] != 200:
        return whole
    record = _record(s3, bucket, key, s3._qp(query, "versionId"))
    size = int(record["size"])
    if not number:
        found = s3._parse_range(asked, size)
        if found is None:
            status, shown = 416, {"Content-Type": "application/xml", "Content-Range": f"bytes */{size}"}
            return status, shown, s3._xml_body(s3._range_error_xml(bucket, key))
        return _cut(whole, found[0], found[1] + 1, size, {})
    parts = record.get("parts") or [{"PartNumber": 1, "Size": size}]
    numbers = [one["PartNumber"] for one in parts]
    if int(number) not in numbers:
        told = {"PartNumberRequested": number, "ActualPartCount": str(len(parts))}
        return _error(s3, "InvalidPartNumber", _NO_PART, 416, told)
    place = numbers.index(int(number))
    start = sum(one["Size"] for one in parts[:place])
    count = {"x-amz-mp-parts-count": str(len(parts))} if record.get("parts") else {}
    return _cut(whole, start, start + parts[place]["Size"], size, count)


def _record(s3: Any, bucket: str, key: str, version: str) -> Mapping[str, Any]:
    """What is known of the object or version that has just been answered."""
    current: Mapping[str, Any] = s3._buckets[bucket]["objects"].get(key) or {}
    wanted = version or current.get("version_id")
    versions = s3._object_versions.get((bucket, key), ())
    return next((one for one in versions if one["version_id"] == wanted), current)


def _cut(whole: Answer, start: int, end: int, size: int, more: Mapping[str, str]) -> Answer:
    headers = {name: value for name, value in whole[1].items() if not name.lower().startswith(_WHOLE)}
    headers |= {"Content-Length": str(end - start), **more}
    if end > start:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return 206 if end > start else 200, headers, whole[2][start:end]


def _error(s3: Any, code: str, message: str, status: int, more: Mapping[str, str] | None = None) -> Answer:
    answer: Answer = s3._error(code, message, status, extra=dict(more or {}))
    return answer
