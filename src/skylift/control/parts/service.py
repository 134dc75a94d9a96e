"""ECS services: API server, scheduler, DAG processor, triggerer. One DescribeServices shows all four."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skylift.aws.ecs_services import EcsService, EcsServices
from skylift.aws.ecs_tasks import EcsTask, EcsTasks
from skylift.aws.logs import Logs
from skylift.control.blueprint import Part
from skylift.control.definitions import MODULES, family
from skylift.control.parts.once import code_of_start, exit_code, failure_text, network, stream_of
from skylift.control.plan import Fault, Phase, Seen
from skylift.control.scene import Scene, service_log_group
from skylift.core.containers import CONTAINER_NAME, WEB_PORT, Command
from skylift.core.names import log_group

MOST_FAILURES = 3
"""So many stopped tasks of one deployment mean: it will not come up by itself."""

CODE = "COMPONENT_FAILED"


class ServiceParts:
    """Parts of kind SERVICE."""

    def __init__(self, services: EcsServices, tasks: EcsTasks, logs: Logs) -> None:
        self._services = services
        self._tasks = tasks
        self._logs = logs

    def observe(self, scene: Scene, parts: Sequence[Part]) -> Mapping[str, Seen]:
        """See ``Parts``."""
        names = {part.name: family(scene.spec.name, part.role) for part in parts}
        found = self._services.describe(list(names.values()))
        return {part.name: self._judge(scene, part, found.get(names[part.name])) for part in parts}

    def put(self, scene: Scene, part: Part) -> Mapping[str, str]:
        """See ``Parts``."""
        name, definition = family(scene.spec.name, part.role), scene.fact(f"definition.{part.role}")
        if name in self._services.describe([name]):
            self._services.update(name, definition, desired_count(scene, part.role))
        else:
            self._services.create(_request(scene, part.role))
        return {}

    def remove(self, scene: Scene, part: Part) -> None:
        """See ``Parts``."""
        self._services.delete(family(scene.spec.name, part.role))

    def _judge(self, scene: Scene, part: Part, found: EcsService | None) -> Seen:
        if found is None:
            return Seen(Phase.ABSENT)
        if found.status == "DRAINING" or scene.leaving:
            return Seen(Phase.MOVING, note="stopping")
        desired = desired_count(scene, part.role)
        if (found.definition, found.desired) != (scene.fact(f"definition.{part.role}"), desired):
            return Seen(Phase.DIFFERENT, note="another revision or count is wanted")
        if found.settled:
            return Seen(Phase.READY)
        dead = self._dead(found) if found.failed or not found.pending else []
        if len(dead) >= MOST_FAILURES:
            return Seen(Phase.FAILED, fault=self._fault(scene, part, dead[-1]))
        return Seen(Phase.MOVING, note=f"{found.running} of {desired} running")

    def _dead(self, found: EcsService) -> list[EcsTask]:
        """Tasks that ended by themselves, of those that ECS still remembers."""
        arns = self._services.stopped_tasks(found.name)[:100]
        dead = self._tasks.describe(arns).values()
        return [one for one in dead if one.stop_code in {"EssentialContainerExited", "TaskFailedToStart"}]

    def _fault(self, scene: Scene, part: Part, last: EcsTask) -> Fault:
        module = MODULES[part.role]
        enabled = scene.spec.logging[module].enabled
        group = log_group(scene.spec.name, module) if enabled else service_log_group(scene.spec.name)
        lines = self._logs.last_lines(group, stream_of(last, part.role)) if exit_code(last) is not None else ()
        text = f"{part.role} keeps ending: {failure_text(last, lines)}"
        return Fault(code_of_start(last, CODE), scene.hide(text))


def desired_count(scene: Scene, role: str) -> int:
    """How many tasks a component's service keeps."""
    counts = {Command.API_SERVER: scene.spec.min_webservers, Command.SCHEDULER: scene.spec.schedulers}
    return {str(command): count for command, count in counts.items()}.get(role, 1)


def _request(scene: Scene, role: str) -> dict[str, Any]:
    request: dict[str, Any] = {
        "serviceName": family(scene.spec.name, role),
        "taskDefinition": scene.fact(f"definition.{role}"),
        "desiredCount": desired_count(scene, role),
        "launchType": scene.settings.launch_type,
        "networkConfiguration": network(scene),
        # A scheduler may run beside its successor for a moment; the API server must (no gap for the user).
        "deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 200},
        "clientToken": scene.token("service", role),
    }
    if role == Command.API_SERVER:
        request["loadBalancers"] = [
            {
                "targetGroupArn": scene.fact("web.target_group"),
                "containerName": CONTAINER_NAME,
                "containerPort": WEB_PORT,
            }
        ]
        # Airflow needs seconds to start; until then ECS must not kill what the load balancer calls unhealthy.
        request["healthCheckGracePeriodSeconds"] = 120
    return request
