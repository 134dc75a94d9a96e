"""From names to identifiers: the calls that come before a job is made or a service is deployed, and the bodies."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import skylift.anyscale.wire as wire
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.containerfile import image_of
from skylift.anyscale.refusals import AnyscaleRefused, records, required
from skylift.anyscale.working_dir import is_remote, package, put_in_bucket
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


async def resolve(client: AnyscaleClient, workload: Workload, bucket: str = "") -> Resolved:
    """Asks for the identifiers, and uploads a local working directory. Raises ``AnyscaleRefused`` or
    ``AnyscaleUnavailable``.

    Args:
        bucket: ``s3://bucket/prefix`` for working directories; empty: the bucket of Anyscale's cloud.
    """
    if workload.beyond:
        raise AnyscaleRefused(
            f"Only Anyscale's own client can do this: {', '.join(sorted(workload.beyond))}. Add anyscale to the "
            "environment's requirements.txt (mind its licence), and skylift submits with it. Or make the compute "
            "config once in Anyscale, and give compute_config='name:version'."
        )
    workload = await with_image(client, workload)
    cloud = await _cloud(client, workload.cloud)
    compute = await _compute(client, workload.compute_config, cloud)
    if not cloud:
        doing = f"the question for compute config {compute}"
        found = await client.get(wire.compute(compute), doing)
        cloud = str(required(required(found, "config", doing), "cloud_id", doing))
    project = await _project(client, workload.project, cloud)
    build = await _build(client, workload.image_uri)
    return Resolved(project, build, compute, await _runtime_env(client, workload, cloud, bucket))


async def with_image(client: AnyscaleClient, workload: Workload) -> Workload:
    """The same with an ``image_uri`` instead of a containerfile, which is built if need be. Errors as ``resolve``."""
    if not workload.containerfile:
        return workload
    version = str(workload.beyond.get("ray_version", ""))
    return replace(workload, image_uri=await image_of(client, workload.containerfile, version), containerfile="")


async def submit(client: AnyscaleClient, request: JobRequest, bucket: str = "") -> dict[str, Any]:
    """Makes a job: the one call that is never repeated. Returns Anyscale's record of it.

    Args:
        bucket: as ``resolve``.
    """
    found = await resolve(client, request.workload, bucket)
    config = {
        "entrypoint": request.entrypoint,
        "build_id": found.build,
        "compute_config_id": found.compute,
        "max_retries": request.max_retries,
        "timeout_s": request.timeout_s,
        "priority": request.priority,
        "runtime_env": dict(found.runtime_env) or None,
    }
    body = {
        "name": request.name,
        "project_id": found.project,
        "config": _present(config),
        "job_queue_config": request.job_queue,
        "tags": request.tags,
    }
    doing = f"the submission of job {request.name}"
    made = await client.post(wire.CREATE_JOB, doing, _present(body))
    required(made, "id", doing)
    return dict(made)


async def find_job(client: AnyscaleClient, name: str) -> dict[str, Any] | None:
    """The newest job with exactly this name, if there is one."""
    doing = f"the search for job {name}"
    listed = await client.get(wire.LIST_JOBS, doing, name=name, type_filter="BATCH_JOB", count=NEWEST)
    same = [one for one in records(listed, doing) if one.get("name") == name]
    return max(same, key=lambda one: str(one.get("created_at", ""))) if same else None


async def deploy(client: AnyscaleClient, request: ServiceRequest, bucket: str = "") -> dict[str, Any]:
    """Deploys a version of a service. Returns Anyscale's record of the service.

    Args:
        bucket: as ``resolve``.
    """
    found = await resolve(client, request.workload, bucket)
    applications = [_with(one, found.runtime_env) for one in request.serve["applications"]]
    grpc = request.serve.get("grpc_options") or {}
    config = {
        "max_uptime_timeout_sec": 0,
        "access": {"use_bearer_token": request.query_auth_token},
        "protocols": {
            "grpc": {"enabled": bool(grpc), "port": 9000, "service_names": list(grpc.get("service_names", ()))}
        },
        "env_vars": dict(request.workload.env_vars) or None,
    }
    body = {
        "name": request.name,
        "project_id": found.project,
        "version": request.version_name or None,
        "ray_serve_config": {**request.serve, "applications": applications},
        "build_id": found.build,
        "compute_config_id": found.compute,
        "rollout_strategy": "IN_PLACE" if request.in_place else "ROLLOUT",
        "canary_percent": request.canary_percent,
        "max_surge_percent": request.max_surge_percent,
        "auto_complete_rollout": True,
        "ray_gcs_external_storage_config": request.external_storage,
        "config": _present(config),
        "tags": request.tags,
    }
    # Applying the same version twice gives the same service.
    doing = f"the rollout of service {request.name}"
    made = await client.post(wire.APPLY_SERVICE, doing, _present(body), method="PUT")
    required(made, "id", doing)
    return dict(made)


def _with(application: Mapping[str, Any], runtime_env: Mapping[str, Any]) -> dict[str, Any]:
    """An application with the service's environment, which goes before its own, as in Anyscale's client."""
    own = application.get("runtime_env") or {}
    both = {**own, **runtime_env}
    if own.get("env_vars"):
        both["env_vars"] = {**own["env_vars"], **runtime_env.get("env_vars", {})}
    if own.get("excludes"):
        both["excludes"] = [*own["excludes"], *runtime_env.get("excludes", ())]
    return {**application, "runtime_env": both} if both else dict(application)


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


async def find_service(client: AnyscaleClient, name: str, cloud: str = "", project: str = "") -> dict[str, Any] | None:
    """The service of this name, if there is one.

    Args:
        cloud: a name; services of one name may be in several clouds.
        project: a name; in several projects, too.
    """
    cloud_id = await _cloud(client, cloud) if cloud or project else ""
    project_id = await _project(client, project, cloud_id) if project else None
    doing = f"the search for service {name}"
    found = await client.get(
        wire.LIST_SERVICES,
        doing,
        name=name,
        archive_status="NOT_ARCHIVED",
        count=50,
        project_id=project_id,
    )
    for one in records(found, doing):
        elsewhere = cloud_id and one.get("cloud_id") not in {None, cloud_id}
        if one.get("name") == name and not elsewhere and project_id in {None, one.get("project_id")}:
            return dict(one)
    return None


async def find_run(client: AnyscaleClient, job: str, name: str) -> str:
    """The id of a job's run by its name. Raises ``AnyscaleRefused`` if it has none of that name."""
    body = {
        "ha_job_ids": [job],
        "max_runs_per_job": NEWEST,
        "sort_by_clauses": [{"sort_field": "CREATED_AT", "sort_order": "ASC"}],
    }
    doing = f"the search for runs of job {job}"
    found = await client.post(wire.SEARCH_RUNS, doing, body, again=True)
    runs = records(required(found, job, doing), doing)
    for run in runs:
        if name in {run.get("name"), run.get("id")}:
            return str(run["id"])
    raise AnyscaleRefused(f"Job {job} has no run {name}: {', '.join(str(run.get('name')) for run in runs) or 'none'}.")


async def _cloud(client: AnyscaleClient, name: str) -> str:
    if name:
        doing = f"the search for cloud {name}"
        found = await client.post(wire.FIND_CLOUD, doing, {"name": name}, again=True)
    else:
        doing = "the question for the default cloud"
        found = await client.get(wire.DEFAULT_CLOUD, doing)
    return str(required(found, "id", doing))


async def _compute(client: AnyscaleClient, config: str, cloud: str) -> str:
    if not config:
        doing = "the question for the default compute config"
        return str(required(await client.get(wire.DEFAULT_COMPUTE, doing, cloud_id=cloud), "id", doing))
    name, _, version = config.partition(":")
    body = {
        "orgwide": True,
        "name": {"equals": name},
        "include_anonymous": True,
        "archive_status": "NOT_ARCHIVED",
        "cloud_id": cloud,
        "version": int(version) if version.isdecimal() else -1,
    }
    doing = f"the search for compute config {config}"
    listed = records(await client.post(wire.SEARCH_COMPUTE, doing, body, again=True), doing)
    if not listed:
        raise AnyscaleRefused(f"There is no compute config {config} in this cloud. Its form is name or name:version.")
    return str(required(listed[0], "id", doing))


async def _project(client: AnyscaleClient, name: str, cloud: str) -> str:
    if not name:
        doing = "the question for the default project"
        return str(required(await client.get(wire.DEFAULT_PROJECT, doing, parent_cloud_id=cloud), "id", doing))
    body = {"name": {"equals": name}, "parent_cloud_id": {"equals": cloud}}
    doing = f"the search for project {name}"
    listed = records(await client.post(wire.SEARCH_PROJECT, doing, body, again=True), doing)
    if not listed:
        raise AnyscaleRefused(f"There is no project {name} in this cloud. Make it in Anyscale, or name another.")
    return str(required(listed[0], "id", doing))


async def _build(client: AnyscaleClient, image: str) -> str:
    if image:
        doing = f"the search for image {image}"
        found = await client.post(wire.BUILD_OF_IMAGE, doing, {"image_uri": image}, again=True)
    else:
        doing = "the question for the default image"
        found = await client.get(wire.DEFAULT_BUILD, doing, **wire.DEFAULT_IMAGE)
    return str(required(found, "id", doing))


async def _runtime_env(client: AnyscaleClient, workload: Workload, cloud: str, bucket: str) -> dict[str, Any]:
    folder, excludes = workload.working_dir, workload.excludes
    found: dict[str, Any] = {}
    if folder:
        found["working_dir"] = await _placed(client, folder, excludes, cloud, bucket)
        found["user_provided_working_dir"] = folder
    if workload.py_modules:
        found["py_modules"] = [await _placed(client, one, excludes, cloud, bucket) for one in workload.py_modules]
    others = {
        "py_executable": workload.py_executable,
        "pip": list(workload.requirements),
        "env_vars": dict(workload.env_vars),
        "excludes": list(excludes),
    }
    return {**found, **{name: one for name, one in others.items() if one}}


async def _placed(client: AnyscaleClient, place: str, excludes: tuple[str, ...], cloud: str, bucket: str) -> str:
    """The address of a working directory or module; a local one is uploaded, unless it is there already."""
    if is_remote(place):
        return place
    content = await asyncio.to_thread(package, place, excludes)
    name = f"pkg_{hashlib.md5(content, usedforsecurity=False).hexdigest()}.zip"
    if bucket:
        return await asyncio.to_thread(put_in_bucket, bucket, name, content)
    body = {"file_type": "runtime_env_packages", "file_name": name, "access_mode": "WRITE"}
    doing = f"the question where to upload {place}"
    told = await client.post(wire.presigned(cloud), doing, body, again=True)
    if (scheme := told.get("url_scheme") or "http") != "http":
        raise AnyscaleRefused(
            f"This cloud of Anyscale wants {place} uploaded with credentials of its own bucket ({scheme}), which "
            'skylift does not do. Put {"working_dir_bucket": "s3://bucket/prefix"} into the connection\'s extra: a '
            "bucket that the worker's role may write and the cluster may read. Or add anyscale, Anyscale's client, to "
            "requirements.txt."
        )
    if not told.get("file_exists"):
        await client.upload(str(required(told, "url", doing)), content)
    return str(required(told, "file_uri", doing))
