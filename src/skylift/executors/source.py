"""Where observations come from without asking for each attempt: events that AWS puts into a queue."""

from __future__ import annotations

from typing import Protocol

from skylift.core.attempt import Observation


class Source(Protocol):
    """A stream of observations: at least once, in any order, some lost, some about containers that are not ours.

    * ``receive`` blocks for at most 20 seconds; an empty list says that nothing came. Raises ``Unavailable`` when it
      cannot be asked now, ``Refused`` when we may not.
    * ``close`` is called from another thread; a ``receive`` on its way may still end.
    """

    def receive(self) -> list[Observation]: ...

    def close(self) -> None: ...
