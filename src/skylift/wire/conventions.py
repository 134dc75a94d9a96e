"""How each service names its own general errors, and where it is milder than its model; the model does not say."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Convention:
    """Error codes of one service.

    Attributes:
        invalid: a request breaks the model's rules.
        internal: our bug.
        unchecked: shapes whose limits the service does not hold its callers to.
    """

    invalid: str
    internal: str
    unchecked: frozenset[str] = field(default_factory=frozenset)


CONVENTIONS = {
    "mwaa": Convention("ValidationException", "InternalServerException"),
    "ecs": Convention("InvalidParameterException", "ServerException"),
    # BatchOperator sends tags={} by default (the model wants one); "the values aren't case sensitive" (EvaluateOnExit's action).
    "batch": Convention("ClientException", "ServerException", frozenset({"TagrisTagsMap", "RetryAction"})),
    "elbv2": Convention("ValidationError", "InternalFailure"),
}
"""By botocore's service name."""

USUAL = Convention("ValidationException", "InternalFailure")
"""For every other service."""
