"""CloudWatch's metrics: written and read in as few calls as its limits allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from skylift.aws import models, ready
from skylift.aws.clients import client
from skylift.aws.errors import calling

MOST_DATA = 1_000
"""Metrics in one call of PutMetricData (AWS's limit)."""

MOST_VALUES = 20_000
"""Values in one call: with them it stays well below 1 MB, AWS's other limit."""


MOST_QUERIES = 500
"""Metrics in one call of GetMetricData (AWS's limit)."""

PERIOD = 60


@dataclass(frozen=True)
class Series:
    """One metric in CloudWatch."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]


class CloudWatch:
    """A call ends within seconds, and is not made again: who has values to send has other work to do.

    Args:
        region: default: the usual AWS places.
    """

    def __init__(self, region: str | None = None) -> None:
        self._region = region
        self._made: Any = None

    def put(self, namespace: str, data: Sequence[Mapping[str, Any]]) -> None:
        """Sends metrics.

        Args:
            namespace: e.g. ``AmazonMWAA``.
            data: as PutMetricData's ``MetricData``.

        Raises:
            Refused, Unavailable: as every call; what was to come after is not sent.
        """
        for chunk in chunks(data):
            with calling("cloudwatch PutMetricData"):
                self._client.put_metric_data(Namespace=namespace, MetricData=chunk)

    def newest(self, series: Sequence[Series], since: datetime) -> list[tuple[datetime, float] | None]:
        """The newest average of each metric over a minute, with its time; ``None``: there is none since then.

        Raises:
            Refused, Unavailable: as every call.
        """
        found: list[tuple[datetime, float] | None] = []
        for begin in range(0, len(series), MOST_QUERIES):
            queries = [_query(number, one) for number, one in enumerate(series[begin : begin + MOST_QUERIES])]
            answers: dict[str, list[tuple[datetime, float]]] = {query["Id"]: [] for query in queries}
            with calling("cloudwatch GetMetricData"):
                pages = self._client.get_paginator("get_metric_data").paginate(
                    MetricDataQueries=queries, StartTime=since, EndTime=datetime.now(UTC) + timedelta(minutes=1)
                )
                for result in (result for page in pages for result in page["MetricDataResults"]):
                    answers[result["Id"]] += zip(result["Timestamps"], result["Values"], strict=True)
            found += [max(values) if values else None for values in answers.values()]
        return found

    @property
    def _client(self) -> Any:
        """Made at the first call if none is ready, with a session of its own: no thread of user code holds its locks,
        nor the other way round."""
        if self._made is None:
            self._made = ready.take("cloudwatch", self._region, ready.BRIEF) or client(
                "cloudwatch", region=self._region, session=models.session(self._region), **ready.BRIEF._asdict()
            )
        return self._made


def _query(number: int, series: Series) -> dict[str, Any]:
    dimensions = [{"Name": name, "Value": value} for name, value in series.dimensions.items()]
    metric = {"Namespace": series.namespace, "MetricName": series.name, "Dimensions": dimensions}
    return {"Id": f"q{number}", "MetricStat": {"Metric": metric, "Period": PERIOD, "Stat": "Average"}}


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
