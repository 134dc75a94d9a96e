"""The layer: requirements and plugins, resolved, installed and import-checked once, by a one-off ECS task.

A layer is named by the digest of its inputs: bucket, key, version and etag of each, and the image. So
an environment whose inputs were built before finds its layer ready. Each environment has its own layers, because
whoever can write another environment's layer can run code in it. If a build was refused, the next environment tries
again (the registry may have been down), but never the same one. A builder that could not work at all is started again.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skylift.aws.ecs.tasks import DescribedTask
from skylift.aws.s3 import S3
from skylift.control.blueprint import Part
from skylift.control.part_context import PartContext, digest
from skylift.control.parts.one_off import Once, exit_code, interrupted
from skylift.control.plan import Failure, PartPhase, Seen
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
"""The builder ended without a result: the user's files are not the cause."""


class LayerParts:
    """Parts of kind LAYER."""

    def __init__(self, s3: S3, once: Once) -> None:
        self._s3 = s3
        self._once = once

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self._leaving(context) if context.leaving else self._look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        name = layer_digest(context)
        environment = {setting.env: context.fact(f"source.{key}") for key, setting in INPUTS.items()}
        environment[containers.LAYER_TARGET.env] = s3_url(context.settings.bucket, _folder(context, name))
        definition = context.fact(f"definition.{Command.BUILD_LAYER}")
        tries = str(_tries(context, name) + 1)
        arn = self._once.start(
            context, definition, context.token("layer", name, str(context.generation), tries), environment
        )
        return {"layer.builder": arn, "layer.building": name, "layer.tries": tries}

    def remove(self, context: PartContext, part: Part) -> None:
        """See ``Parts``. The layer itself stays: it is named by content, and the next environment of this name may use
        it."""
        if context.fact("layer.builder"):
            self._once.stop(context.fact("layer.builder"), "the environment is deleted")

    def _leaving(self, context: PartContext) -> Seen:
        builder = self._once.look(context.fact("layer.builder")) if context.fact("layer.builder") else None
        return Seen(PartPhase.MOVING if builder and builder.last_status != "STOPPED" else PartPhase.ABSENT)

    def _look(self, context: PartContext) -> Seen:
        name = layer_digest(context)
        # Another image means another layer, which only an update may bring.
        if context.fact("layer.digest") == name or (context.keeps and context.fact("layer.digest")):
            return Seen(PartPhase.READY)
        mine = context.fact("layer.building") == name
        builder = self._once.look(context.fact("layer.builder")) if mine else None
        if builder is not None and builder.last_status != "STOPPED":
            return Seen(PartPhase.MOVING, note=_note(builder))
        result = self._s3.read_json(context.settings.bucket, f"{_folder(context, name)}/{containers.LAYER_RESULT}")
        if result and result.get("ok"):
            return Seen(PartPhase.READY, {"layer.digest": name, "layer.url": _archive(context, name, result)})
        if builder is None:
            return Seen(PartPhase.ABSENT)
        if (exit_code(builder) == TEMPORARY or interrupted(builder)) and _tries(context, name) < MOST_TRIES:
            return Seen(PartPhase.ABSENT, note="trying again")
        return Seen(PartPhase.FAILED, fault=self._fault(context, builder, result))

    def _fault(self, context: PartContext, builder: DescribedTask, result: Mapping[str, Any] | None) -> Failure:
        if result and exit_code(builder) == REFUSED:
            reason = context.hide(str(result.get("reason", "")))
            return Failure(str(result.get("code") or LayerFault.REQUIREMENTS_FAILED), reason)
        what = "The container that installs requirements and plugins ended without a result"
        if (tries := _tries(context, layer_digest(context))) > 1:
            what += f" ({tries} tries)"
        return self._once.fault(context, builder, Command.BUILD_LAYER, CODE, what)


def layer_digest(context: PartContext) -> str:
    """The layer's name: digest of its inputs and of the image that it is built in."""
    inputs = [context.fact(f"source.{key}") + "#" + context.fact(f"source.{key}.etag") for key in INPUTS]
    return digest(context.settings.image_of(context.spec.airflow_version), *inputs)


def _folder(context: PartContext, name: str) -> str:
    return f"layers/{context.spec.name}/{name}"


def _tries(context: PartContext, name: str) -> int:
    return int(context.fact("layer.tries") or 0) if context.fact("layer.building") == name else 0


def _archive(context: PartContext, name: str, result: Mapping[str, Any]) -> str:
    archive = str(result.get("archive", ""))
    return s3_url(context.settings.bucket, f"{_folder(context, name)}/{archive}") if archive else ""


def _note(builder: DescribedTask) -> str:
    return "resolving and installing" if builder.last_status == "RUNNING" else "starting its container"
