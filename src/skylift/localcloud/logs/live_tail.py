"""StartLiveTail: new events as they arrive, once a second, for up to three hours."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skylift.localcloud.logs.events import Arrival, NewEvents, pattern_of
from skylift.localcloud.logs.operations import LogOperations, Request, arn_of, name_of
from skylift.localcloud.logs.patterns.pattern import FilterPattern
from skylift.localcloud.logs.put_rules import invalid
from skylift.localcloud.logs.store import LogStore
from skylift.wire.errors import AwsError
from skylift.wire.event_stream import EventStream
from skylift.wire.provider import Caller

MOST_A_SECOND = 500
"""Events of one update; of more, these are shown, and the update says ``sampled``."""

MOST_SESSIONS = 15
SESSION_SECONDS = 3 * 3600.0


@dataclass
class TailSession:
    """One live tail."""

    groups: Mapping[str, str]
    streams: frozenset[str]
    prefixes: tuple[str, ...]
    pattern: FilterPattern
    waiting: list[Request] = field(default_factory=list)
    sampled: bool = False

    def wants(self, stream: str) -> bool:
        """Whether it shows a stream."""
        if not self.streams and not self.prefixes:
            return True
        return stream in self.streams or stream.startswith(self.prefixes or ("\0",))


class LiveTails(NewEvents):
    """All sessions; nothing of them is kept on disk."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self.sessions: list[TailSession] = []

    def arrived(self, new: Arrival) -> None:
        """Gives events to the sessions that want them."""
        for session in self.sessions:
            if new.group.name not in session.groups or not session.wants(new.stream):
                continue
            for at, message in zip(new.times, new.messages, strict=True):
                if not session.pattern.matches(message):
                    continue
                if len(session.waiting) >= MOST_A_SECOND:
                    session.sampled = True
                    break
                session.waiting.append(
                    {
                        "logStreamName": new.stream,
                        "logGroupIdentifier": session.groups[new.group.name],
                        "message": message,
                        "timestamp": at,
                        "ingestionTime": self._store.now(),
                    }
                )


class TailOperations(LogOperations):
    """StartLiveTail."""

    tails: LiveTails

    async def start_live_tail(self, caller: Caller, request: Request) -> EventStream:
        """A stream of events; it begins at once, and ends with the connection."""
        identifiers = request["logGroupIdentifiers"]
        names, prefixes = request.get("logStreamNames", []), request.get("logStreamNamePrefixes", [])
        if names and prefixes:
            raise invalid("LogStreamNames and LogStreamNamePrefixes are mutually exclusive parameters.")
        if (names or prefixes) and len(identifiers) > 1:
            raise invalid("Log streams can only be specified with one log group.")
        if any(not one.startswith("arn:") for one in identifiers):
            raise invalid("Log groups must be specified by their ARNs, without ':*' at the end.")
        groups = {self.group_named(name_of(one)).name: _shown(caller, one) for one in identifiers}
        if len(self.tails.sessions) >= MOST_SESSIONS:
            raise AwsError("LimitExceededException", f"There are {MOST_SESSIONS} live tail sessions already.")
        pattern = pattern_of(request.get("logEventFilterPattern", ""))
        return EventStream(self._events(TailSession(groups, frozenset(names), tuple(prefixes), pattern), request))

    async def _events(self, session: TailSession, request: Request) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        self.tails.sessions.append(session)
        try:
            yield "sessionStart", {"requestId": str(uuid.uuid4()), "sessionId": str(uuid.uuid4()), **request}
            for _ in range(int(SESSION_SECONDS)):
                await asyncio.sleep(1.0)
                results, session.waiting = session.waiting, []
                sampled, session.sampled = session.sampled, False
                yield "sessionUpdate", {"sessionMetadata": {"sampled": sampled}, "sessionResults": results}
            yield "SessionTimeoutException", {"message": "The session has ended after three hours."}
        finally:
            self.tails.sessions.remove(session)


def _shown(caller: Caller, arn: str) -> str:
    """As events name their group: account and name."""
    return f"{caller.account}:{name_of(arn_of(caller, name_of(arn)))}"
