"""Prepares this process to become an Airflow Celery worker: its name, and the thread that holds what it works on."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import threading
import urllib.request
from typing import Any

from celery import signals

from skylift.aws.clients import client
from skylift.core.containers import ENVIRONMENT
from skylift.core.names import current_worker_key, split_s3_url, worker_host
from skylift.runtime.components import METADATA
from skylift.runtime.workers.holding import Holding
from skylift.runtime.workers.outdated import Outdated
from skylift.runtime.workers.protection import Protection

log = logging.getLogger(__name__)

WORKLOADS = "AIRFLOW__SKYLIFT__PAYLOAD_URL"
HOSTNAME = "AIRFLOW__CORE__HOSTNAME_CALLABLE"
CLEANUP = "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL"


class _Worker:
    """This worker, once it is prepared; its forks inherit it."""

    host = ""
    definition = ""
    holding: Holding | None = None


def prepare() -> None:
    """To be called before Airflow's command line, once Airflow can be imported."""
    # An Airflow task's host is then its worker, also on a machine with many, so that the control plane knows on which
    # it ran (control/worker_ends.py).
    _Worker.host, _Worker.definition = identity()
    os.environ.setdefault(HOSTNAME, f"{__name__}.hostname")
    # It would fork a whole process that looks once in a while for versions of bundles; ours have none.
    os.environ[CLEANUP] = "0"
    signals.worker_ready.connect(_ready)
    signals.task_received.connect(_received)


def hostname() -> str:
    """``[core] hostname_callable``: the worker's name."""
    return _Worker.host


def identity() -> tuple[str, str]:
    """Host name and ``family:revision`` of this ECS task; the machine's name and "" outside ECS, or if its metadata do
    not answer."""
    url = os.environ.get(METADATA)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        if url:
            with opener.open(f"{url}/task", timeout=5) as answer:
                mine = json.load(answer)
            return worker_host(str(mine["TaskARN"])), f"{mine['Family']}:{mine['Revision']}"
    except (OSError, ValueError, LookupError) as error:
        log.warning("the task metadata do not tell this worker's name: %s", error)
    return socket.gethostname(), ""


def _ready(**_named: Any) -> None:
    """Celery's consumer runs: what it receives from now on is held."""
    bucket, _ = split_s3_url(os.environ.get(WORKLOADS, "s3://none"))
    key = current_worker_key(ENVIRONMENT.read(os.environ))
    outdated = Outdated(client("s3"), bucket, key, _Worker.definition)
    _Worker.holding = Holding(client("sqs"), Protection.of(os.environ), outdated.look, _leave)
    _Worker.holding.start()
    # The provider unfreezes all objects just after this. A search for cycles would then copy what forks share.
    refreeze = threading.Timer(1.0, gc.freeze)
    refreeze.daemon = True
    refreeze.start()
    log.info("worker %s is ready", _Worker.host)


def _leave() -> None:
    """Celery's warm shutdown. To this process only: its children run Airflow tasks."""
    os.kill(os.getpid(), signal.SIGTERM)


def _received(request: Any, **_: Any) -> None:
    """A message has come, and its Airflow task has not begun. Runs in Celery's main thread."""
    if _Worker.holding is not None:
        _Worker.holding.take(request)
