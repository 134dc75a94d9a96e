"""What containers printed, in CloudWatch Logs: the last lines, new lines, and lines added to somebody else's
log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling, code_of
from skylift.core.attempt import Output

MOST_EVENTS = 10_000
"""Of one GetLogEvents (or 1 MB; botocore model ``logs/2014-03-28``, GetLogEvents)."""


@dataclass(frozen=True)
class Stream:
    """A log stream. ``region`` "" is the region of whoever reads."""

    group: str
    name: str
    region: str = ""


class LogReader:
    """Reads log streams of any region. Thread-safe; methods raise ``Refused`` or ``Unavailable``.

    Args:
        session: a boto3 session with the credentials; ``None`` for the usual places.
        region: of streams that name none; "" as AWS's own settings say.
    """

    def __init__(self, session: Any = None, region: str = "") -> None:
        self._session = session
        self._region = region
        self._clients: dict[str, Any] = {}
        # See ``_client``.
        self._lock = Lock()

    def last(self, stream: Stream, most: int) -> tuple[str, ...]:
        """The last lines, oldest first; none when group or stream are not there."""
        return self._events(stream, limit=most, startFromHead=False)[0]

    def since(self, stream: Stream, token: str = "", start: float = 0.0) -> tuple[tuple[str, ...], str]:
        """Lines from the start, or from where an earlier call's token says; and the token for the next call.

        At most 1 MB or 10,000 lines. No lines and the same token: nothing is new.

        Args:
            start: seconds since 1970; lines before are left out.
        """
        position: dict[str, Any] = {"nextToken": token} if token else {}
        if start:
            position["startTime"] = int(start * 1000)
        return self._events(stream, limit=MOST_EVENTS, startFromHead=True, **position)

    def of(self, stream: Stream) -> StreamOutput:
        """What is printed into a stream."""
        return StreamOutput(self, stream)

    def _events(self, stream: Stream, **how: Any) -> tuple[tuple[str, ...], str]:
        with calling(f"logs GetLogEvents {stream.group} {stream.name}"):
            try:
                answer = self._client(stream.region).get_log_events(
                    logGroupName=stream.group, logStreamName=stream.name, **how
                )
            except ClientError as error:
                if code_of(error) == "ResourceNotFoundException":
                    return (), ""
                raise
        return tuple(str(event["message"]).rstrip() for event in answer["events"]), answer["nextForwardToken"]

    def _client(self, region: str) -> Any:
        region = region or self._region
        # boto3 sessions must not make clients in several threads at once.
        with self._lock:
            if region not in self._clients:
                # Few tries: these lines are wanted soon or not at all.
                made = client("logs", region=region or None, attempts=2, read_timeout=10, session=self._session)
                self._clients[region] = made
            return self._clients[region]


@dataclass(frozen=True)
class StreamOutput(Output):
    """A log stream as the output of a container."""

    reader: LogReader
    stream: Stream

    def since(self, token: str, start: float) -> tuple[tuple[str, ...], str]:
        return self.reader.since(self.stream, token, start)


def append(logs: Any, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
    """Adds events to a stream, which is made if it does not exist.

    Args:
        logs: boto3's ``logs`` client.
        events: milliseconds since 1970, in rising order, and message; together at most 1 MB.

    Raises:
        Refused, Unavailable: it cannot be; also when the group is not there.
    """
    request = {
        "logGroupName": group,
        "logStreamName": stream,
        "logEvents": [{"timestamp": when, "message": message} for when, message in events],
    }
    with calling(f"logs PutLogEvents {group} {stream}"):
        try:
            logs.put_log_events(**request)
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            _make_stream(logs, group, stream)
            logs.put_log_events(**request)


def _make_stream(logs: Any, group: str, stream: str) -> None:
    try:
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    except ClientError as error:
        if code_of(error) != "ResourceAlreadyExistsException":
            raise
