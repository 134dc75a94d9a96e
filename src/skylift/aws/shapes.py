"""What is wrong with the arguments of an AWS call, without making it: botocore's own check against the service's model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from botocore.validate import ParamValidator

from skylift.aws import models


def mistakes(service: str, operation: str, arguments: Mapping[str, Any]) -> str:
    """Unknown names, wrong types and what is missing, one line; "" when the call may be made.

    Args:
        service: boto3's name, e.g. ``ecs``.
        operation: e.g. ``RunTask``.
    """
    report = ParamValidator().validate(dict(arguments), _input(service, operation))
    return "; ".join(report.generate_report().splitlines()) if report.has_errors() else ""


@cache
def _input(service: str, operation: str) -> Any:
    return models.core().get_service_model(service).operation_model(operation).input_shape
