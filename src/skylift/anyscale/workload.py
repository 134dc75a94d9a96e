"""What an operator asks Anyscale for, checked before anything is sent: workloads, jobs, services."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skylift.anyscale.refusals import AnyscaleRefused

MOST_NAME_CHARACTERS = 100


@dataclass(frozen=True)
class Workload:
    """What jobs and services have in common.

    Attributes:
        compute_config: ``name`` or ``name:version``; empty: the cloud's default.
        working_dir: a folder of this machine, or an address; empty: none.
    """

    image_uri: str = ""
    compute_config: str = ""
    working_dir: str = ""
    excludes: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    env_vars: Mapping[str, str] = field(default_factory=dict)
    py_modules: tuple[str, ...] = ()
    cloud: str = ""
    project: str = ""


@dataclass(frozen=True)
class JobRequest:
    """One job.

    Attributes:
        name: by which it is found again.
        extra: further members of the body's ``config`` and top, e.g. ``timeout_s``, ``tags``, ``priority``.
    """

    name: str
    entrypoint: str
    workload: Workload
    max_retries: int = 1
    job_queue: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceRequest:
    """One version of a service.

    Attributes:
        serve: members of ``ray_serve_config``: applications, http_options ...
    """

    name: str
    workload: Workload
    serve: Mapping[str, Any]
    query_auth_token: bool = True
    in_place: bool = False
    canary_percent: int | None = None
    max_surge_percent: int | None = None


def text(value: object) -> str:
    """A template's value as text; ``None`` is empty."""
    return "" if value is None else str(value)


def number(name: str, value: object) -> float:
    """A number, also from a template, which gives text. Raises ``AnyscaleRefused``."""
    try:
        return float(str(value))
    except ValueError:
        raise AnyscaleRefused(f"{name} is {value!r}, and must be a number. Nothing was sent to Anyscale.") from None


def whole(name: str, value: object) -> int:
    """A whole number, as ``number``."""
    found = number(name, value)
    if found != int(found):
        raise AnyscaleRefused(f"{name} is {value!r}, and must be a whole number. Nothing was sent to Anyscale.")
    return int(found)


def truth(name: str, value: object) -> bool:
    """True or false, also from a template ("False" is false). Raises ``AnyscaleRefused``."""
    word = str(value).strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off", "", "none"}:
        return False
    raise AnyscaleRefused(f"{name} is {value!r}, and must be true or false. Nothing was sent to Anyscale.")


def texts(name: str, value: object) -> tuple[str, ...]:
    """A list of texts. Raises ``AnyscaleRefused``."""
    if value is None:
        return ()
    if isinstance(value, str):
        try:
            found = json.loads(value.replace("'", '"'))
        except ValueError:
            found = None
        if not isinstance(found, list):
            raise AnyscaleRefused(f"{name} is {value!r}, and must be a list. Nothing was sent to Anyscale.")
        value = found
    if not isinstance(value, Sequence):
        raise AnyscaleRefused(f"{name} is {value!r}, and must be a list. Nothing was sent to Anyscale.")
    return tuple(str(one) for one in value)


def requirement_lines(value: object) -> tuple[str, ...]:
    """Requirements from a list, or from a file on the worker. Raises ``AnyscaleRefused``."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        try:
            lines = Path(value).read_text().splitlines()
        except OSError as error:
            raise AnyscaleRefused(f"requirements {value} cannot be read on the worker: {error.strerror}.") from error
        return tuple(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))
    return texts("requirements", value)


def variables(value: object) -> dict[str, str]:
    """Environment variables, as texts. Raises ``AnyscaleRefused``."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise AnyscaleRefused("env_vars must be a dictionary. Nothing was sent to Anyscale.")
    return {str(name): str(one) for name, one in value.items()}


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
