"""The network interfaces that AWS's services make for what they run: each ECS task with an address has one, and each
load balancer one in each subnet. EC2 shows them, and deletes no network that one of them uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ServiceInterface:
    """A network interface, as EC2 shows it.

    Attributes:
        id: ``eni-...``.
        subnet: its subnet.
        groups: ids of its security groups; empty: the VPC's default group.
        address: its private address.
        description: by which people recognise what it belongs to.
        requester: who asked EC2 for it.
        attachment: id of its attachment.
        public: its public address; "" if it has none.
        mac: its hardware address.
        kind: EC2's ``interfaceType``.
    """

    id: str
    subnet: str
    groups: tuple[str, ...]
    address: str
    description: str
    requester: str
    attachment: str
    public: str = ""
    mac: str = "0a:00:00:00:00:00"
    kind: str = "interface"


class InterfaceSource(Protocol):
    """A service that has network interfaces."""

    def interfaces(self) -> Iterable[ServiceInterface]:
        """Those that it has now. Quick."""
        ...


class Interfaces:
    """What all services have now. The services are added when they are made."""

    def __init__(self) -> None:
        self._sources: tuple[InterfaceSource, ...] = ()

    def of(self, *sources: InterfaceSource) -> None:
        """From now on, these services are asked."""
        self._sources = sources

    def all(self) -> list[ServiceInterface]:
        """All interfaces of all services."""
        return [one for source in self._sources for one in source.interfaces()]
