"""The fake's images from containerfiles: their builds have states. Nothing is built, and jobs run in the same image."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from skylift.anyscale_fake.answers import BUILD, ENVIRONMENT
from skylift.anyscale_fake.records import new_id

BUILD_SECONDS = 1.0
_PREFIX = "anyscale/image/"
_FROM = re.compile(r"^\s*FROM\s+\S", re.MULTILINE | re.IGNORECASE)
_FAILING = re.compile(r"^\s*RUN\s+(?:false|exit\s+[1-9]\d*)\s*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class BuildRecord:
    """One build.

    Attributes:
        environment: id of the cluster environment that it belongs to: Anyscale's word for an image with revisions.
        since: when it began (``time.monotonic()``).
    """

    id: str
    environment: str
    containerfile: str
    revision: int
    since: float


class FakeImages:
    """Images by name, with their builds; forgotten when the fake ends.

    Args:
        build_seconds: how long a build takes.
    """

    def __init__(self, build_seconds: float = BUILD_SECONDS) -> None:
        self._seconds = build_seconds
        self._names: dict[str, str] = {}
        self._builds: dict[str, BuildRecord] = {}

    def named(self, name: str) -> list[dict[str, Any]]:
        """The cluster environment of this name, if there is one."""
        return [{**ENVIRONMENT, "id": one, "name": name} for one in [self._names.get(name)] if one]

    def make(self, name: str) -> dict[str, Any] | None:
        """A new cluster environment; ``None``: the name is taken."""
        if name in self._names:
            return None
        self._names[name] = new_id("apt")
        return self.named(name)[0]

    def environment(self, one: str) -> dict[str, Any]:
        """A cluster environment by id; for one that is not known, the default."""
        name = next((name for name, known in self._names.items() if known == one), "")
        return self.named(name)[0] if name else ENVIRONMENT

    def begin(self, environment: str, containerfile: str) -> dict[str, Any] | None:
        """Starts a build; ``None``: the containerfile has no ``FROM``."""
        if not _FROM.search(containerfile):
            return None
        revision = 1 + sum(one.environment == environment for one in self._builds.values())
        made = BuildRecord(new_id("bld"), environment, containerfile, revision, time.monotonic())
        self._builds[made.id] = made
        return {"id": new_id("op"), "completed": False, "cluster_environment_build_id": made.id}

    def builds(self, environment: str) -> list[dict[str, Any]]:
        """Builds of a cluster environment, newest first."""
        return [self.build(one.id) for one in reversed(self._builds.values()) if one.environment == environment]

    def build_of(self, image: str) -> dict[str, Any] | None:
        """The build of an ``image_uri``: of one of these images; of any other image, the default's. ``None``: there is
        no such revision."""
        name, _, revision = image.removeprefix(_PREFIX).partition(":")
        if not image.startswith(_PREFIX):
            return BUILD
        listed = self.builds(self._names.get(name, ""))
        return next((one for one in listed if str(one["revision"]) == revision), None)

    def build(self, one: str) -> dict[str, Any]:
        """A build by id; for one that is not known, that of the default image. A line ``RUN false`` or ``RUN exit 1``
        fails it."""
        known = self._builds.get(one)
        if known is None:
            return BUILD
        fails = _FAILING.search(known.containerfile)
        over = "failed" if fails else "succeeded"
        return {
            **BUILD,
            "id": known.id,
            "cluster_environment_id": known.environment,
            "application_template_id": known.environment,
            "application_template": self.environment(known.environment),
            "containerfile": known.containerfile,
            "docker_image_name": None,
            "is_byod": False,
            "revision": known.revision,
            "status": over if time.monotonic() - known.since >= self._seconds else "in_progress",
            "error_message": f"the line {fails[0].strip()!r} failed" if fails else None,
        }
