"""From names to identifiers: the calls that come before a job is made or a service is deployed, and the bodies."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import skylift.anyscale.wire as wire
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.refusals import AnyscaleRefused
from skylift.anyscale.working_dir import is_remote, package
from skylift.anyscale.workload import JobRequest, ServiceRequest, Workload

NEWEST = 100
"""How many of the newest jobs are looked at to find one again, if Anyscale does not filter by name."""


@dataclass(frozen=True)
class Resolved:
    """A workload in Anyscale's identifiers."""

    project: str
    build: str
    compute: str
    runtime_env: Mapping[str, Any]


async def resolve(client: AnyscaleClient, workload: Workload) -> Resolved:
    """Asks for the identifiers, and uploads a local working directory. Raises ``AnyscaleRefused`` or
    ``AnyscaleUnavailable``."""
    cloud = await _cloud(client, workload.cloud)
    compute = await _compute(client, workload.compute_config, cloud)
    if not cloud:
        found = await client.get(wire.compute(compute), f"the question for compute config {compute}")
        cloud = str((found.get("config") or found)["cloud_id"])
    project = await _project(client, workload.project, cloud)
    build = await _build(client, workload.image_uri)
    return Resolved(project, build, compute, await _runtime_env(client, workload, cloud))


async def submit(client: AnyscaleClient, request: JobRequest) -> dict[str, Any]:
    """Makes a job: the one call that is never repeated. Returns Anyscale's record of it."""
    found = await resolve(client, request.workload)
    job_only = {"tags", "name", "project_id"}
    config = {
        "entrypoint": request.entrypoint,
        "build_id": found.build,
        "compute_config_id": found.compute,
        "max_retries": request.max_retries,
        "runtime_env": found.runtime_env,
        **{name: value for name, value in request.extra.items() if name not in job_only},
    }
    body: dict[str, Any] = {"name": request.name, "project_id": found.project, "config": config}
    if request.job_queue:
        body["job_queue_config"] = dict(request.job_queue)
    if tags := request.extra.get("tags"):
        body["tags"] = tags
    made = await client.post(wire.CREATE_JOB, f"the submission of job {request.name}", body)
    return dict(made)


async def find_job(client: AnyscaleClient, name: str) -> dict[str, Any] | None:
    """The newest job with exactly this name, if there is one."""
    doing = f"the search for job {name}"
    listed = await client.get(wire.LIST_JOBS, doing, name=name, type_filter="BATCH_JOB", count=NEWEST)
    same = [one for one in listed if one.get("name") == name]
    return max(same, key=lambda one: str(one.get("created_at", ""))) if same else None


async def deploy(client: AnyscaleClient, request: ServiceRequest) -> dict[str, Any]:
    """Deploys a version of a service. Returns Anyscale's record of the service."""
    found = await resolve(client, request.workload)
    serve = dict(request.serve)
    if found.runtime_env:
        serve["applications"] = [
            {**one, "runtime_env": {**found.runtime_env, **(one.get("runtime_env") or {})}}
            for one in serve["applications"]
        ]
    body = {
        "name": request.name,
        "project_id": found.project,
        "ray_serve_config": serve,
        "build_id": found.build,
        "compute_config_id": found.compute,
        "rollout_strategy": "IN_PLACE" if request.in_place else "ROLLOUT",
        "canary_percent": request.canary_percent,
        "max_surge_percent": request.max_surge_percent,
        "auto_complete_rollout": True,
        "config": {
            "max_uptime_timeout_sec": 0,
            "access": {"use_bearer_token": request.query_auth_token},
            "protocols": {"grpc": {"enabled": False, "port": 9000, "service_names": []}},
        },
    }
    kept = {name: value for name, value in body.items() if value is not None}
    # Applying the same version twice gives the same service.
    made = await client.post(wire.APPLY_SERVICE, f"the rollout of service {request.name}", kept, method="PUT")
    return dict(made)


async def find_service(client: AnyscaleClient, name: str, project: str = "") -> dict[str, Any] | None:
    """The service of this name, if there is one."""
    found = await client.get(
        wire.LIST_SERVICES,
        f"the search for service {name}",
        name=name,
        archive_status="NOT_ARCHIVED",
        count=50,
        project_id=project or None,
    )
    same = [one for one in found if one.get("name") == name]
    return dict(same[0]) if same else None


async def _cloud(client: AnyscaleClient, name: str) -> str:
    if name:
        found = await client.post(wire.FIND_CLOUD, f"the search for cloud {name}", {"name": name}, again=True)
    else:
        found = await client.get(wire.DEFAULT_CLOUD, "the question for the default cloud")
    return str(found["id"])


async def _compute(client: AnyscaleClient, config: str, cloud: str) -> str:
    if not config:
        found = await client.get(wire.DEFAULT_COMPUTE, "the question for the default compute config", cloud_id=cloud)
        return str(found["id"])
    name, _, version = config.partition(":")
    body = {
        "orgwide": True,
        "name": {"equals": name},
        "include_anonymous": True,
        "archive_status": "NOT_ARCHIVED",
        "cloud_id": cloud,
        "version": int(version) if version.isdecimal() else -1,
    }
    listed = await client.post(wire.SEARCH_COMPUTE, f"the search for compute config {config}", body, again=True)
    if not listed:
        raise AnyscaleRefused(f"There is no compute config {config} in this cloud. Its form is name or name:version.")
    return str(listed[0]["id"])


async def _project(client: AnyscaleClient, name: str, cloud: str) -> str:
    if not name:
        found = await client.get(wire.DEFAULT_PROJECT, "the question for the default project", parent_cloud_id=cloud)
        return str(found["id"])
    body = {"name": {"equals": name}, "parent_cloud_id": {"equals": cloud}}
    listed = await client.post(wire.SEARCH_PROJECT, f"the search for project {name}", body, again=True)
    if not listed:
        raise AnyscaleRefused(f"There is no project {name} in this cloud. Make it in Anyscale, or name another.")
    return str(listed[0]["id"])


async def _build(client: AnyscaleClient, image: str) -> str:
    if image:
        body = {"image_uri": image}
        found = await client.post(wire.BUILD_OF_IMAGE, f"the search for image {image}", body, again=True)
    else:
        found = await client.get(wire.DEFAULT_BUILD, "the question for the default image", **wire.DEFAULT_IMAGE)
    return str(found["id"])


async def _runtime_env(client: AnyscaleClient, workload: Workload, cloud: str) -> dict[str, Any]:
    excludes = workload.excludes
    found: dict[str, Any] = {}
    if workload.working_dir:
        found["working_dir"] = await _placed(client, workload.working_dir, excludes, cloud)
    if workload.py_modules:
        found["py_modules"] = [await _placed(client, one, excludes, cloud) for one in workload.py_modules]
    if workload.requirements:
        found["pip"] = list(workload.requirements)
    if workload.env_vars:
        found["env_vars"] = dict(workload.env_vars)
    if excludes:
        found["excludes"] = list(excludes)
    return found


async def _placed(client: AnyscaleClient, place: str, excludes: tuple[str, ...], cloud: str) -> str:
    """The address of a working directory or module; a local one is uploaded to Anyscale's bucket, unless it is there
    already."""
    if is_remote(place):
        return place
    content = await asyncio.to_thread(package, place, excludes)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    body = {"file_type": "runtime_env_packages", "file_name": f"pkg_{digest}.zip", "access_mode": "WRITE"}
    told = await client.post(wire.presigned(cloud), f"the question where to upload {place}", body, again=True)
    if told.get("url_scheme", "http") != "http":
        raise AnyscaleRefused(
            f"This cloud of Anyscale wants {place} uploaded with its own credentials ({told['url_scheme']}), which "
            "skylift does not do. Upload it as a zip file yourself, and give its address as working_dir."
        )
    if not told.get("file_exists"):
        await client.upload(str(told["url"]), content)
    return str(told["file_uri"])
