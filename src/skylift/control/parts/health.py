"""Whether Airflow is healthy: the load balancer's target, and ``GET /api/v2/monitor/health``."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError

from skylift.aws.elb import Balancers
from skylift.control.airflow_config import web_url
from skylift.control.blueprint import components
from skylift.control.part_context import PartContext
from skylift.control.parts.seam import LookedAtParts
from skylift.control.parts.service import calm_fact, failed_fact
from skylift.control.plan import SILENT, PartPhase, Seen

WANTED = ("metadatabase", "scheduler", "dag_processor", "triggerer")
"""Members of Airflow's health answer, each ``{"status": "healthy"}`` (airflow/api/common/airflow_health.py)."""

SECONDS = 10.0
"""Time limit for one answer."""


class HealthParts(LookedAtParts):
    """Parts of kind HEALTH."""

    def __init__(self, balancers: Balancers) -> None:
        self._balancers = balancers

    def look(self, context: PartContext) -> Seen:
        states = self._balancers.target_states(context.fact("web.target_group"))
        if "healthy" not in states:
            return Seen(PartPhase.MOVING, note=SILENT)
        answer = ask(f"{web_url(context)}/api/v2/monitor/health")
        if not answer:
            return Seen(PartPhase.MOVING, note=SILENT)
        if missing := unwell(answer):
            return Seen(PartPhase.MOVING, note="no heartbeat of " + ", ".join(missing))
        # Restarts are counted from zero again.
        told = {role: context.facts.get(failed_fact(role)) for role in components(context.spec)}
        return Seen(PartPhase.READY, {calm_fact(role): number for role, number in told.items() if number is not None})


def unwell(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of Airflow's components that are not healthy according to the answer."""
    return tuple(name for name in WANTED if (answer.get(name) or {}).get("status") != "healthy")


def ask(url: str) -> dict[str, Any]:
    """The JSON object at an address; {} when it does not answer with one."""
    # No proxy: an environment's load balancer is inside the network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            value = json.load(answer)
    except (HTTPError, URLError, OSError, ValueError, http.client.HTTPException):
        return {}
    return value if isinstance(value, dict) else {}
