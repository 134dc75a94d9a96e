"""Metric filters: operations, and what new events become in CloudWatch's metrics.

A filter's value goes to the metric when the events arrive, with the time of their arrival. The default value is sent
once in each minute in which events arrive and none of the first batch matches.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skylift.localcloud.logs.events import Arrival, NewEvents, pattern_of
from skylift.localcloud.logs.groups import METRIC_FILTER
from skylift.localcloud.logs.operations import LogOperations, Request, paged, written
from skylift.localcloud.logs.patterns.delimited import DelimitedPattern
from skylift.localcloud.logs.patterns.json_pattern import JsonPattern, JsonSelector, document_of
from skylift.localcloud.logs.patterns.lexer import InvalidPattern, number_of
from skylift.localcloud.logs.patterns.pattern import FilterPattern, parse
from skylift.localcloud.logs.put_rules import invalid
from skylift.localcloud.logs.store import LogGroup, LogStore
from skylift.localcloud.ports import Measured
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

MOST_FILTERS, MOST_DIMENSIONS = 100, 3
_FIELD = re.compile(r"\$[\w\-.]+")
_log = logging.getLogger(__name__)

Emit = Callable[[Sequence[Measured], int], None]
"""Stores values of metrics, each so many times, with the current time."""


class MetricFilterOperations(LogOperations):
    """PutMetricFilter and the like."""

    def put_metric_filter(self, _caller: Caller, request: Request) -> None:
        """Adds or replaces one; it sees the events that come after it."""
        group, name = self.group_named(request["logGroupName"]), request["filterName"]
        pattern = pattern_of(request["filterPattern"])
        for one in request["metricTransformations"]:
            _check(pattern, one)
        known = self.store.documents(METRIC_FILTER, group.name)
        if len(known) >= MOST_FILTERS and all(one["filterName"] != name for one in known):
            raise AwsError("LimitExceededException", "Resource limit exceeded.")
        body = {**request, "creationTime": self.store.now()}
        with written("the metric filter"):
            self.store.put_document(METRIC_FILTER, name, body, group.name)

    def describe_metric_filters(self, _caller: Caller, request: Request) -> Request:
        """Those of a group, or of a metric."""
        group = request.get("logGroupName")
        if group is not None:
            self.group_named(group)
        elif bool(request.get("metricName")) != bool(request.get("metricNamespace")):
            raise invalid(
                "If you include the metricName parameter in your request, you must also include metricNamespace."
            )
        wanted = {name: request[name] for name in ("metricName", "metricNamespace") if name in request}
        found = [
            {**one, "place": f"{one['logGroupName']}\0{one['filterName']}"}
            for one in self.store.documents(METRIC_FILTER, group)
            if one["filterName"].startswith(request.get("filterNamePrefix", ""))
            and all(one["metricTransformations"][0].get(name) == value for name, value in wanted.items())
        ]
        return paged("metricFilters", found, request, "place")

    def delete_metric_filter(self, _caller: Caller, request: Request) -> None:
        """Deletes one."""
        group = self.group_named(request["logGroupName"])
        with written():
            there = self.store.remove_document(METRIC_FILTER, request["filterName"], group.name)
        if not there:
            raise AwsError("ResourceNotFoundException", "The specified metric filter does not exist.")

    def test_metric_filter(self, _caller: Caller, request: Request) -> Request:  # noqa: PT019  an operation, no test
        """Which of some messages match, and the values of the pattern's fields in them."""
        pattern = pattern_of(request["filterPattern"])
        return {
            "matches": [
                {"eventNumber": number, "eventMessage": message, "extractedValues": dict(pattern.values(message))}
                for number, message in enumerate(request["logEventMessages"], 1)
                if pattern.matches(message)
            ]
        }


class MetricEmitter(NewEvents):
    """Looks at new events for the metric filters of their group."""

    def __init__(self, store: LogStore, emit: Emit) -> None:
        self._store = store
        self._emit = emit
        self._minutes: dict[tuple[int, str], int] = {}

    def arrived(self, new: Arrival) -> None:
        """Emits what the filters say."""
        for one in self._store.documents(METRIC_FILTER, new.group.name):
            try:
                self._look(new.group, one, new.messages)
            except OSError as error:
                _log.warning("metric filter %s of %s: %s", one["filterName"], new.group.name, error)

    def _look(self, group: LogGroup, one: Mapping[str, Any], messages: Sequence[str]) -> None:
        pattern = parse(one["filterPattern"])
        matched = [message for message in messages if pattern.matches(message)]
        minute = self._store.now() // 60_000
        for transformation in one["metricTransformations"]:
            key = group.id, str(one["filterName"])
            found = Counter(value for message in matched for value in _value(pattern, transformation, message))
            for (value, dimensions), count in found.items():
                self._emit([_measured(transformation, value, dict(dimensions))], count)
            if not found and "defaultValue" in transformation and self._minutes.get(key) != minute:
                self._emit([_measured(transformation, float(transformation["defaultValue"]), {})], 1)
            self._minutes[key] = minute


def _measured(transformation: Mapping[str, Any], value: float, dimensions: Mapping[str, str]) -> Measured:
    unit = transformation.get("unit", "None")
    return Measured(transformation["metricNamespace"], transformation["metricName"], value, unit, dimensions)


def _value(
    pattern: FilterPattern, transformation: Mapping[str, Any], message: str
) -> list[tuple[float, tuple[tuple[str, str], ...]]]:
    """The value that a message gives, with its dimensions; none if a field is missing or no number."""
    text = _field(pattern, transformation["metricValue"], message)
    number = number_of(text.strip()) if text is not None else None
    named = {
        name: _field(pattern, selector, message) for name, selector in transformation.get("dimensions", {}).items()
    }
    if number is None:
        return []
    return [(number, tuple((name, value) for name, value in named.items() if value))]


def _field(pattern: FilterPattern, selector: str, message: str) -> str | None:
    """A constant, or the value of ``$.field`` or ``$field`` in a message."""
    if not selector.startswith("$"):
        return selector
    if isinstance(pattern, DelimitedPattern):
        return pattern.values(message).get(selector)
    try:
        found = next(JsonSelector(selector).find(document_of(message)), None)
    except InvalidPattern:
        return None
    return None if found is None or isinstance(found, dict | list) else str(found)


def _check(pattern: FilterPattern, transformation: Mapping[str, Any]) -> None:
    """Raises ``AwsError``: the transformation does not go with the pattern."""
    value, dimensions = transformation["metricValue"], transformation.get("dimensions", {})
    fielded = isinstance(pattern, JsonPattern | DelimitedPattern)
    if dimensions and not fielded:
        raise invalid("The specified filter pattern does not support dimensions.")
    if dimensions and "defaultValue" in transformation:
        raise invalid("Invalid metric transformation: dimensions and default value are mutually exclusive properties.")
    if len(dimensions) > MOST_DIMENSIONS:
        raise invalid(f"Invalid metric transformation: at most {MOST_DIMENSIONS} dimensions are allowed.")
    for selector in (value, *dimensions.values()):
        if selector.startswith("$"):
            _check_selector(pattern, selector)
        elif selector is value and number_of(value.strip()) is None:
            raise invalid(f"Invalid metric transformation: metricValue '{value}' is neither a number nor a field.")


def _check_selector(pattern: FilterPattern, selector: str) -> None:
    words = f"Invalid metric transformation: the filter pattern has no field '{selector}'."
    if isinstance(pattern, DelimitedPattern):
        known = {f"${one.name or number}" for number, one in enumerate(pattern.fields, 1)}
        if not _FIELD.fullmatch(selector) or selector not in known:
            raise invalid(words)
    elif isinstance(pattern, JsonPattern):
        try:
            JsonSelector(selector)
        except InvalidPattern:
            raise invalid(words) from None
    else:
        raise invalid(words)
