"""S3's errors: bare XML without a namespace."""

from __future__ import annotations

from urllib.parse import unquote

from skylift.wire.asgi import Answer, Head
from skylift.wire.errors import AwsError
from skylift.wire.query_shapes import xml_text


def refuse_s3(error: AwsError, head: Head, request_id: str) -> Answer:
    """An error as S3 writes it."""
    resource = xml_text(unquote(head.path))
    inner = f"<Code>{xml_text(error.code)}</Code><Message>{xml_text(error.message)}</Message>"
    inner += f"<Resource>{resource}</Resource>"
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}<RequestId>{request_id}</RequestId></Error>'
    headers = {"content-type": "application/xml", "x-amz-request-id": request_id, "x-amz-id-2": request_id}
    return Answer(error.status, headers, xml.encode("utf-8", "replace"))
