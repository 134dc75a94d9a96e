"""``ulimits`` of a container definition: which of them a process on this machine gets, and how they are passed to its
shim."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Mapping
from typing import Any

Ulimit = tuple[str, int, int]
"""ECS's name, soft and hard limit; -1 is unlimited."""
OF_PROCESSES = frozenset({"core", "cpu", "data", "fsize", "memlock", "nice", "nofile", "rtprio", "rttime", "stack"})
"""Those that the kernel counts per process. It counts ``nproc``, ``sigpending`` and ``msgqueue`` for all processes
of a user, so a container's limit would count what else you run. It no longer uses ``locks``, and ignores ``rss``
(getrlimit(2))."""


def ulimits_of(definition: Mapping[str, Any]) -> tuple[Ulimit, ...]:
    """All that a container definition asks for."""
    return tuple((item["name"], item["softLimit"], item["hardLimit"]) for item in definition.get("ulimits", ()))


def refused(ulimits: Iterable[Ulimit]) -> str:
    """Name of one that no kernel accepts, because its soft limit is above the hard one; or empty."""
    return next((name for name, soft, hard in ulimits if hard != -1 and not 0 <= soft <= hard), "")


def shim_word(ulimits: Iterable[Ulimit]) -> str:
    """In the shim's format: ``kind:soft:hard`` in the kernel's numbers, separated by spaces."""
    known = [
        (getattr(resource, f"RLIMIT_{name.upper()}", None), soft, hard)
        for name, soft, hard in ulimits
        if name in OF_PROCESSES
    ]
    return " ".join(f"{kind}:{soft}:{hard}" for kind, soft, hard in known if kind is not None)
