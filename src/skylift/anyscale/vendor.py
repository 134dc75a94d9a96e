"""Anyscale's own client, where a user has installed it: submits jobs and deploys services, with all that it can do.

Skylift never depends on it: its licence is proprietary. It has no time-outs, so it works in a thread that is waited
for.
"""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable
from skylift.anyscale.workload import JobRequest, ServiceRequest, Workload

PACKAGE = "anyscale"
CALL_SECONDS = 600.0
"""For a submission with its upload."""


def installed() -> str:
    """The version of Anyscale's client; empty: it is not installed."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return ""


def submit(host: str, key: str, request: JobRequest) -> str:
    """Makes a job; returns its id. Raises ``AnyscaleRefused`` or ``AnyscaleUnavailable``."""
    members = {
        **_shared(request.workload),
        "name": request.name,
        "entrypoint": request.entrypoint,
        "max_retries": request.max_retries,
        "timeout_s": request.timeout_s,
        "priority": request.priority,
        "tags": request.tags,
    }

    def work() -> str:
        import anyscale.job.models as models  # lazy: seconds, and only where a user has installed it

        if request.job_queue:
            members["job_queue_config"] = models.JobQueueConfig(**request.job_queue)
        return str(_client(host, key).job.submit(models.JobConfig(**_given(members))))

    return _Call(f"the submission of job {request.name}", work).result()


def deploy(host: str, key: str, request: ServiceRequest) -> str:
    """Deploys a version of a service; returns the service's id. Errors as ``submit``."""
    storage = request.external_storage
    members = {
        **_shared(request.workload),
        **request.serve,
        "name": request.name,
        "query_auth_token_enabled": request.query_auth_token,
        "version_name": request.version_name,
        "tags": request.tags,
        "ray_gcs_external_storage_config": storage
        and {
            "enabled": storage["enable"],
            "address": storage["address"],
            "certificate_path": storage["redis_certificate_path"],
        },
    }
    rollout = {"canary_percent": request.canary_percent, "max_surge_percent": request.max_surge_percent}

    def work() -> str:
        import anyscale.service.models as models  # lazy: as above

        service = _client(host, key).service
        return str(
            service.deploy(models.ServiceConfig(**_given(members)), in_place=request.in_place, **_given(rollout))
        )

    return _Call(f"the rollout of service {request.name}", work).result()


def _client(host: str, key: str) -> Any:
    import anyscale  # lazy: as above

    return anyscale.Anyscale(auth_token=key, _host=host)


def _shared(workload: Workload) -> dict[str, Any]:
    return {
        "image_uri": workload.image_uri,
        "compute_config": workload.compute_config,
        "working_dir": workload.working_dir,
        "excludes": list(workload.excludes),
        "requirements": list(workload.requirements),
        "env_vars": dict(workload.env_vars),
        "py_modules": list(workload.py_modules),
        "py_executable": workload.py_executable,
        "cloud": workload.cloud,
        "project": workload.project,
        **workload.beyond,
    }


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in members.items() if one not in (None, "", [], {})}


@dataclass
class _Call:
    doing: str
    work: Callable[[], str]
    answer: str = ""
    error: Exception | None = None

    def result(self) -> str:
        # A daemon: what Anyscale never answers must not hold the worker's end.
        thread = threading.Thread(target=self._run, name="anyscale-client", daemon=True)
        thread.start()
        thread.join(CALL_SECONDS)
        if thread.is_alive():
            raise AnyscaleUnavailable(f"Anyscale did not answer {self.doing} within {CALL_SECONDS:.0f} s.")
        if self.error is not None:
            raise self._told(self.error) from self.error
        return self.answer

    def _run(self) -> None:
        try:
            self.answer = self.work()
        except Exception as error:  # noqa: BLE001 - it raises whatever it likes; the caller's thread tells it
            self.error = error

    def _told(self, error: Exception) -> AnyscaleRefused | AnyscaleUnavailable:
        said = str(error).strip().rstrip(".") or type(error).__name__
        text = f"Anyscale's client {installed()} refused {self.doing}: {said}."
        of_network = type(error).__module__.partition(".")[0] in {"urllib3", "requests"}
        if of_network or isinstance(error, ConnectionError | TimeoutError):
            return AnyscaleUnavailable(
                f"{text} Look at the connection's host, and at the way out of this network (NAT gateway, proxy)."
            )
        if isinstance(error, TypeError | ImportError):
            return AnyscaleRefused(f"{text} It may be too old or too new for these parameters.")
        return AnyscaleRefused(text)
