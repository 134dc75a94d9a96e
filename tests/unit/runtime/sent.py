"""A place that metrics are sent to, which keeps them, refuses them, or hangs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skylift.core.errors import SkyliftError


@dataclass
class Sent:
    """What has come, call by call."""

    error: SkyliftError | None = None
    hanging: bool = False
    calls: list[tuple[str, list[Mapping[str, Any]]]] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def put(self, namespace: str, data: Sequence[Mapping[str, Any]]) -> None:
        """As ``aws.metrics.Metrics.put``."""
        self.begun.set()
        if self.hanging:
            self.go_on.wait(60)
        if self.error is not None:
            raise self.error
        self.calls.append((namespace, list(data)))
        self.arrived.set()
