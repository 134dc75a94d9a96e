"""How many connections there is room for: each is a file descriptor, and containers, databases and files need some,
too."""

from __future__ import annotations

import resource

MOST = 4096
LEAST = 8


def room_for(share: float) -> int:
    """Connections that may be open, given which share of this process's descriptors they may take."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    room = MOST if limit == resource.RLIM_INFINITY else int(limit * share)
    return max(LEAST, min(MOST, room))
