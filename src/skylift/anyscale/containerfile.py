"""An image from a containerfile: Anyscale builds it, once for each content, and whoever comes meanwhile waits along.

Anyscale calls an image with revisions a cluster environment. Ours is named after the content, not after the job, so
that each run of a DAG finds the build of the one before.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import skylift.anyscale.wire as wire
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable, records, required

BUILD_SECONDS = 3600.0
"""As long as Anyscale's own client waits."""
_POLL_SECONDS = 3.0


async def image_of(client: AnyscaleClient, path: str, ray_version: str = "") -> str:
    """The ``image_uri`` of a containerfile, built if need be. Raises ``AnyscaleRefused`` or ``AnyscaleUnavailable``.

    Args:
        path: of a file on the worker.
        ray_version: of its base image; empty: Anyscale finds it out.
    """
    content = await asyncio.to_thread(_read, path)
    name = f"containerfile-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    environment = await _environment(client, name)
    build = await _known(client, environment, name, content)
    if not build:
        body = {"cluster_environment_id": environment, "containerfile": content, "containerfile_path": path}
        doing = f"the build of an image from {path}"
        begun = await client.post(wire.BUILDS, doing, body | ({"ray_version": ray_version} if ray_version else {}))
        build = str(required(begun, "cluster_environment_build_id", doing))
    return f"{wire.BUILT_IMAGES}{name}:{await _revision(client, path, build)}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, ValueError) as error:
        raise AnyscaleRefused(
            f"containerfile {path} cannot be read on the worker: {error}. Give the path of a text file that is beside "
            "the DAG."
        ) from error


async def _environment(client: AnyscaleClient, name: str) -> str:
    doing = f"the search for image {name}"
    query = {"name": {"equals": name}, "paging": {"count": 1}, "include_anonymous": True}

    async def found() -> list[dict[str, Any]]:
        return records(await client.post(wire.SEARCH_ENVIRONMENT, doing, query, again=True), doing)

    if not (known := await found()):
        try:
            known = [await client.post(wire.ENVIRONMENTS, f"the making of image {name}", {"name": name})]
        except AnyscaleRefused as error:
            # Another Airflow task was first.
            if error.status != 409 or not (known := await found()):
                raise
    return str(required(known[0], "id", doing))


async def _known(client: AnyscaleClient, environment: str, name: str, content: str) -> str:
    """A build of this content that succeeded, else one that is under way, else empty."""
    doing = f"the search for builds of image {name}"
    listed = records(
        await client.get(wire.BUILDS, doing, cluster_environment_id=environment, count=50, desc=True), doing
    )
    same = [one for one in listed if one.get("containerfile") == content]
    for states in (wire.BUILD_SUCCEEDED, wire.BUILD_UNDER_WAY):
        for one in same:
            if one.get("status") in states:
                return str(required(one, "id", doing))
    return ""


async def _revision(client: AnyscaleClient, path: str, build: str) -> int:
    doing = f"the question for build {build}"
    deadline = time.monotonic() + BUILD_SECONDS
    while True:
        record = await client.get(wire.build(build), doing)
        status = str(required(record, "status", doing))
        if status in wire.BUILD_SUCCEEDED:
            return int(required(record, "revision", doing))
        if status not in wire.BUILD_UNDER_WAY:
            why = f": {said}" if (said := record.get("error_message")) else ""
            page = wire.build_page(client.host, str(record.get("cluster_environment_id", "")), build)
            raise AnyscaleRefused(f"Anyscale could not build an image from {path} ({status}){why}. Its log: {page}")
        if time.monotonic() > deadline:
            raise AnyscaleUnavailable(
                f"The image from {path} was not built within {BUILD_SECONDS / 60:.0f} min. A retry of this Airflow "
                "task goes on waiting for the same build."
            )
        await asyncio.sleep(_POLL_SECONDS)
