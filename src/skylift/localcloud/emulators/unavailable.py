"""Errors of the emulated services that are not the caller's fault, in the service's own format, with what the owner can
do."""

from __future__ import annotations

import json
import uuid
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from botocore.exceptions import BotoCoreError

from skylift.localcloud.emulators.table import TABLE
from skylift.wire.models import metadata_of, model_of

Answer = tuple[int, dict[str, str], Any]
_USUAL = ("ServiceUnavailable", 503)
"""In AWS's list of common errors."""
_PREFERRED = ("Unavailable", "Internal", "ServiceFailure", "ServerError", "ServerException")


def cannot_write(module: str, error: Exception) -> Answer:
    """A change could not be written to the disk. It was undone."""
    text = f"The local cloud cannot write this to its disk, so it was not done: {error}. Free some space and try again."
    return unavailable(module, text)


def is_damaged(module: str, text: str) -> Answer:
    """The requested state is in a file that cannot be read."""
    return unavailable(module, text)


def unavailable(module: str, text: str) -> Answer:
    """An error with status 5xx, in the format of the service of ministack's module."""
    service = _service(module)
    code, status = _code(service)
    request = str(uuid.uuid4())
    protocol = "rest-xml" if service == "s3" else str((metadata_of(service) or {}).get("protocol", "json"))
    inner = f"<Code>{code}</Code><Message>{escape(text)}</Message>"
    if service == "s3":
        body, kind = f"<Error>{inner}<RequestId>{request}</RequestId></Error>", "application/xml"
    elif protocol == "ec2":
        errors = f"<Errors><Error>{inner}</Error></Errors>"
        body, kind = f"<Response>{errors}<RequestID>{request}</RequestID></Response>", "text/xml"
    elif protocol in {"query", "rest-xml"}:
        error = f"<Error><Type>Receiver</Type>{inner}</Error>"
        body, kind = f"<ErrorResponse>{error}<RequestId>{request}</RequestId></ErrorResponse>", "text/xml"
    else:
        body, kind = json.dumps({"__type": code, "message": text, "Message": text}), "application/x-amz-json-1.0"
    return status, {"Content-Type": kind, "x-amzn-errortype": code, "x-amzn-requestid": request}, body.encode()


@cache
def _service(module: str) -> str:
    """boto3's name."""
    names = [name for row in TABLE if row.module == module for name in row.names]
    likely = [module, module.replace("_", "-"), module.replace("_", ""), *reversed(names)]
    known = [name for name in likely if metadata_of(name) is not None]
    return known[0] if known else module


@cache
def _code(service: str) -> tuple[str, int]:
    """The service's own error for what is not the caller's fault; AWS's common one where its model has none."""
    try:
        shapes = model_of(service).error_shapes
    except BotoCoreError:
        return _USUAL
    faults = {}
    for shape in shapes:
        error = shape.metadata.get("error", {})
        fault = shape._shape_model.get("fault")  # botocore reads it, but has no public attribute for it
        status = int(error.get("httpStatusCode", 500 if fault else 400))
        if status >= 500:
            faults[str(error.get("code", shape.name))] = status
    ranked = [name for word in _PREFERRED for name in sorted(faults) if word in name]
    return (ranked[0], faults[ranked[0]]) if ranked else _USUAL
