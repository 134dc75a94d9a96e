"""ECS services: API server, scheduler, DAG processor, triggerer. One DescribeServices shows all four."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from skylift.aws.ecs.services import DescribedService, EcsServices
from skylift.aws.ecs.tasks import DescribedTask, EcsTasks
from skylift.aws.logs import LogGroups
from skylift.control.blueprint import Part
from skylift.control.definitions import MODULES, family
from skylift.control.notes import note, note_fact
from skylift.control.part_context import PartContext, service_log_group
from skylift.control.parts.one_off import code_of_start, exit_code, failure_text, network, stream_of
from skylift.control.plan import Failure, PartPhase, Seen
from skylift.control.scaling import bounds
from skylift.control.settings import is_stopped
from skylift.core.containers import CONTAINER_NAME, WEB_PORT, Command
from skylift.core.names import log_group

MOST_FAILURES = 3
"""After this many stopped ECS tasks of one deployment, it will not start by itself any more."""

CODE = "COMPONENT_FAILED"

GRACE_SECONDS = 300
"""How long an API server may start before its load balancer's health check counts. Airflow needs seconds, on a busy
machine minutes. A server that ends by itself is noticed at once, whatever this time."""

MOST_GRACE_SECONDS = 7200


HEALTH_CHECK = "health checks"
"""In ECS's reason for a task that it replaces because its load balancer gets no answer."""


class ServiceParts:
    """Parts of kind SERVICE."""

    def __init__(self, services: EcsServices, tasks: EcsTasks, logs: LogGroups) -> None:
        self._services = services
        self._tasks = tasks
        self._logs = logs

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        names = {part.name: family(context.spec.name, part.role) for part in parts}
        found = self._services.describe(list(names.values()))
        return {part.name: self._judge(context, part, found.get(names[part.name])) for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        name, definition = family(context.spec.name, part.role), context.fact(f"definition.{part.role}")
        found = self._services.describe([name]).get(name)
        if found is not None:
            grace = wanted_grace(part.role, restarts(context, part.role, found))
            longer = grace if grace > found.grace else 0
            moved = network(context) if found.security_groups != _groups(context) else None
            desired = desired_count(context, part.role)
            if part.role == Command.WORKER:
                desired = scaled_count(context, found.desired)
            self._services.update(name, definition, desired, longer, moved)
        else:
            self._services.create(_request(context, part.role))
        return {}

    def remove(self, context: PartContext, part: Part) -> None:
        self._services.delete(family(context.spec.name, part.role))

    def _judge(self, context: PartContext, part: Part, found: DescribedService | None) -> Seen:
        if found is None:
            return Seen(PartPhase.ABSENT)
        if found.status == "DRAINING" or context.leaving:
            return Seen(PartPhase.MOVING, note="stopping")
        desired = desired_count(context, part.role)
        if part.role == Command.WORKER:
            desired = scaled_count(context, found.desired)
        if (found.definition, found.desired) != (context.fact(f"definition.{part.role}"), desired):
            return Seen(PartPhase.DIFFERENT, note="another revision or count is wanted", running=found.running)
        if found.security_groups != _groups(context):
            return Seen(PartPhase.DIFFERENT, note="other security groups are wanted", running=found.running)
        again = restarts(context, part.role, found)
        facts = {failed_fact(part.role): str(found.failed), **self._told(context, part.role, found)}
        seen = Seen(PartPhase.READY, facts, "", None, found.running, again)
        grace = wanted_grace(part.role, again)
        if found.grace < grace:
            return replace(seen, phase=PartPhase.DIFFERENT, note=f"gets {grace} s to start")
        if found.settled or (part.role == Command.WORKER and found.current >= desired):
            # Of workers, those that are still busy with the old definition may stay for hours.
            return seen
        dead = self._dead(found) if found.failed or not found.pending else []
        if len(dead) >= MOST_FAILURES:
            return replace(seen, phase=PartPhase.FAILED, fault=self._fault(context, part, dead[-1]))
        return replace(seen, phase=PartPhase.MOVING, note=f"{found.running} of {desired} running")

    def _told(self, context: PartContext, role: str, found: DescribedService) -> dict[str, str]:
        """The note on a task that ECS has replaced since the last look, with ECS's own reason."""
        known = context.fact(failed_fact(role))
        if context.served is not None or not known or found.failed <= int(known):
            return {}
        ended = self._ended(found)
        unhealthy = next((one.stopped_reason for one in ended if HEALTH_CHECK in one.stopped_reason), "")
        why = unhealthy or next((failure_text(one, ()) for one in ended[-1:]), "ECS gave no reason")
        text = f"{role} ended, and ECS starts another (restart {found.failed} since its last change): {why}"
        return {note_fact(role): note(context.hide(text))}

    def _dead(self, found: DescribedService) -> list[DescribedTask]:
        """Tasks of the newest deployment that ended by themselves, of those that ECS still remembers."""
        return [one for one in self._ended(found) if one.stop_code in {"EssentialContainerExited", "TaskFailedToStart"}]

    def _ended(self, found: DescribedService) -> list[DescribedTask]:
        arns = self._services.stopped_tasks(found.name)[:100]
        return [one for one in self._tasks.describe(arns).values() if one.started_by == found.deployment]

    def _fault(self, context: PartContext, part: Part, last: DescribedTask) -> Failure:
        module = MODULES[part.role]
        enabled = context.spec.logging[module].enabled
        group = log_group(context.spec.name, module) if enabled else service_log_group(context.spec.name)
        lines = self._logs.last_lines(group, stream_of(last, part.role)) if exit_code(last) is not None else ()
        text = f"{part.role} keeps ending: {failure_text(last, lines)}"
        return Failure(code_of_start(last, CODE), context.hide(text))


def _groups(context: PartContext) -> tuple[str, ...]:
    return tuple(sorted(context.spec.security_groups))


def failed_fact(role: str) -> str:
    """The fact that holds how many tasks of a service ECS has counted as failed."""
    return f"failed.{role}"


def calm_fact(role: str) -> str:
    """The fact that holds the same number, as it was when Airflow was last well."""
    return f"calm.{role}"


def restarts(context: PartContext, role: str, found: DescribedService) -> int:
    """How often ECS has had to replace a task since Airflow was last well. A new deployment counts from zero."""
    calm = int(context.facts.get(calm_fact(role)) or 0)
    return found.failed - calm if found.failed >= calm else found.failed


def wanted_grace(role: str, again: int) -> int:
    """Twice as long after each restart: a time that was too short on this machine will be too short again."""
    if role != Command.API_SERVER:
        return 0
    return int(min(GRACE_SECONDS * 2 ** min(again, 10), MOST_GRACE_SECONDS))


def desired_count(context: PartContext, role: str) -> int:
    """How many tasks a component's service keeps."""
    if is_stopped(context.spec.options):
        return 0
    counts = {
        Command.API_SERVER: context.spec.min_webservers,
        Command.SCHEDULER: context.spec.schedulers,
        Command.WORKER: bounds(context.spec)[0],
    }
    return {str(command): count for command, count in counts.items()}.get(role, 1)


def scaled_count(context: PartContext, desired: int) -> int:
    """The number of workers that is wanted now: the scaler's, within the bounds."""
    least, most = bounds(context.spec)
    return max(least, min(most, desired))


def _request(context: PartContext, role: str) -> dict[str, Any]:
    request: dict[str, Any] = {
        "serviceName": family(context.spec.name, role),
        "taskDefinition": context.fact(f"definition.{role}"),
        "desiredCount": desired_count(context, role),
        "launchType": context.settings.launch_type,
        "networkConfiguration": network(context),
        # A scheduler may overlap with its successor for a moment; the API server must (no gap for the user).
        "deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 200},
        "clientToken": context.token("service", role),
    }
    if role == Command.API_SERVER:
        request["loadBalancers"] = [
            {
                "targetGroupArn": context.fact("web.target_group"),
                "containerName": CONTAINER_NAME,
                "containerPort": WEB_PORT,
            }
        ]
        # Until it has started, ECS must not replace it because the load balancer finds it unhealthy.
        request["healthCheckGracePeriodSeconds"] = wanted_grace(role, 0)
    return request
