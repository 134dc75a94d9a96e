"""All network interfaces of one account and region: those that people made, and those of services, instances, NAT
gateways and endpoints.

ministack keeps what people make; it makes none for instances, and knows nothing of our ECS and load balancers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skylift.localcloud.interfaces import ServiceInterface

Tags = Mapping[str, str]
ENDED = frozenset({"terminated", "shutting-down"})


@dataclass(frozen=True)
class InterfaceSeen:
    """One network interface.

    Attributes:
        id, subnet, vpc, zone: where it is; the VPC and the zone are empty if EC2 does not know the subnet.
        groups: id and name of its security groups.
        attachment: id; "" if it is not attached.
        instance: that it is attached to, or "".
        managed: whether a service made it, so that only the service can delete it.
    """

    id: str
    subnet: str
    vpc: str
    zone: str
    groups: tuple[tuple[str, str], ...]
    address: str
    owner: str
    description: str = ""
    requester: str = ""
    attachment: str = ""
    instance: str = ""
    public: str = ""
    mac: str = ""
    kind: str = "interface"
    managed: bool = False
    tags: Tags = field(default_factory=dict)

    @property
    def status(self) -> str:
        """``in-use`` or ``available``."""
        return "in-use" if self.attachment else "available"

    def named(self) -> set[str]:
        """Ids of its security groups."""
        return {one for one, _ in self.groups}


class Ec2Network:
    """What ministack's EC2 has in the current scope, with the interfaces of services.

    Args:
        ec2: ministack's module.
        account: twelve digits.
        services: from ``Interfaces.all``.
    """

    def __init__(self, ec2: Any, account: str, services: Iterable[ServiceInterface]) -> None:
        self.ec2 = ec2
        self._account = account
        self._services = list(services)

    def interfaces(self) -> list[InterfaceSeen]:
        """All of them."""
        return [*self._made(), *self._of_services(), *self._of_instances(), *self._of_gateways()]

    def tags(self, resource: str) -> Tags:
        """Tags of anything in EC2."""
        return {one["Key"]: one.get("Value", "") for one in self.ec2._tags.get(resource, [])}

    def _made(self) -> Iterator[InterfaceSeen]:
        for one in self.ec2._network_interfaces.values():
            attachment = one.get("Attachment") or {}
            yield self._seen(
                one["NetworkInterfaceId"],
                one["SubnetId"],
                [group["GroupId"] for group in one.get("Groups", ())],
                one["PrivateIpAddress"],
                description=one.get("Description", ""),
                attachment=attachment.get("AttachmentId", ""),
                instance=attachment.get("InstanceId", ""),
                mac=one.get("MacAddress", ""),
            )

    def _of_services(self) -> Iterator[InterfaceSeen]:
        for one in self._services:
            yield self._seen(
                one.id,
                one.subnet,
                one.groups,
                one.address,
                description=one.description,
                requester=one.requester,
                attachment=one.attachment,
                public=one.public,
                mac=one.mac,
                kind=one.kind,
                managed=True,
            )

    def _of_instances(self) -> Iterator[InterfaceSeen]:
        for one in self.ec2._instances.values():
            if one["State"]["Name"] not in ENDED:
                ident = _ident(one["InstanceId"])
                yield self._seen(
                    f"eni-{ident[:17]}",
                    one["SubnetId"],
                    [group["GroupId"] for group in one.get("SecurityGroups", ())],
                    one["PrivateIpAddress"],
                    attachment=f"eni-attach-{ident[17:34]}",
                    instance=one["InstanceId"],
                    public=one.get("PublicIpAddress") or "",
                    mac="0a:00:00:00:00:01",
                )

    def _of_gateways(self) -> Iterator[InterfaceSeen]:
        for one in self.ec2._nat_gateways.values():
            if one["State"] not in {"deleted", "deleting"}:
                address = self.ec2._addresses.get(one.get("AllocationId")) or {}
                yield self._service(one["NatGatewayId"], one["SubnetId"], "Interface for NAT Gateway {}", address)
        for one in self.ec2._vpc_endpoints.values():
            if one["VpcEndpointType"] == "Interface":
                for subnet in one.get("SubnetIds", ()):
                    yield self._service(one["VpcEndpointId"], subnet, "VPC Endpoint Interface {}", {})

    def _service(self, of: str, subnet: str, words: str, address: Mapping[str, Any]) -> InterfaceSeen:
        ident = _ident(of + subnet)
        return self._seen(
            f"eni-{ident[:17]}",
            subnet,
            (),
            "10.0.0.10",
            description=words.format(of),
            requester="amazon-vpc",
            attachment=f"ela-attach-{ident[17:25]}",
            public=address.get("PublicIp") or "",
            mac="0a:00:00:00:00:02",
            managed=True,
        )

    def _seen(self, ident: str, subnet: str, groups: Iterable[str], address: str, **rest: Any) -> InterfaceSeen:
        where = self.ec2._subnets.get(subnet) or {}
        vpc = str(where.get("VpcId", ""))
        default = (self.ec2._vpcs.get(vpc) or {}).get("DefaultSecurityGroupId")
        ids = list(groups) or ([default] if default else [])
        named = tuple((one, str((self.ec2._security_groups.get(one) or {}).get("GroupName", one))) for one in ids)
        zone = str(where.get("AvailabilityZone", ""))
        return InterfaceSeen(ident, subnet, vpc, zone, named, address, self._account, tags=self.tags(ident), **rest)


def _ident(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
