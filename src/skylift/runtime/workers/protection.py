"""ECS task protection: while a worker is busy, neither scaling in nor a deployment ends its ECS task.

The worker asks for it at the ECS agent's endpoint. A protection ends by itself, so that a worker that hangs does not
stay forever; it is renewed long before.
"""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

AGENT = "ECS_AGENT_URI"
MINUTES = 20
RENEW_SECONDS = 300.0
TRY_SECONDS = 15.0
"""After a refusal, the next attempt."""


class Protection:
    """Of one ECS task.

    Args:
        url: the agent's endpoint; empty outside ECS: nothing is done.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._until_next = 0.0
        self._on = False
        self._said = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Protection:
        """As the container's environment says."""
        return cls(environ.get(AGENT, ""))

    def protect(self, now: float) -> None:
        """Protects, or renews if that is due. Never raises: an unprotected worker works, too."""
        if not self._url or (now < self._until_next):
            return
        self._on = self._ask({"ProtectionEnabled": True, "ExpiresInMinutes": MINUTES})
        self._until_next = now + (RENEW_SECONDS if self._on else TRY_SECONDS)

    def release(self) -> None:
        """Ends the protection, if there is one."""
        if self._on:
            self._on = not self._ask({"ProtectionEnabled": False})
        if not self._on:
            self._until_next = 0.0

    def _ask(self, wanted: Mapping[str, Any]) -> bool:
        body = json.dumps(wanted).encode()
        call = urllib.request.Request(f"{self._url}/task-protection/v1/state", body, method="PUT")  # noqa: S310
        call.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(call, timeout=5) as answer:
                told = json.load(answer)
            if "protection" in told:
                return True
            why = told.get("failure") or told.get("error") or told
        except (OSError, ValueError) as error:
            why = error
        if not self._said:
            log.warning("ECS does not protect this worker; scaling in may end it while it is busy: %s", why)
            self._said = True
        return False
