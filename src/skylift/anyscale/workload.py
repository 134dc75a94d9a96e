"""What jobs and services of Anyscale are made from; ``parameters`` checks it before anything is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_NAME_CHARACTERS = 100


@dataclass(frozen=True)
class Workload:
    """What jobs and services have in common.

    Attributes:
        compute_config: ``name`` or ``name:version``; empty: the cloud's default.
        working_dir: a folder of this machine, or an address; empty: none.
        py_executable: what starts Ray's workers; empty: the image's Python.
        containerfile: path of a file on this machine, instead of ``image_uri``.
        beyond: members that only Anyscale's own client can turn into a job: a ``compute_config`` that is not a name,
            ``registry_login_secret`` ...
    """

    image_uri: str = ""
    containerfile: str = ""
    compute_config: str = ""
    working_dir: str = ""
    excludes: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    env_vars: Mapping[str, str] = field(default_factory=dict)
    py_modules: tuple[str, ...] = ()
    py_executable: str = ""
    cloud: str = ""
    project: str = ""
    beyond: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JobRequest:
    """One job.

    Attributes:
        name: by which it is found again.
        timeout_s: Anyscale's own time-out of each try, in seconds.
        priority: among the jobs of a job queue or cloud.
    """

    name: str
    entrypoint: str
    workload: Workload
    max_retries: int = 1
    job_queue: Mapping[str, Any] | None = None
    timeout_s: int | None = None
    priority: int | None = None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class ServiceRequest:
    """One version of a service.

    Attributes:
        serve: members of ``ray_serve_config``: applications, http_options ...
        external_storage: where Ray's control store lives outside of the cluster, for its head's failure.
    """

    name: str
    workload: Workload
    serve: Mapping[str, Any]
    query_auth_token: bool = True
    in_place: bool = False
    canary_percent: int | None = None
    max_surge_percent: int | None = None
    version_name: str = ""
    external_storage: Mapping[str, Any] | None = None
    tags: Mapping[str, str] | None = None


def job_name(wanted: str, instance: Sequence[object], *, findable: bool) -> str:
    """The job's name at Anyscale.

    Args:
        wanted: by the DAG's author; may be empty.
        instance: what makes this task instance unique: DAG, run, task, map index, first try.
        findable: add eight characters that are the same whenever this task instance asks, so that a worker which died
            after its call is followed by one that finds the job.
    """
    digest = hashlib.sha256("\0".join(map(str, instance)).encode()).hexdigest()[:8]
    dag, _, task, *_ = instance
    base = wanted or f"{dag}-{task}"
    return f"{base[: MOST_NAME_CHARACTERS - 9]}-{digest}" if findable or not wanted else base
