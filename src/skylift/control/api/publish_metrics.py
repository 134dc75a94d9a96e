"""PublishMetrics, the operation with which MWAA's own parts report: sends values to CloudWatch for the environment.

AWS calls it deprecated and for internal use. Execution roles of MWAA's users still allow it, so scripts may call it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from skylift.core.errors import Refused, Unavailable
from skylift.wire.errors import AwsError

NAMESPACE = "AmazonMWAA"
ENVIRONMENT = "Environment"


class Puts(Protocol):
    """CloudWatch (``aws.metrics``)."""

    def put(self, namespace: str, data: Sequence[Mapping[str, Any]]) -> None: ...


def publish(request: Mapping[str, Any], cloudwatch: Puts) -> None:
    """Puts a request's metrics; each has the environment as a dimension, whatever the request says of it.

    Raises:
        AwsError: a metric has no value, or two; CloudWatch refuses them, or does not answer.
    """
    data = [_datum(one, str(request["EnvironmentName"])) for one in request["MetricData"]]
    try:
        if data:
            cloudwatch.put(NAMESPACE, data)
    except Refused as error:
        raise AwsError("ValidationException", str(error)) from error
    except Unavailable as error:
        raise AwsError("InternalServerException", "CloudWatch does not answer. Try again.", 500) from error


def _datum(one: Mapping[str, Any], environment: str) -> dict[str, Any]:
    if ("Value" in one) == ("StatisticValues" in one):
        raise AwsError("ValidationException", f"Metric {one['MetricName']}: give Value or StatisticValues")
    others = [pair for pair in one.get("Dimensions", ()) if pair["Name"] != ENVIRONMENT]
    return {**one, "Dimensions": [*others, {"Name": ENVIRONMENT, "Value": environment}]}
