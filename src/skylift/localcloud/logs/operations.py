"""What all operations of CloudWatch Logs share: the store, names and ARNs, and the usual refusals."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skylift.core.errors import DiskFull, Unavailable
from skylift.localcloud.logs.put_rules import invalid
from skylift.localcloud.logs.store import LogGroup, LogStore, LogStream
from skylift.localcloud.logs.tokens import page_token, page_words
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

Request = dict[str, Any]
MOST_DESCRIBED = 50


class LogsUnavailable(Unavailable):
    """The file cannot be read; the text is for callers."""

    for_callers = True


class LogOperations:
    """Base of the groups of operations."""

    store: LogStore

    def group_named(self, name: str) -> LogGroup:
        """A group. Raises ``AwsError`` if there is none."""
        found = self.store.group(name)
        if found is None:
            raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
        return found

    def group_of(self, request: Mapping[str, Any]) -> LogGroup:
        """The group that a request names by name or by ``logGroupIdentifier``. Raises ``AwsError``."""
        name, identifier = request.get("logGroupName"), request.get("logGroupIdentifier")
        if name and identifier:
            raise invalid("LogGroupName and LogGroupIdentifier are mutually exclusive parameters.")
        if not name and not identifier:
            raise invalid("LogGroupName or LogGroupIdentifier must be specified.")
        return self.group_named(name_of(name or str(identifier)))

    def stream_named(self, group: LogGroup, name: str) -> LogStream:
        """A stream. Raises ``AwsError`` if there is none."""
        found = self.store.stream(group, name)
        if found is None:
            raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
        return found


@contextlib.contextmanager
def written(what: str = "this") -> Iterator[None]:
    """Around a change: raises ``DiskFull`` if the disk does not take it."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise DiskFull(
            f"The local cloud cannot write {what} to its disk, so it was not done: {error}. "
            "Free some space and try again."
        ) from error


def name_of(identifier: str) -> str:
    """A group's name, from its name or ARN."""
    return identifier.split(":log-group:", 1)[-1].removesuffix(":*") if identifier.startswith("arn:") else identifier


def arn_of(caller: Caller, name: str) -> str:
    """A group's ARN."""
    return f"arn:aws:logs:{caller.region}:{caller.account}:log-group:{name}"


def paged(
    member: str, items: Sequence[Request], request: Mapping[str, Any], key: str, most: int = MOST_DESCRIBED
) -> Request:
    """A page of a list in the order of ``key``, with the token of the next one."""
    question = [member, *(f"{name}={value}" for name, value in sorted(request.items()) if name not in _OF_A_PAGE)]
    token, limit = request.get("nextToken"), request.get("limit", request.get("maxResults", most))
    after = str(page_words(token, question).get("after")) if token else ""
    left = [one for one in items if str(one[key]) > after] if after else list(items)
    page: Request = {member: left[:limit]}
    if len(left) > limit:
        page["nextToken"] = page_token({"after": left[limit - 1][key]}, question)
    return page


_OF_A_PAGE = frozenset({"nextToken", "limit", "maxResults"})
