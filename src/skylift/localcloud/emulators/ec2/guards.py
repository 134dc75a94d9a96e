"""What EC2 and RDS refuse to delete or detach while something uses it. Pure decisions over what is there.

Sources: EC2 API reference (error codes: DependencyViolation, InvalidIPAddress.InUse), and the texts that AWS gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from skylift.localcloud.emulators.ec2.network import Ec2Network

Fields = Mapping[str, str]
Refusal = tuple[str, str]
"""AWS's error code and text."""
IN_USE = "DependencyViolation"


def refusal(network: Ec2Network, fields: Fields) -> Refusal | None:
    """Why EC2 refuses this operation; ``None``: it does not."""
    guard = _GUARDS.get(fields.get("Action", ""))
    return guard(network, fields) if guard is not None else None


def _security_group(network: Ec2Network, fields: Fields) -> Refusal | None:
    group = fields.get("GroupId", "")
    if group not in network.ec2._security_groups or network.ec2._security_groups[group]["GroupName"] == "default":
        return None
    used = any(group in one.named() for one in network.interfaces())
    named = any(
        group == pair.get("GroupId")
        for other in network.ec2._security_groups.values()
        if other["GroupId"] != group
        for pair in _pairs(other)
    )
    return (IN_USE, f"resource {group} has a dependent object") if used or named else None


def _pairs(group: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for rule in (*group.get("IpPermissions", ()), *group.get("IpPermissionsEgress", ())):
        yield from rule.get("UserIdGroupPairs", ())


def _subnet(network: Ec2Network, fields: Fields) -> Refusal | None:
    subnet = fields.get("SubnetId", "")
    if any(one.subnet == subnet for one in network.interfaces()):
        return IN_USE, f"The subnet '{subnet}' has dependencies and cannot be deleted."
    return None


def _detach_gateway(network: Ec2Network, fields: Fields) -> Refusal | None:
    vpc = fields.get("VpcId", "")
    gateway = network.ec2._internet_gateways.get(fields.get("InternetGatewayId", "")) or {}
    attached = any(one.get("VpcId") == vpc for one in gateway.get("Attachments", ()))
    if attached and any(one.vpc == vpc and one.public for one in network.interfaces()):
        text = (
            f"Network {vpc} has some mapped public address(es). Please unmap those public address(es) before detaching"
        )
        return IN_USE, f"{text} the gateway."
    return None


def _gateway(network: Ec2Network, fields: Fields) -> Refusal | None:
    ident = fields.get("InternetGatewayId", "")
    if (network.ec2._internet_gateways.get(ident) or {}).get("Attachments"):
        return IN_USE, f"The internetGateway '{ident}' has dependencies and cannot be deleted."
    return None


def _route_table(network: Ec2Network, fields: Fields) -> Refusal | None:
    ident = fields.get("RouteTableId", "")
    if (network.ec2._route_tables.get(ident) or {}).get("Associations"):
        return IN_USE, f"The routeTable '{ident}' has dependencies and cannot be deleted."
    return None


def _interface(network: Ec2Network, fields: Fields) -> Refusal | None:
    ident = fields.get("NetworkInterfaceId", "")
    found = next((one for one in network.interfaces() if one.id == ident), None)
    if found is None or not found.attachment:
        return None
    if found.managed:
        return "OperationNotPermitted", f"You do not have permission to access the specified resource {ident}."
    return "InvalidParameterValue", f"Network interface '{ident}' is currently in use."


def _address(network: Ec2Network, fields: Fields) -> Refusal | None:
    ident = fields.get("AllocationId", "")
    address = network.ec2._addresses.get(ident) or {}
    gateways = network.ec2._nat_gateways.values()
    mapped = any(one.get("AllocationId") == ident and one["State"] != "deleted" for one in gateways)
    if ident and (address.get("AssociationId") or mapped):
        return "InvalidIPAddress.InUse", f"Address {address.get('PublicIp')} is in use."
    return None


def _vpc(network: Ec2Network, fields: Fields) -> Refusal | None:
    vpc = fields.get("VpcId", "")
    if vpc not in network.ec2._vpcs:
        return None
    main = network.ec2._vpcs[vpc].get("MainRouteTableId")
    tables = (one for one in network.ec2._route_tables.values() if one["VpcId"] == vpc)
    used = (
        any(one.vpc == vpc for one in network.interfaces())
        or any(one["RouteTableId"] != main for one in tables)
        or any(one["VpcId"] == vpc for one in network.ec2._vpc_endpoints.values())
    )
    return (IN_USE, f"The vpc '{vpc}' has dependencies and cannot be deleted.") if used else None


_GUARDS: Mapping[str, Callable[[Ec2Network, Fields], Refusal | None]] = {
    "DeleteSecurityGroup": _security_group,
    "DeleteSubnet": _subnet,
    "DetachInternetGateway": _detach_gateway,
    "DeleteInternetGateway": _gateway,
    "DeleteRouteTable": _route_table,
    "DeleteNetworkInterface": _interface,
    "ReleaseAddress": _address,
    "DeleteVpc": _vpc,
}


GUARDED = frozenset({*_GUARDS, "DeleteDBSubnetGroup"})
"""Operations that may be refused."""


def subnet_group_refusal(rds: Any, fields: Fields) -> Refusal | None:
    """Why RDS refuses to delete a DB subnet group; ``None``: it does not. ``rds`` is ministack's module."""
    if fields.get("Action") != "DeleteDBSubnetGroup":
        return None
    name = fields.get("DBSubnetGroupName", "")
    for kind, store, key in (
        ("database instance", rds._instances, "DBInstanceIdentifier"),
        ("database cluster", rds._clusters, "DBClusterIdentifier"),
    ):
        for one in store.values():
            group = one.get("DBSubnetGroup")
            if name and name == (group.get("DBSubnetGroupName") if isinstance(group, Mapping) else group):
                user = f"at least one {kind}: {one[key]} is still using it."
                return "InvalidDBSubnetGroupStateFault", f"Cannot delete the subnet group '{name}' because {user}"
    return None
