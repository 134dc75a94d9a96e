"""The layer: requirements and plugins resolved, installed and import-checked once, by a one-off ECS task.

A layer is named by the digest of what it is made from: bucket, key, version and etag of each input, and the image. So an
environment whose inputs were built before finds its layer ready. Each environment has its own: who may write another's layer
runs code in it. A refused build is tried again by the next environment
(the registry may have been away), never by the same one; a builder that could not work at all is started again.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skylift.aws.ecs_tasks import EcsTask
from skylift.aws.s3 import S3
from skylift.control.blueprint import Part
from skylift.control.parts.once import Once, exit_code, interrupted
from skylift.control.plan import Fault, Phase, Seen
from skylift.control.scene import Scene, digest
from skylift.core import containers
from skylift.core.containers import Command, LayerFault
from skylift.core.names import s3_url

INPUTS = {
    "requirements": containers.REQUIREMENTS,
    "plugins": containers.PLUGINS,
    "startup_script": containers.STARTUP_SCRIPT,
}

REFUSED = 1
"""The builder's exit code when its result says what the user must change (``runtime/build.py``)."""

TEMPORARY = 75
"""The builder's exit code when S3 did not answer (EX_TEMPFAIL)."""

MOST_TRIES = 3

CODE = "LAYER_FAILED"
"""The builder ended without a result: not for anything that the user has written."""


class LayerParts:
    """Parts of kind LAYER."""

    def __init__(self, s3: S3, once: Once) -> None:
        self._s3 = s3
        self._once = once

    def observe(self, scene: Scene, parts: Sequence[Part]) -> Mapping[str, Seen]:
        """See ``Parts``."""
        return {part.name: self._leaving(scene) if scene.leaving else self._look(scene) for part in parts}

    def put(self, scene: Scene, part: Part) -> Mapping[str, str]:
        """See ``Parts``."""
        name = layer_digest(scene)
        environment = {setting.env: scene.fact(f"source.{key}") for key, setting in INPUTS.items()}
        environment[containers.LAYER_TARGET.env] = s3_url(scene.settings.bucket, _folder(scene, name))
        definition = scene.fact(f"definition.{Command.BUILD_LAYER}")
        tries = str(_tries(scene) + 1)
        arn = self._once.start(scene, definition, scene.token("layer", name, tries), environment)
        return {"layer.builder": arn, "layer.building": name, "layer.tries": tries}

    def remove(self, scene: Scene, part: Part) -> None:
        """See ``Parts``. The layer itself stays: it is named by content, and the next environment of this name may use it."""
        if scene.fact("layer.builder"):
            self._once.stop(scene.fact("layer.builder"), "the environment is deleted")

    def _leaving(self, scene: Scene) -> Seen:
        builder = self._once.look(scene.fact("layer.builder")) if scene.fact("layer.builder") else None
        return Seen(Phase.MOVING if builder and builder.last_status != "STOPPED" else Phase.ABSENT)

    def _look(self, scene: Scene) -> Seen:
        name = layer_digest(scene)
        if scene.fact("layer.digest") == name:
            return Seen(Phase.READY)
        mine = scene.fact("layer.building") == name
        builder = self._once.look(scene.fact("layer.builder")) if mine else None
        if builder is not None and builder.last_status != "STOPPED":
            return Seen(Phase.MOVING, note=_note(builder))
        result = self._s3.read_json(scene.settings.bucket, f"{_folder(scene, name)}/{containers.LAYER_RESULT}")
        if result and result.get("ok"):
            return Seen(Phase.READY, {"layer.digest": name, "layer.url": _archive(scene, name, result)})
        if builder is None:
            return Seen(Phase.ABSENT)
        if (exit_code(builder) == TEMPORARY or interrupted(builder)) and _tries(scene) < MOST_TRIES:
            return Seen(Phase.ABSENT, note="trying again")
        return Seen(Phase.FAILED, fault=self._fault(scene, builder, result))

    def _fault(self, scene: Scene, builder: EcsTask, result: Mapping[str, Any] | None) -> Fault:
        if result and exit_code(builder) == REFUSED:
            reason = scene.hide(str(result.get("reason", "")))
            return Fault(str(result.get("code") or LayerFault.REQUIREMENTS_FAILED), reason)
        what = "The container that installs requirements and plugins ended without a result"
        if _tries(scene) > 1:
            what += f" ({_tries(scene)} tries)"
        return self._once.fault(scene, builder, Command.BUILD_LAYER, CODE, what)


def layer_digest(scene: Scene) -> str:
    """The layer's name: digest of its inputs and of the image that it is built in."""
    inputs = [scene.fact(f"source.{key}") + "#" + scene.fact(f"source.{key}.etag") for key in INPUTS]
    return digest(scene.settings.image_of(scene.spec.airflow_version), *inputs)


def _folder(scene: Scene, name: str) -> str:
    return f"layers/{scene.spec.name}/{name}"


def _tries(scene: Scene) -> int:
    return int(scene.fact("layer.tries") or 0)


def _archive(scene: Scene, name: str, result: Mapping[str, Any]) -> str:
    archive = str(result.get("archive", ""))
    return s3_url(scene.settings.bucket, f"{_folder(scene, name)}/{archive}") if archive else ""


def _note(builder: EcsTask) -> str:
    return "resolving and installing" if builder.last_status == "RUNNING" else "starting its container"
