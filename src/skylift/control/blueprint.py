"""The parts that a Spec needs, ordered by their dependencies. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from skylift.control.settings import is_stopped
from skylift.core.containers import Command
from skylift.core.environment import BATCH_EXECUTOR, CELERY_EXECUTOR, ECS_EXECUTOR, S3Object, Spec


class PartKind(StrEnum):
    """The kind of a part; each kind has one file in ``control/parts``."""

    SOURCE = "source"
    LOGS = "logs"
    SECRETS = "secrets"
    DATABASE = "database"
    BALANCER = "balancer"
    EVENTS = "events"
    BATCH = "batch"
    BROKER = "broker"
    DEFINITION = "definition"
    LAYER = "layer"
    MIGRATION = "migration"
    PROOF = "proof"
    SERVICE = "service"
    HEARTBEAT = "heartbeat"
    HEALTH = "health"


EXECUTOR_ROLE = "task"
"""Role of the task definition that Airflow's executor starts its ECS tasks from: family ``skylift-{env}-task``."""

KNOWN = frozenset({ECS_EXECUTOR, BATCH_EXECUTOR, CELERY_EXECUTOR})
"""Executors that an environment may have, in any order and number."""

CELERY_PATH = "airflow.providers.celery.executors.celery_executor.CeleryExecutor"
"""The other name of the same executor."""

COMPONENTS = (Command.API_SERVER, Command.SCHEDULER, Command.DAG_PROCESSOR, Command.TRIGGERER)
"""Airflow's long-running processes in every environment; each is one ECS service."""


@dataclass(frozen=True)
class Part:
    """One resource that an environment needs.

    Attributes:
        kind: what it is.
        role: which one of its kind, e.g. ``scheduler``; empty where there is only one.
        needs: names of the parts that must be ready first.
        doing: what is being done until it is ready, for people: "migrating the database".
    """

    kind: PartKind
    role: str
    needs: tuple[str, ...]
    doing: str

    @property
    def name(self) -> str:
        """``kind`` or ``kind/role``: unique in a blueprint."""
        return f"{self.kind}/{self.role}" if self.role else str(self.kind)


Blueprint = tuple[Part, ...]


def blueprint(spec: Spec, proving: bool = False) -> Blueprint:
    """Every part of one environment. Layer and migration do not wait for each other, nor does the load balancer.

    Args:
        proving: an update is in progress: parts that run user code change only after a trial in a container.
    """
    layered = has_layer(spec)
    queued = ("broker",) if has_workers(spec) else ()
    ground: tuple[str, ...] = ("logs", "secrets", "database", "balancer", "events", *queued) + (
        ("layer",) if layered else ("source",)
    )
    parts = [
        Part(PartKind.SOURCE, "", (), "checking the bucket"),
        Part(PartKind.LOGS, "", (), "creating log groups"),
        Part(PartKind.SECRETS, "", (), "creating secrets"),
        Part(PartKind.DATABASE, "", (), "creating the database"),
        Part(PartKind.BALANCER, "", (), "creating the load balancer"),
        Part(PartKind.EVENTS, "", (), "creating the queue of events"),
    ]
    if queued:
        parts.append(Part(PartKind.BROKER, "", (), "creating the workers' queue"))
    if layered:
        parts += [
            Part(PartKind.DEFINITION, Command.BUILD_LAYER, ("logs",), "describing the layer's builder"),
            Part(PartKind.LAYER, "", ("source", f"definition/{Command.BUILD_LAYER}"), "building layer"),
        ]
    parts += [
        Part(PartKind.DEFINITION, Command.MIGRATE, ("logs", "secrets", "database"), "describing the migration"),
        Part(PartKind.MIGRATION, "", ("database", f"definition/{Command.MIGRATE}"), "migrating database"),
    ]
    if proving:
        parts += [
            Part(PartKind.DEFINITION, Command.PROVE, ground, "describing the proof"),
            Part(PartKind.PROOF, "", (*ground, f"definition/{Command.PROVE}"), "proving that Airflow starts with it"),
        ]
    parts += [Part(PartKind.DEFINITION, role, ground, f"describing {role}") for role in components(spec)]
    # Airflow tasks start from the newest revision, so it must not exist before the trial has succeeded.
    ground += ("proof",) if proving else ()
    parts.append(Part(PartKind.DEFINITION, EXECUTOR_ROLE, ground, f"describing {EXECUTOR_ROLE}"))
    needs = [f"definition/{EXECUTOR_ROLE}", "migration"]
    if BATCH_EXECUTOR in executors(spec):
        parts.append(Part(PartKind.BATCH, "", ground, "creating the Batch queue"))
        needs.append("batch")
    parts += [
        Part(PartKind.SERVICE, role, (f"definition/{role}", *needs), f"starting {role}") for role in components(spec)
    ]
    if is_stopped(spec.options):
        return tuple(parts)  # there is no health to wait for, and nothing that could hang
    parts.append(Part(PartKind.HEARTBEAT, "", ("database", "migration"), "replacing what hangs"))
    parts.append(
        Part(PartKind.HEALTH, "", tuple(f"service/{role}" for role in COMPONENTS), "waiting for Airflow's health")
    )
    return tuple(parts)


def has_layer(spec: Spec) -> bool:
    """Whether its containers run with a layer."""
    return any((spec.requirements, spec.plugins, spec.startup_script))


def removal_blueprint(spec: Spec) -> Blueprint:
    """Every part that an environment may have had in its life, whatever its Spec is now."""
    most = replace(
        spec, requirements=spec.requirements or S3Object("-"), options={"core.executor": ",".join(sorted(KNOWN))}
    )
    return blueprint(most, proving=True)


def executors(spec: Spec) -> tuple[str, ...]:
    """The environment's executors, the default first: those that ``core.executor`` names.

    MWAA runs its own executor whatever the option says; so does skylift if the option names one that it does not know.
    """
    said = tuple(word.strip() for word in spec.options.get("core.executor", "").split(",") if word.strip())
    known = tuple(CELERY_EXECUTOR if word == CELERY_PATH else word for word in said)
    return known if known and set(known) <= KNOWN else spec.default_executors


def has_workers(spec: Spec) -> bool:
    """Whether its Airflow tasks may run on Celery workers."""
    return CELERY_EXECUTOR in executors(spec)


def components(spec: Spec) -> tuple[Command, ...]:
    """Airflow's long-running processes in this environment."""
    return (*COMPONENTS, Command.WORKER) if has_workers(spec) else COMPONENTS
