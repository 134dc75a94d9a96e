"""What CreateService and UpdateService refuse beyond botocore's model. Pure; each rule with its source.

Sources: API reference (CreateService, DeploymentConfiguration), "Service definition parameters". What ECS has but this
local cloud does not is refused, not silently ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from skylift.localcloud.ecs.model.shapes import invalid

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")
_LONGEST_GRACE = 2_147_483_647


def check_service(request: Mapping[str, Any]) -> None:
    """Refuses a service that ECS would not accept (``InvalidParameterException``)."""
    if "serviceName" in request and not _NAME.fullmatch(request["serviceName"]):
        raise invalid("Service name must have up to 255 letters, numbers, underscores and hyphens.")
    if request.get("schedulingStrategy", "REPLICA") != "REPLICA":
        raise invalid("The scheduling strategy DAEMON is not supported on Fargate.")
    if (request.get("deploymentController") or {}).get("type", "ECS") != "ECS":
        raise invalid("skylift's local cloud serves the deployment controller ECS only.")
    if request.get("desiredCount", 0) < 0:
        raise invalid("desiredCount must not be negative.")
    if (request.get("serviceConnectConfiguration") or {}).get("enabled"):
        raise invalid("Service Connect is not supported by skylift's local cloud.")
    for member in ("volumeConfigurations", "vpcLatticeConfigurations"):
        if request.get(member):
            raise invalid(f"{member} is not supported by skylift's local cloud.")
    _check_grace(request)
    check_deployment(request.get("deploymentConfiguration") or {})


def _check_grace(request: Mapping[str, Any]) -> None:
    grace = request.get("healthCheckGracePeriodSeconds")
    if grace is not None and not 0 <= grace <= _LONGEST_GRACE:
        raise invalid(f"healthCheckGracePeriodSeconds must be between 0 and {_LONGEST_GRACE}.")


def check_deployment(configuration: Mapping[str, Any]) -> None:
    """Refuses percentages that leave a deployment no room, and unsupported strategies."""
    least, most = configuration.get("minimumHealthyPercent", 100), configuration.get("maximumPercent", 200)
    if least < 0 or most < 100:
        raise invalid("minimumHealthyPercent must not be negative, and maximumPercent must be at least 100.")
    if least > 100:
        raise invalid("minimumHealthyPercent must not be more than 100.")
    if least >= most:
        raise invalid("Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments")
    if configuration.get("strategy", "ROLLING") != "ROLLING":
        raise invalid(f"The deployment strategy {configuration['strategy']} is not supported by skylift's local cloud.")
    if configuration.get("lifecycleHooks"):
        raise invalid("Lifecycle hooks are not supported by skylift's local cloud.")
    if (configuration.get("alarms") or {}).get("enable"):
        raise invalid("Deployment alarms are not supported by skylift's local cloud.")
