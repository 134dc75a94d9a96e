"""The error that an operation returns. The wire writes it in each protocol's format (JSON, XML, headers)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AwsError(Exception):
    """An answer that is an error, in AWS's words.

    Attributes:
        code: as SDKs see it, e.g. ``ClusterNotFoundException``.
        message: one sentence for people. Never holds a secret: it goes over the wire and into logs.
        status: HTTP status, used unless the service's model names one for this code.
        members: further members of the error's shape, e.g. ``RestApiStatusCode`` of MWAA.
    """

    def __init__(self, code: str, message: str, status: int = 400, members: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members: dict[str, Any] = dict(members or {})
