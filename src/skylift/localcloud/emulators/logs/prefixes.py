"""FilterLogEvents with ``logStreamNamePrefix``: ministack ignores it, and answers with the events of every stream.

So whoever asked for one ECS task's lines got those of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Filter = Callable[[dict[str, Any]], Any]


def heed_prefixes(logs: Any) -> None:
    """Installs this in ministack's module ``services.cloudwatch_logs``."""
    logs._filter_log_events = HeededPrefix(
        logs._filter_log_events, logs._resolve_log_group_name, logs._log_groups, logs.error_response_json
    )


class HeededPrefix:
    """ministack's ``FilterLogEvents``, asked for the streams whose names begin with the prefix.

    Args:
        events: ministack's own function.
        group_name: the group's name in a request.
        groups: all log groups, by name.
        refusal: makes an answer from an error code, a message and an HTTP status.
    """

    def __init__(
        self, events: Filter, group_name: Callable[[dict[str, Any]], str], groups: Any, refusal: Callable[..., Any]
    ) -> None:
        self._events = events
        self._group_name = group_name
        self._groups = groups
        self._refusal = refusal

    def __call__(self, request: dict[str, Any]) -> Any:
        """The answer."""
        prefix = request.get("logStreamNamePrefix")
        if not prefix:
            return self._events(request)
        if request.get("logStreamNames"):
            return self._refusal(
                "InvalidParameterException",
                "LogStreamNamePrefix and LogStreamNames are mutually exclusive parameters.",
                400,
            )
        group = self._group_name(request)
        streams = self._groups[group]["streams"] if group in self._groups else ()
        names = [name for name in streams if name.startswith(prefix)]
        # An empty list means all streams to ministack; one name that does not exist means none.
        return self._events({**request, "logStreamNames": names or [prefix]})
