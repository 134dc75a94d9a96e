"""Decides which program a container's command becomes, and with which environment. Pure but for one small read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from skylift.core.containers import WEB_PORT, Command
from skylift.core.errors import Unavailable

BUNDLE_STORAGE = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH"
METADATA = "ECS_CONTAINER_METADATA_URI_V4"
HOSTNAME = "AIRFLOW__CORE__HOSTNAME_CALLABLE"

WORDS_OF_MWAA = {
    Command.API_SERVER: "webserver",
    Command.SCHEDULER: "scheduler",
    Command.DAG_PROCESSOR: "scheduler",
    Command.TRIGGERER: "scheduler",
    Command.WORKER: "worker",
    Command.BUILD_LAYER: "worker",
    Command.PROVE: "worker",
}
"""MWAA_AIRFLOW_COMPONENT. On MWAA the scheduler's container also runs the DAG processor and the triggerer."""

BEATING = frozenset({Command.SCHEDULER, Command.DAG_PROCESSOR, Command.TRIGGERER})
"""Components that write heartbeats into Airflow's database."""


@dataclass(frozen=True)
class Component:
    """The program that this process becomes."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


def component_of(word: str) -> str:
    """MWAA's name for a container whose command begins with ``word``: scheduler, webserver or worker."""
    return WORDS_OF_MWAA.get(Command(word), "worker") if word in set(Command) else "worker"


def home_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with AIRFLOW_HOME and the bundle folder below HOME: containers on one machine share /tmp."""
    home = environ.get("AIRFLOW_HOME") or os.path.join(environ.get("HOME") or os.getcwd(), "airflow")
    ready = {"AIRFLOW_HOME": home, BUNDLE_STORAGE: os.path.join(home, "dag_bundles"), **environ}
    # glibc gives each thread its own arena, up to 8 per core. Two save memory and are not measurably slower here.
    return {"MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1", **ready}


def program_for(arguments: Sequence[str], environment: Mapping[str, str]) -> Component:
    """The program for a command.

    Raises:
        Unavailable: the task's own address cannot be read.
    """
    word, rest = arguments[0], list(arguments[1:])
    ready = dict(environment)
    if word in BEATING:
        ready.setdefault(HOSTNAME, "skylift.runtime.components.container_name")
    airflow = (sys.executable, "-m", "skylift.runtime.airflow_main")
    if word == Command.API_SERVER:
        return Component((*airflow, word, "--host", own_address(environment), "--port", str(WEB_PORT), *rest), ready)
    if word == Command.MIGRATE:
        return Component((*airflow, "db", "migrate", *rest), ready)
    if word in {Command.SCHEDULER, Command.TRIGGERER}:
        # Their log servers listen on every address, on the same port in all environments; the logs are in CloudWatch.
        return Component((*airflow, word, "--skip-serve-logs", *rest), ready)
    if word == Command.WORKER:
        # Mingle and gossip need remote control, which Celery does not have over SQS.
        quiet = ("--skip-serve-logs", "--without-mingle", "--without-gossip")
        return Component((*airflow, "celery", "worker", *quiet, *rest), ready)
    if word == Command.DAG_PROCESSOR:
        return Component((*airflow, word, *rest), ready)
    return Component(tuple(arguments), ready)


def own_address(environment: Mapping[str, str]) -> str:
    """The IPv4 address of this ECS task, from its metadata; 127.0.0.1 outside ECS.

    Raises:
        Unavailable: the metadata endpoint does not answer, or its answer has no address.
    """
    found = _metadata(environment)
    try:
        return str(found["Networks"][0]["IPv4Addresses"][0]) if found else "127.0.0.1"
    except LookupError as error:
        raise Unavailable(f"the task metadata at {METADATA} tells no address: {error}") from error


def task_id(environment: Mapping[str, str]) -> str:
    """The id of this ECS task; "" outside ECS.

    Raises:
        Unavailable: the metadata endpoint does not answer.
    """
    labels = _metadata(environment).get("Labels") or {}
    return str(labels.get("com.amazonaws.ecs.task-arn", "")).rpartition("/")[2]


@cache
def container_name() -> str:
    """For ``[core] hostname_callable`` of a component: the id of its ECS task; outside ECS, Airflow's default.

    Containers of one machine share its host name. With the id, the control plane knows whose heartbeat it reads.
    """
    try:
        own = task_id(os.environ)
    except Unavailable:
        own = ""
    from airflow.utils.net import getfqdn  # lazy: only Airflow calls this; the entrypoint does not import Airflow

    return own or str(getfqdn())


def _metadata(environment: Mapping[str, str]) -> dict[str, Any]:
    """What ECS tells this container about itself; {} outside ECS."""
    url = environment.get(METADATA)
    if not url:
        return {}
    import urllib.request  # lazy: 25 ms that only components need to spend

    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (OSError, ValueError) as error:
        raise Unavailable(f"the task metadata at {METADATA} does not answer: {error}") from error
