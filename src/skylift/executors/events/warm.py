"""Events of warm containers: ends of workloads, which no AWS service reports, and events of a container translated to
its present workload."""

from __future__ import annotations

from collections.abc import Collection

from skylift.core.attempt import Observation
from skylift.executors.events.source import Source
from skylift.executors.in_container.warm import WarmCompute, container_of


class WarmSource(Source):
    """Ends of workloads in warm containers, as a ``Source``."""

    def __init__(self, compute: WarmCompute) -> None:
        self._compute = compute

    def receive(self) -> list[Observation]:
        return self._compute.listen(10.0)

    def settle(self, strangers: Collection[str]) -> None:
        """There is nothing to settle."""

    def close(self) -> None:
        """There is nothing to close."""


class Rereading(Source):
    """Wraps a source whose observations are about containers; returns those about their present workloads."""

    def __init__(self, source: Source, compute: WarmCompute) -> None:
        self._source = source
        self._compute = compute

    def receive(self) -> list[Observation]:
        return [one for seen in self._source.receive() if (one := self._compute.reread(seen))]

    def settle(self, strangers: Collection[str]) -> None:
        self._source.settle([container_of(ref) for ref in strangers])

    def close(self) -> None:
        self._source.close()
