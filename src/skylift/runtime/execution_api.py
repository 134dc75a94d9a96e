"""Builds Airflow's execution API in the API server before the first Airflow task needs it.

Airflow 3.3 builds all versions of that API (Cadwyn) at the first request below ``/execution``, on the event loop: 3 s
of CPU during which the API server answers nobody. On a busy machine it took 16 s and more: the load balancer saw the
server as unhealthy, and ECS replaced it. In a thread, the loop continues meanwhile. A request that arrives earlier
builds the API itself, as before.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from skylift.runtime import gc_tuning as collecting

SERVER = "airflow.api_fastapi.main"
"""The module whose ``app`` uvicorn serves."""

AFTER_SECONDS = 5.0
"""Delay before the build: until then the machine is busy starting everything else."""

_GIVE_UP_SECONDS = 120.0
_log = logging.getLogger(__name__)


def build_soon(arguments: Sequence[str], after: float = AFTER_SECONDS) -> threading.Thread | None:
    """Starts the thread when these are the API server's arguments."""
    if not arguments or arguments[0] != "api-server":
        return None
    thread = threading.Thread(target=_build, args=(after,), name="skylift-execution-api", daemon=True)
    thread.start()
    return thread


def pending_build(app: Any) -> Callable[[], None] | None:
    """The function that builds the execution API of an Airflow app; ``None`` if it is built, or if this Airflow builds
    it differently."""
    for route in getattr(app, "routes", ()):
        if getattr(route, "path", "") == "/execution":
            api = getattr(route, "app", None)
            build = getattr(api, "_cadwyn_initialize", None)
            return build if build is not None and not getattr(api, "_cadwyn_initialized", True) else None
    return None


def _build(after: float) -> None:
    try:
        app = _server_app()
        time.sleep(after)
        build = pending_build(app)
        if build is not None:
            began = time.monotonic()
            build()
            _log.info("execution API built in %.1f s", time.monotonic() - began)
    finally:
        collecting.settle()


def _server_app() -> Any:
    """The app that uvicorn serves, once it exists; ``None`` after a while: with several workers it is in other
    processes."""
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while (app := getattr(sys.modules.get(SERVER), "app", None)) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    return app
