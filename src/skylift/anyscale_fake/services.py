"""The fake's services: their states as a rollout has them. They serve nothing."""

from __future__ import annotations

import time
from typing import Any

from skylift.anyscale_fake.answers import CREATOR
from skylift.anyscale_fake.records import Records, ServiceRecord, new_id

ROLLOUT_SECONDS = 3.0
NEEDED_OF_SERVICE = ("name", "project_id", "build_id", "compute_config_id", "ray_serve_config")
"""Members that the body of a rollout must have."""


class FakeServices:
    """Services by name.

    Args:
        rollout_seconds: how long a rollout takes.
    """

    def __init__(self, records: Records, rollout_seconds: float = ROLLOUT_SECONDS) -> None:
        self._records = records
        self._seconds = rollout_seconds

    def apply(self, body: dict[str, Any]) -> dict[str, Any]:
        """A new service, or a new version of one."""
        known = self._records.services.get(body["name"])
        if known is None or known.state == "TERMINATED":
            known = ServiceRecord(new_id("service2"), body["name"], body, "STARTING", time.time())
            self._records.services[known.name] = known
        else:
            known.body, known.version, known.since = body, known.version + 1, time.time()
            percent = body.get("canary_percent")
            known.state, known.canary = "ROLLING_OUT", percent is not None and percent < 100
        self._records.save()
        return self.shown(known)

    def act(self, service: ServiceRecord, verb: str) -> dict[str, Any]:
        """``terminate`` or ``rollback``."""
        service.since = time.time()
        service.state = "TERMINATING" if verb == "terminate" else "ROLLING_BACK"
        service.version = max(1, service.version - (verb == "rollback"))
        self._records.save()
        return self.shown(service)

    def by_id(self, one: str) -> ServiceRecord | None:
        """A service."""
        return next((service for service in self._records.services.values() if service.id == one), None)

    def listed(self, name: str) -> list[dict[str, Any]]:
        """Services of this name, or all."""
        return [self.shown(one) for one in self._records.services.values() if name in {"", one.name}]

    def shown(self, service: ServiceRecord) -> dict[str, Any]:
        """As Anyscale shows it."""
        self._move(service)
        part = service.canary and service.state == "ROLLING_OUT"
        ready = time.time() - service.since >= self._seconds
        version = {
            "id": f"{service.id}-v{service.version}",
            "current_state": "RUNNING" if ready or service.state == "RUNNING" else "STARTING",
            "created_at": "2026-01-01T00:00:00+00:00",
            "version": str(service.version),
            "build_id": service.body["build_id"],
            "compute_config_id": service.body["compute_config_id"],
            "ray_serve_config": service.body["ray_serve_config"],
            "production_job_ids": [],
            "weight": 100,
            "current_weight": 100,
            "target_weight": 100,
        }
        primary = {**version, "id": f"{service.id}-v{service.version - 1}"} if part else version
        return {
            "id": service.id,
            "name": service.name,
            "project_id": service.body["project_id"],
            "cloud_id": "cld_local",
            "creator": CREATOR,
            "creator_id": "usr_local",
            "service_observability_urls": {},
            "type": "SERVICE_V2",
            "created_at": "2026-01-01T00:00:00+00:00",
            "ended_at": None,
            "hostname": "localhost",
            "base_url": "http://localhost",
            "auth_token": "none",
            "current_state": service.state,
            "goal_state": "TERMINATED" if service.state.startswith("TERMINAT") else "RUNNING",
            "auto_rollout_enabled": not part,
            "is_multi_version": False,
            "error_message": service.error or None,
            "versions": [version],
            "primary_version": primary,
            "canary_version": version if part else None,
        }

    def _move(self, service: ServiceRecord) -> None:
        if time.time() - service.since < self._seconds:
            return
        if service.state == "TERMINATING":
            service.state = "TERMINATED"
        elif service.state in {"STARTING", "ROLLING_BACK"} or (service.state == "ROLLING_OUT" and not service.canary):
            service.state, service.canary = "RUNNING", False
        else:
            return
        self._records.save()
