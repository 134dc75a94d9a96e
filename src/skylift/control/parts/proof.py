"""The proof: before an update changes anything, one container starts Airflow with the new layer, options and startup
script, loads the plugins, and parses every DAG.

The running configuration works already, so nothing is done unless something relevant changes. A proof is named by the
digest of what it tests; its result is in the control-plane bucket.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skylift.aws.ecs.tasks import DescribedTask
from skylift.aws.s3 import S3
from skylift.control import airflow_config
from skylift.control.blueprint import Part
from skylift.control.definitions import secrets, variables
from skylift.control.part_context import PartContext, digest
from skylift.control.parts.one_off import Once, exit_code, interrupted
from skylift.control.patches import outdated
from skylift.control.plan import Failure, PartPhase, Seen
from skylift.core import containers
from skylift.core.containers import Command, ProofFault
from skylift.core.names import s3_url

REFUSED = 1
"""The container's exit code when its result says what the user must change (``runtime/prove.py``)."""

TEMPORARY = 75
"""Its exit code when S3 did not answer (EX_TEMPFAIL)."""

MOST_TRIES = 3


class ProofParts:
    """Parts of kind PROOF."""

    def __init__(self, s3: S3, once: Once) -> None:
        self._s3 = s3
        self._once = once

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return {part.name: self._leaving(context) if context.leaving else self._look(context) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        name, served = proof_digest(context), context.before()
        environment = {
            containers.PROOF_TARGET.env: s3_url(context.settings.bucket, _key(context, name)),
            containers.PROOF_OPTIONS.env: ",".join(airflow_config.user_options(context)),
            containers.SERVING_LAYER.env: served.fact("layer.url") if served else "",
            containers.SERVING_STARTUP_SCRIPT.env: served.fact("source.startup_script") if served else "",
        }
        tries = str(_tries(context, name) + 1)
        definition = context.fact(f"definition.{Command.PROVE}")
        arn = self._once.start(
            context, definition, context.token("proof", name, str(context.generation), tries), environment
        )
        return {"proof.runner": arn, "proof.running": name, "proof.tries": tries}

    def remove(self, context: PartContext, part: Part) -> None:
        if context.fact("proof.runner"):
            self._once.stop(context.fact("proof.runner"), "the environment is deleted")

    def _leaving(self, context: PartContext) -> Seen:
        runner = self._once.look(context.fact("proof.runner")) if context.fact("proof.runner") else None
        return Seen(PartPhase.MOVING if runner and runner.last_status != "STOPPED" else PartPhase.ABSENT)

    def _look(self, context: PartContext) -> Seen:
        name, served = proof_digest(context), context.before()
        same = served is not None and proof_digest(served) == name and not outdated(served)
        if context.fact("proof.done") == name or same:
            return Seen(PartPhase.READY)
        mine = context.fact("proof.running") == name
        runner = self._once.look(context.fact("proof.runner")) if mine else None
        if runner is None:
            return Seen(PartPhase.ABSENT)
        if runner.last_status != "STOPPED":
            return Seen(PartPhase.MOVING)
        result = self._s3.read_json(context.settings.bucket, _key(context, name)) or {}
        if result.get("ok"):
            notes = "\n".join(str(note) for note in result.get("notes") or ())
            return Seen(PartPhase.READY, {"proof.done": name, "proof.notes": context.hide(notes)})
        if (exit_code(runner) == TEMPORARY or interrupted(runner)) and _tries(context, name) < MOST_TRIES:
            return Seen(PartPhase.ABSENT, note="trying again")
        return Seen(PartPhase.FAILED, fault=self._fault(context, runner, result))

    def _fault(self, context: PartContext, runner: DescribedTask, result: Mapping[str, Any]) -> Failure:
        if result and exit_code(runner) == REFUSED:
            return Failure(str(result.get("code")), context.hide(str(result.get("reason", ""))))
        what = "The container that tries the update out ended without a result"
        return self._once.fault(context, runner, Command.PROVE, ProofFault.START_FAILED, what)


def proof_digest(context: PartContext) -> str:
    """The proof's name: a digest of everything that user code runs in, as a container of the executor's role sees
    it."""
    told = {**variables(context, Command.PROVE), **secrets(context, Command.PROVE)}
    image = context.settings.image_of(context.spec.airflow_version)
    return digest(image, *(f"{name}={value}" for name, value in sorted(told.items()) if name not in LIVE))


LIVE = frozenset({"AIRFLOW__LOGGING__LOGGING_LEVEL"})
"""Variables that change nothing for user code."""


def _key(context: PartContext, name: str) -> str:
    return f"proofs/{context.spec.name}/{name}.json"


def _tries(context: PartContext, name: str) -> int:
    return int(context.fact("proof.tries") or 0) if context.fact("proof.running") == name else 0
