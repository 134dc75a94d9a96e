"""What ECS needs from its neighbours, as Protocols, and its context. ``cloud.py`` connects them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from skylift.wire.errors import AwsError

Document = dict[str, Any]
"""One thing in AWS's format; times are seconds since the epoch until the wire writes them (``shapes.shown``)."""

Change = Callable[[str, Document], None]
"""Called on every change: kind (``ecs-task``, ``service``) and its new document. Must not block or keep the
document."""


DATABASE, MEMORY = "cloud.db", Path(":memory:")
"""The file; and what is opened instead if it is damaged: an empty database that disappears with the process."""


@dataclass(frozen=True)
class CloudContext:
    """The account, region, endpoint and folder of this local cloud.

    Attributes:
        account: twelve digits.
        region: e.g. ``us-east-1``.
        endpoint: AWS endpoint as containers reach it, e.g. ``http://127.0.0.1:4747``.
        folder: folder that holds ``cloud.db`` and ``containers/``.
        damaged: whether ``cloud.db`` cannot be read: then nothing is stored.
        host_folders: folders of this machine that containers may mount.
    """

    account: str
    region: str
    endpoint: str
    folder: Path
    damaged: bool = False
    host_folders: tuple[Path, ...] = ()

    @property
    def database(self) -> Path:
        """The file that SQLite opens."""
        return MEMORY if self.damaged else self.folder / DATABASE


class Image(Protocol):
    """What a container starts from."""

    @property
    def entrypoint(self) -> tuple[str, ...]: ...

    @property
    def default_command(self) -> tuple[str, ...]: ...

    @property
    def environment(self) -> Mapping[str, str]: ...

    @property
    def template(self) -> str:
        """Module that prepares templates for the image's ``python`` (see ``template_process.py``); empty: none."""
        ...

    def executable(self, word: str) -> Path | None:
        """The program with that name on the image's PATH."""
        ...


class Images(Protocol):
    """Finds and builds images.

    Attributes:
        asks: whether ``find`` may take a moment each time, and its answer may change.
    """

    @property
    def asks(self) -> bool: ...

    def find(self, reference: str) -> Image | None:
        """The image, if it already exists. Quick."""
        ...

    def build(self, reference: str, progress: Callable[[str], None]) -> Image:
        """Builds it; blocks for seconds to minutes. Raises ``SkyliftError``: ``Refused`` if the name is unknown."""
        ...


class Logs(Protocol):
    """CloudWatch Logs, as the ``awslogs`` driver needs it."""

    async def prepare(self, group: str, stream: str, create_group: bool) -> None:
        """Creates the stream (and the group, if requested). Harmless if it exists. Raises ``AwsError``."""
        ...

    async def put(self, group: str, stream: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Appends events (``timestamp`` in ms, ``message``), in order. Raises ``AwsError``."""
        ...


@dataclass(frozen=True)
class Measured:
    """One value of a metric."""

    namespace: str
    name: str
    value: float
    unit: str
    dimensions: Mapping[str, str]


class Metrics(Protocol):
    """CloudWatch, as ECS sends its metrics there."""

    def put(self, measured: Sequence[Measured]) -> None:
        """Keeps values as of now. Raises ``OSError``: the disk does not take them."""
        ...


class NoMetrics:
    """For a cloud without CloudWatch."""

    def put(self, measured: Sequence[Measured]) -> None: ...


class Secrets(Protocol):
    """Where ``secrets`` and ``environmentFiles`` of a container definition come from."""

    async def value(self, value_from: str) -> str:
        """The value behind a ``valueFrom``: a secret's ARN (``:json-key:stage:version``) or a parameter. Raises
        ``AwsError``."""
        ...

    async def file(self, bucket: str, key: str) -> bytes:
        """An object of S3. Raises ``AwsError``."""
        ...


class Targets(Protocol):
    """The load balancer's side of a service."""

    async def register(self, target_group: str, address: str, port: int) -> None:
        """Adds an address to a target group (ARN). Harmless if it is in it."""
        ...

    async def deregister(self, target_group: str, address: str, port: int) -> None:
        """Removes it again. Harmless if it is not in it."""
        ...

    async def drained(self, target_group: str, address: str, port: int) -> None:
        """Returns when nothing is in progress any longer with a removed address, or the group's time for that has
        passed."""
        ...

    def health(self, target_group: str, address: str, port: int) -> str:
        """``initial``, ``healthy``, ``unhealthy``, ``draining`` or ``unused``. Raises ``AwsError``: no such target
        group."""
        ...


class Registries(Protocol):
    """Cloud Map, as ECS's service discovery needs it. A registry is the ARN of a Cloud Map service."""

    def records(self, registry: str) -> frozenset[str]:
        """The types of its DNS records (``A``, ``SRV``); empty in an HTTP namespace. Raises ``AwsError``: there is no
        such registry."""
        ...

    async def register(self, registry: str, instance: str, attributes: Mapping[str, str]) -> None:
        """Adds an instance, or replaces it. Raises ``AwsError``."""
        ...

    async def deregister(self, registry: str, instance: str) -> None:
        """Removes it. Harmless if it is not there. Raises ``AwsError``."""
        ...

    async def report(self, registry: str, instance: str, healthy: bool) -> None:
        """Sets an instance's health, where the registry has a custom health check. Raises ``AwsError``."""
        ...


class NoRegistries:
    """For a cloud without Cloud Map."""

    def records(self, registry: str) -> frozenset[str]:
        raise AwsError("InvalidParameterException", f"The service registry {registry} was not found.")

    async def register(self, registry: str, instance: str, attributes: Mapping[str, str]) -> None: ...

    async def deregister(self, registry: str, instance: str) -> None: ...

    async def report(self, registry: str, instance: str, healthy: bool) -> None: ...


class Capacity(Protocol):
    """Whether AWS would have capacity now; for injected faults."""

    def has_room(self, service: str, place: str) -> bool:
        """Whether work may start.

        Args:
            service: ``ecs`` or ``batch``.
            place: the name of the ECS cluster or the Batch job queue.
        """
        ...


class Roles(Protocol):
    """What the roles of an ECS task may do: the execution role, with which ECS starts it, and the task's own."""

    def check(self, role: str, session: str, action: str, resource: str) -> None:
        """Raises ``AwsError``: a role may not do this.

        Args:
            role: its ARN.
            session: name of the session: the ECS task's id.
            action: e.g. ``secretsmanager:GetSecretValue``.
            resource: an ARN, or ``*``.
        """
        ...

    def check_assumable(self, role: str) -> None:
        """Raises ``AwsError``: ECS may not take on this role."""
        ...


class AnyRole(Roles):
    """Every role may do everything."""

    def check(self, role: str, session: str, action: str, resource: str) -> None: ...

    def check_assumable(self, role: str) -> None: ...


class AlwaysRoom(Capacity):
    """Always has capacity."""

    def has_room(self, service: str, place: str) -> bool:  # noqa: ARG002  as in Capacity
        return True


def nobody(_kind: str, _document: Document) -> None:
    """The ``Change`` that tells nobody."""
