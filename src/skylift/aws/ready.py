"""Clients that are made before a fork, for the forked processes: making one costs 8 ms, more than most calls.

Each is given out once, to whoever first asks for a client of that service in the environment for which it was made.
The forks of one process share no connection, because none was used before. Their credentials are the container's,
fetched when the first call needs them.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from botocore.credentials import ContainerProvider

from skylift.aws import models
from skylift.aws.sessions import following

_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_DECISIVE = re.compile(r"AWS_(?!CONTAINER_).+|BOTO_CONFIG|REQUESTS_CA_BUNDLE|SSL_CERT_(FILE|DIR)|(?i:.+_proxy)")


class CallLimits(NamedTuple):
    """How long a client's calls may take.

    Attributes:
        attempts: tries of one call, the first included.
        read_timeout: seconds to wait for an answer.
        connect_timeout: seconds to wait for a connection.
    """

    attempts: int = 5
    read_timeout: float = 60.0
    connect_timeout: float = 10.0


USUAL = CallLimits()
BRIEF = CallLimits(attempts=1, read_timeout=5.0, connect_timeout=3.0)
"""For what is dropped when it cannot be told: who tells it has other work to do."""

_waiting: dict[tuple[str, CallLimits], list[Any]] = {}
_made_for: dict[str, str] = {}


def prepare(make: Callable[[str, CallLimits, Any], Any], *wanted: tuple[str, CallLimits]) -> None:
    """Makes clients for the environment that this process has now; nothing is connected, no credentials are looked for.

    Args:
        make: the client of a service with these limits and a boto3 session.
        wanted: one client for each.
    """
    forget()
    session = following(lambda: ContainerProvider().load(), None, core=models.core())
    if not session.region_name:  # most services have no client then
        return
    for service, limits in wanted:
        _waiting.setdefault((service, limits), []).append(make(service, limits, session))
    _made_for.update(_decisive(os.environ))
    credentials = session.get_credentials()

    def unlock() -> None:
        credentials._refresh_lock = threading.Lock()  # another thread of the parent may have held it

    os.register_at_fork(after_in_child=unlock)


def take(service: str, region: str | None, limits: CallLimits = USUAL) -> Any | None:
    """A client that is ready; ``None`` if there is none, or this environment is another, or has no container's
    credentials."""
    waiting = _waiting.get((service, limits))
    if not waiting or region not in {None, waiting[-1].meta.region_name}:
        return None
    if not any(os.environ.get(name) for name in _CONTAINER) or _decisive(os.environ) != _made_for:
        return None
    return waiting.pop()


def forget() -> None:
    """There are none."""
    _waiting.clear()
    _made_for.clear()


def _decisive(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a client reads when it is made."""
    return {name: value for name, value in environment.items() if _DECISIVE.fullmatch(name)}
