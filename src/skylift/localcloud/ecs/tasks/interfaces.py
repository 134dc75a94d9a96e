"""The network interfaces of ECS tasks: from PROVISIONING until the task's end, one for each that has an address."""

from __future__ import annotations

from collections.abc import Iterable

from skylift.localcloud.ecs.model.shapes import ecs_arn
from skylift.localcloud.ecs.model.store import EcsStore
from skylift.localcloud.interfaces import InterfaceSource, ServiceInterface
from skylift.localcloud.ports import CloudContext

DELETED = "DELETED"


class TaskInterfaces(InterfaceSource):
    """Those of one store."""

    def __init__(self, cloud: CloudContext, store: EcsStore) -> None:
        self._cloud = cloud
        self._store = store

    def interfaces(self) -> Iterable[ServiceInterface]:
        """One for each ECS task with an address that has not ended. Here, the public address is the private one."""
        for task in list(self._store.alive.values()):
            for attachment in task.document["attachments"]:
                if attachment["status"] == DELETED:
                    continue
                details = {one["name"]: one["value"] for one in attachment["details"]}
                yield ServiceInterface(
                    details["networkInterfaceId"],
                    details["subnetId"],
                    tuple(task.groups),
                    task.address,
                    ecs_arn(self._cloud, "attachment", attachment["id"]),
                    "amazon-ecs",
                    f"ela-attach-{attachment['id'][:8]}",
                    task.address if task.public else "",
                    details["macAddress"],
                )
