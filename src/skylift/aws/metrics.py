"""CloudWatch's metrics: PutMetricData, in as few calls as its limits allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skylift.aws import models
from skylift.aws.clients import client as make
from skylift.aws.errors import calling

MOST_DATA = 1_000
"""Metrics in one call of PutMetricData (AWS's limit)."""

MOST_VALUES = 20_000
"""Values in one call: with them it stays well below 1 MB, AWS's other limit."""


class Metrics:
    """PutMetricData. A call ends within seconds, and is not made again: who has values to send has work to do, too.

    Args:
        client: CloudWatch's; default: one of our own, with a session of its own, so that its locks are held by no
            thread of user code, nor the other way round.
    """

    def __init__(self, client: Any = None) -> None:
        self._client = client

    def put(self, namespace: str, data: Sequence[Mapping[str, Any]]) -> None:
        """Sends metrics.

        Args:
            namespace: e.g. ``AmazonMWAA``.
            data: as PutMetricData's ``MetricData``.

        Raises:
            Refused, Unavailable: as every call; what was to come after is not sent.
        """
        if self._client is None:
            own = models.session()
            self._client = make("cloudwatch", attempts=1, connect_timeout=3.0, read_timeout=5.0, session=own)
        for chunk in chunks(data):
            with calling("cloudwatch PutMetricData"):
                self._client.put_metric_data(Namespace=namespace, MetricData=chunk)


def chunks(data: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Metrics in groups, each for one call."""
    chunk: list[Mapping[str, Any]] = []
    values = 0
    for one in data:
        size = len(one.get("Values", ())) + 1
        if chunk and (len(chunk) >= MOST_DATA or values + size > MOST_VALUES):
            yield chunk
            chunk, values = [], 0
        chunk.append(one)
        values += size
    if chunk:
        yield chunk
