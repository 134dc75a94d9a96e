"""How each service names its general errors, and where it is more or less strict than its model; the model does not
say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Convention:
    """Error codes of one service.

    Attributes:
        invalid: a request breaks the model's rules.
        internal: our bug.
        unchecked: shapes whose limits the service does not hold its callers to.
        required: members, by shape, that the service wants though its model does not say so.
        unserved: members of requests that we do not serve, each with what to do instead. They may be newer than the
            model, which would drop them silently.
        longest: bytes of the longest body; it is read on the event loop.
    """

    invalid: str
    internal: str
    unchecked: frozenset[str] = field(default_factory=frozenset)
    required: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unserved: Mapping[str, str] = field(default_factory=dict)
    longest: int = 2 * 1024 * 1024


CONVENTIONS = {
    # MWAA takes at most 64 characters of path, fewer than Airflow's own paths of an Airflow task have.
    "mwaa": Convention(
        "ValidationException",
        "InternalServerException",
        frozenset({"RestApiPath"}),
        unserved={
            "IdentityCenterConfiguration": "skylift does not sign people in by IAM Identity Center. Leave it out, "
            "and allow airflow:CreateWebLoginToken to the IAM roles that Identity Center gives to people",
            "Teams": "skylift does not serve Airflow's teams. Leave it out, and create an environment for each team",
        },
    ),
    "ecs": Convention("InvalidParameterException", "ServerException", required={"Tag": ("key",)}),
    # BatchOperator sends tags={} by default (the model wants one); "the values aren't case sensitive" (EvaluateOnExit's
    # action).
    "batch": Convention("ClientException", "ServerException", frozenset({"TagrisTagsMap", "RetryAction"})),
    "elbv2": Convention(
        "ValidationError",
        "InternalFailure",
        required={
            "LoadBalancerAttribute": ("Key",),
            "TargetGroupAttribute": ("Key",),
            "ListenerAttribute": ("Key",),
            "TargetGroupTuple": ("TargetGroupArn",),
        },
    ),
    # A batch of 1 MB may be escaped to several times its size. The provider checks its events, which is quicker.
    "logs": Convention(
        "InvalidParameterException",
        "ServiceUnavailableException",
        frozenset({"InputLogEvents"}),
        longest=8 * 1024 * 1024,
    ),
}
"""By botocore's service name."""

USUAL = Convention("ValidationException", "InternalFailure")
"""For every other service."""
