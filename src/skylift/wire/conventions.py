"""How each service names its own general errors; the model does not say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Convention:
    """Error codes of one service.

    Attributes:
        invalid: a request breaks the model's rules.
        internal: our bug.
    """

    invalid: str
    internal: str


CONVENTIONS = {
    "mwaa": Convention("ValidationException", "InternalServerException"),
    "ecs": Convention("InvalidParameterException", "ServerException"),
    "batch": Convention("ClientException", "ServerException"),
    "elbv2": Convention("ValidationError", "InternalFailure"),
}
"""By botocore's service name."""

USUAL = Convention("ValidationException", "InternalFailure")
"""For every other service."""
