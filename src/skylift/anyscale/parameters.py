"""From parameters to requests: whatever is wrong with them is found here, before anything is sent to Anyscale.

Parameters have the names of ``JobConfig`` and ``ServiceConfig`` in Anyscale's client. Templates give text: "30" is a
number, and "['a']" is a list.
"""

from __future__ import annotations

import ast
import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from skylift.anyscale.refusals import AnyscaleRefused
from skylift.anyscale.workload import JobRequest, ServiceRequest, Workload

_SHARED = frozenset(
    {
        *(
            "image_uri",
            "containerfile",
            "compute_config",
            "working_dir",
            "excludes",
            "requirements",
            "env_vars",
            "py_modules",
        ),
        *("py_executable", "cloud", "project", "name", "tags"),
    }
)
_JOB = _SHARED | {"entrypoint", "max_retries", "job_queue_config", "timeout_s", "priority"}
_SERVE_OPTIONS = ("http_options", "grpc_options", "logging_config", "proxy_location")
_SERVICE = _SHARED | {
    *("applications", "query_auth_token_enabled", *_SERVE_OPTIONS, "version_name", "ray_gcs_external_storage_config")
}
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
"""Of Ray's external storage, unless it is said: what Anyscale's client 0.26 sends."""


@runtime_checkable
class HasDict(Protocol):
    """Models of Anyscale's client: ``JobConfig``, ``ComputeConfig`` ..."""

    def to_dict(self) -> dict[str, Any]:
        """The members that are set."""


def job_request(given: object, name: str = "") -> JobRequest:
    """A job from parameters. Raises ``AnyscaleRefused``.

    Args:
        given: a mapping, or a ``JobConfig`` of Anyscale's client.
        name: instead of the one that is given.
    """
    members = mapping("config", given)
    entrypoint = text(members.get("entrypoint"))
    if not entrypoint.strip():
        raise _wrong("entrypoint", members.get("entrypoint"), "the command that the job runs")
    retries = _whole_or_none("max_retries", members.get("max_retries"))
    return JobRequest(
        name or text(members.get("name")),
        entrypoint,
        workload_of(members, _JOB),
        1 if retries is None else retries,
        mapping("job_queue_config", members.get("job_queue_config")) or None,
        _whole_or_none("timeout_s", members.get("timeout_s")),
        _whole_or_none("priority", members.get("priority")),
        mapping("tags", members.get("tags")) or None,
    )


def service_request(
    given: object, in_place: object = False, canary_percent: object = None, max_surge_percent: object = None
) -> ServiceRequest:
    """A version of a service from parameters. Raises ``AnyscaleRefused``.

    Args:
        given: a mapping, or a ``ServiceConfig`` of Anyscale's client.
    """
    members = mapping("config", given)
    name, applications = text(members.get("name")).strip(), _sequence("applications", members.get("applications"))
    if not name:
        raise _wrong("name", members.get("name"), "the service's name")
    if not applications:
        raise _wrong("applications", applications, 'a list like [{"import_path": "main:app"}]')
    canary, surge = _percent("canary_percent", canary_percent), _percent("max_surge_percent", max_surge_percent)
    at_once = truth("in_place", in_place)
    if at_once and (canary is not None or surge is not None):
        raise AnyscaleRefused("in_place replaces all at once: leave out canary_percent and max_surge_percent.")
    serve: dict[str, Any] = {"applications": [mapping("applications", one) for one in applications]}
    serve.update({option: _plain(members[option]) for option in _SERVE_OPTIONS if members.get(option)})
    enabled = members.get("query_auth_token_enabled")
    return ServiceRequest(
        name,
        workload_of(members, _SERVICE),
        serve,
        enabled is None or truth("query_auth_token_enabled", enabled),
        at_once,
        canary,
        surge,
        text(members.get("version_name")),
        _external_storage(members.get("ray_gcs_external_storage_config")),
        mapping("tags", members.get("tags")) or None,
    )


def workload_of(members: Mapping[str, Any], known: Collection[str] = _SHARED) -> Workload:
    """What jobs and services have in common. Raises ``AnyscaleRefused``."""
    if members.get("image_uri") and members.get("containerfile"):
        raise AnyscaleRefused("Give image_uri or containerfile, not both. Nothing was sent to Anyscale.")
    beyond = {name: _plain(one) for name, one in members.items() if name not in known and one not in (None, "")}
    compute = _plain(members.get("compute_config"))
    if isinstance(compute, Mapping):
        beyond["compute_config"], compute = compute, None
    return Workload(
        image_uri=text(members.get("image_uri")),
        containerfile=text(members.get("containerfile")),
        compute_config=text(compute),
        working_dir=text(members.get("working_dir")),
        excludes=texts("excludes", members.get("excludes")),
        requirements=requirement_lines(members.get("requirements")),
        env_vars={name: text(one) for name, one in mapping("env_vars", members.get("env_vars")).items()},
        py_modules=texts("py_modules", members.get("py_modules")),
        py_executable=text(members.get("py_executable")),
        cloud=text(members.get("cloud")),
        project=text(members.get("project")),
        beyond=beyond,
    )


def text(value: object) -> str:
    """A template's value as text; ``None`` is empty."""
    return "" if value is None else str(value)


def number(name: str, value: object) -> float:
    """A number, also from a template, which gives text. Raises ``AnyscaleRefused``."""
    try:
        found = float(str(value))
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise _wrong(name, value, "a number")
    return found


def whole(name: str, value: object) -> int:
    """A whole number, as ``number``."""
    found = number(name, value)
    if not found.is_integer():
        raise _wrong(name, value, "a whole number")
    return int(found)


def truth(name: str, value: object) -> bool:
    """True or false, also from a template ("False" is false). Raises ``AnyscaleRefused``."""
    word = str(value).strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off", "", "none"}:
        return False
    raise _wrong(name, value, "true or false")


def texts(name: str, value: object) -> tuple[str, ...]:
    """A list of texts. Raises ``AnyscaleRefused``."""
    return tuple(str(one) for one in _sequence(name, value))


def mapping(name: str, value: object) -> dict[str, Any]:
    """A dictionary; also a model of Anyscale's client, or a template's text. Raises ``AnyscaleRefused``."""
    found = _plain(value)
    if found is None or found == "":
        return {}
    if not isinstance(found, Mapping):
        raise _wrong(name, type(value).__name__, "a dictionary")  # never its text: env_vars holds passwords
    return {str(key): one for key, one in found.items()}


def requirement_lines(value: object) -> tuple[str, ...]:
    """Requirements from a list, or from a file on the worker. Raises ``AnyscaleRefused``."""
    if isinstance(value, str) and not value.strip():
        return ()
    if isinstance(value, os.PathLike) or (isinstance(value, str) and not value.lstrip().startswith("[")):
        try:
            lines = Path(value).read_text().splitlines()
        except OSError as error:
            raise AnyscaleRefused(
                f"requirements {value} cannot be read on the worker: {error.strerror}. Give a list, or the path of a "
                "file that is beside the DAG."
            ) from error
        return tuple(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))
    return texts("requirements", value)


def _sequence(name: str, value: object) -> Sequence[Any]:
    found = _plain(value)
    if found is None or found == "":
        return ()
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise _wrong(name, value, "a list")
    return found


def _plain(value: object) -> Any:
    """Models as dictionaries; a template's text as the list or dictionary that it shows."""
    if isinstance(value, HasDict):
        return value.to_dict()
    if isinstance(value, str) and value.strip()[:1] in {"[", "{"}:
        for parse in (json.loads, ast.literal_eval):
            try:
                return parse(value.strip())
            except (ValueError, SyntaxError):
                continue
    return value


def _whole_or_none(name: str, value: object) -> int | None:
    return None if value in (None, "", "None") else whole(name, value)


def _percent(name: str, value: object) -> int | None:
    found = _whole_or_none(name, value)
    if found is not None and not 0 <= found <= 100:
        raise _wrong(name, value, "between 0 and 100")
    return found


def _external_storage(given: object) -> dict[str, Any] | None:
    members = mapping("ray_gcs_external_storage_config", given)
    if not members:
        return None
    return {
        "address": members.get("address"),
        "redis_certificate_path": members.get("certificate_path") or _CERTIFICATES,
        "enable": truth("enabled", members.get("enabled", True)),
    }


def _wrong(name: str, value: object, wanted: str) -> AnyscaleRefused:
    return AnyscaleRefused(f"{name} is {value!r}, and must be {wanted}. Nothing was sent to Anyscale.")
