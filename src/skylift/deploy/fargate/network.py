"""The network of one Airflow: a VPC with two public subnets (or somebody's VPC), and a security group with one rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from skylift.aws.account_calls import AccountCalls
from skylift.core.errors import Refused
from skylift.deploy.fargate.wanted import PORT, TAG, AirflowWanted, upper_tags

GONE = frozenset(
    {
        "InvalidGroup.NotFound",
        "InvalidInternetGatewayID.NotFound",
        "InvalidRouteTableID.NotFound",
        "InvalidSubnetID.NotFound",
        "InvalidVpcID.NotFound",
        "InvalidAssociationID.NotFound",
        "Gateway.NotAttached",
    }
)
DESCRIPTION = "One Airflow on Fargate, made by skylift fargate up"


@dataclass(frozen=True)
class TaskNetwork:
    """Where the task runs."""

    vpc: str
    subnets: tuple[str, ...]
    group: str


@dataclass(frozen=True)
class OwnNetwork:
    """What is ours of EC2, by tag. More than one of a kind: a command was killed between a call and its answer."""

    vpcs: tuple[str, ...]
    subnets: tuple[Mapping[str, Any], ...]
    gateways: tuple[Mapping[str, Any], ...]
    tables: tuple[Mapping[str, Any], ...]
    groups: tuple[Mapping[str, Any], ...]


def find(calls: AccountCalls, name: str) -> OwnNetwork:
    """What belongs to NAME."""
    mine = [{"Name": f"tag:{TAG}", "Values": [name]}]

    def look(operation: str, member: str, key: str) -> tuple[Mapping[str, Any], ...]:
        return tuple(sorted(calls.pages("ec2", operation, member, Filters=mine), key=lambda one: str(one[key])))

    return OwnNetwork(
        tuple(str(one["VpcId"]) for one in look("describe_vpcs", "Vpcs", "VpcId")),
        look("describe_subnets", "Subnets", "SubnetId"),
        look("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
        look("describe_route_tables", "RouteTables", "RouteTableId"),
        look("describe_security_groups", "SecurityGroups", "GroupId"),
    )


def ensure(calls: AccountCalls, wanted: AirflowWanted, group_name: str) -> TaskNetwork:
    """Makes what is missing. Raises ``Refused`` if the VPC that was named has no public subnet."""
    own = find(calls, wanted.name)
    if wanted.vpc or wanted.subnets:
        subnets = wanted.subnets or _public_subnets(calls, wanted.vpc)
        vpc = wanted.vpc or _vpc_of(calls, subnets[0])
    else:
        vpc, subnets = _own_subnets(calls, wanted, own)
    return TaskNetwork(vpc, subnets, _group(calls, wanted, own, vpc, group_name))


def _own_subnets(calls: AccountCalls, wanted: AirflowWanted, own: OwnNetwork) -> tuple[str, tuple[str, ...]]:
    vpc = own.vpcs[0] if own.vpcs else ""
    if not vpc:
        made = calls.call("ec2", "create_vpc", CidrBlock=wanted.cidr, TagSpecifications=_spec("vpc", wanted.name))
        vpc = str(made["Vpc"]["VpcId"])
        _wait_for(calls, "vpc_available", VpcIds=[vpc])
    gateway = _gateway(calls, wanted.name, own, vpc)
    mine = [one for one in own.subnets if one["VpcId"] == vpc]
    zones = _zones(calls)
    missing = [one for one in wanted.halves if one not in {found["CidrBlock"] for found in mine}]
    for cidr in missing[: max(0, len(wanted.halves) - len(mine))]:
        made = calls.call(
            "ec2",
            "create_subnet",
            VpcId=vpc,
            CidrBlock=cidr,
            AvailabilityZone=zones[wanted.halves.index(cidr) % len(zones)],
            TagSpecifications=_spec("subnet", wanted.name),
        )
        mine.append(made["Subnet"])
    subnets = tuple(str(one["SubnetId"]) for one in mine)
    _routes(calls, wanted.name, own, vpc, gateway, subnets)
    return vpc, subnets


def _gateway(calls: AccountCalls, name: str, own: OwnNetwork, vpc: str) -> str:
    for found in own.gateways:
        attached = [str(one["VpcId"]) for one in found.get("Attachments", ())]
        if vpc in attached:
            return str(found["InternetGatewayId"])
    free = [found for found in own.gateways if not found.get("Attachments")]
    if free:
        gateway = str(free[0]["InternetGatewayId"])
    else:
        made = calls.call("ec2", "create_internet_gateway", TagSpecifications=_spec("internet-gateway", name))
        gateway = str(made["InternetGateway"]["InternetGatewayId"])
    calls.call("ec2", "attach_internet_gateway", InternetGatewayId=gateway, VpcId=vpc)
    return gateway


def _routes(calls: AccountCalls, name: str, own: OwnNetwork, vpc: str, gateway: str, subnets: tuple[str, ...]) -> None:
    table = next((one for one in own.tables if one["VpcId"] == vpc), None)
    if table is None:
        made = calls.call("ec2", "create_route_table", VpcId=vpc, TagSpecifications=_spec("route-table", name))
        table = made["RouteTable"]
    known = str(table["RouteTableId"])
    if not any(one.get("GatewayId") == gateway for one in table.get("Routes", ())):
        calls.call("ec2", "create_route", RouteTableId=known, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    there = {one.get("SubnetId") for one in table.get("Associations", ())}
    for subnet in subnets:
        if subnet not in there:
            calls.call("ec2", "associate_route_table", RouteTableId=known, SubnetId=subnet)


def _group(calls: AccountCalls, wanted: AirflowWanted, own: OwnNetwork, vpc: str, name: str) -> str:
    found = next((one for one in own.groups if one["VpcId"] == vpc), None)
    if found is None:
        made = calls.call(
            "ec2",
            "create_security_group",
            GroupName=name,
            Description=DESCRIPTION,
            VpcId=vpc,
            TagSpecifications=_spec("security-group", wanted.name),
        )
        found = {"GroupId": made["GroupId"], "IpPermissions": []}
    group = str(found["GroupId"])
    rule = _rule(wanted.allow)
    if _plain(found.get("IpPermissions", ())) != _plain([rule]):
        if found.get("IpPermissions"):
            calls.call("ec2", "revoke_security_group_ingress", GroupId=group, IpPermissions=found["IpPermissions"])
        calls.call("ec2", "authorize_security_group_ingress", GroupId=group, IpPermissions=[rule])
    return group


def _rule(allow: str) -> dict[str, Any]:
    said = "The address that skylift fargate up was called from, or --allow"
    ranges = (
        {"Ipv6Ranges": [{"CidrIpv6": allow, "Description": said}]}
        if ":" in allow
        else {"IpRanges": [{"CidrIp": allow, "Description": said}]}
    )
    return {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, **ranges}


def _plain(rules: Iterable[Mapping[str, Any]]) -> set[tuple[Any, ...]]:
    found: set[tuple[Any, ...]] = set()
    for one in rules:
        sources = [
            *(entry["CidrIp"] for entry in one.get("IpRanges", ())),
            *(entry["CidrIpv6"] for entry in one.get("Ipv6Ranges", ())),
            *(entry.get("GroupId") for entry in one.get("UserIdGroupPairs", ())),
        ]
        found |= {(one.get("IpProtocol"), one.get("FromPort"), one.get("ToPort"), source) for source in sources}
    return found


def _public_subnets(calls: AccountCalls, vpc: str) -> tuple[str, ...]:
    inside = [{"Name": "vpc-id", "Values": [vpc]}]
    found = calls.pages("ec2", "describe_subnets", "Subnets", Filters=inside)
    if not found:
        raise Refused(f"There is no VPC {vpc} in {calls.region}, or it has no subnets.")
    tables = calls.pages("ec2", "describe_route_tables", "RouteTables", Filters=inside)
    explicit = {entry["SubnetId"]: one for one in tables for entry in one["Associations"] if entry.get("SubnetId")}
    main: Mapping[str, Any] = next(
        (one for one in tables for entry in one["Associations"] if entry.get("Main")), {"Routes": []}
    )
    public = [one for one in found if _leads_out(explicit.get(one["SubnetId"], main))]
    # The default VPC's subnets are public by AWS's own rule.
    public = public or [one for one in found if one.get("DefaultForAz")]
    if not public:
        raise Refused(
            f"No subnet of {vpc} has a route to an internet gateway, so nothing outside could reach Airflow. Name "
            "another VPC, or leave out --vpc: a small one is made and costs nothing."
        )
    return tuple(sorted(str(one["SubnetId"]) for one in public)[:4])


def _leads_out(table: Mapping[str, Any]) -> bool:
    return any(str(route.get("GatewayId", "")).startswith("igw-") for route in table.get("Routes", ()))


def _vpc_of(calls: AccountCalls, subnet: str) -> str:
    return str(calls.call("ec2", "describe_subnets", SubnetIds=[subnet])["Subnets"][0]["VpcId"])


def _zones(calls: AccountCalls) -> list[str]:
    found = calls.call("ec2", "describe_availability_zones")["AvailabilityZones"]
    usual = [one for one in found if one.get("ZoneType", "availability-zone") == "availability-zone"]
    return sorted(str(one["ZoneName"]) for one in usual if one.get("State", "available") == "available")


def _wait_for(calls: AccountCalls, waiter: str, **request: Any) -> None:
    calls.client("ec2").get_waiter(waiter).wait(WaiterConfig={"Delay": 1, "MaxAttempts": 60}, **request)


def _spec(kind: str, name: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": upper_tags(name)}]


def remove_group(calls: AccountCalls, group: str) -> None:
    """Deletes a security group; AWS refuses while an interface has it or a rule of another names it."""
    calls.call("ec2", "delete_security_group", absent=GONE, GroupId=group)


def remove(calls: AccountCalls, own: OwnNetwork) -> None:
    """Deletes the rest of the network, in the order in which AWS allows it. The groups must be gone."""
    for table in own.tables:
        for one in table.get("Associations", ()):
            if not one.get("Main"):
                association = one["RouteTableAssociationId"]
                calls.call("ec2", "disassociate_route_table", absent=GONE, AssociationId=association)
        calls.call("ec2", "delete_route_table", absent=GONE, RouteTableId=table["RouteTableId"])
    for subnet in own.subnets:
        calls.call("ec2", "delete_subnet", absent=GONE, SubnetId=subnet["SubnetId"])
    for gateway in own.gateways:
        known = gateway["InternetGatewayId"]
        for one in gateway.get("Attachments", ()):
            calls.call("ec2", "detach_internet_gateway", absent=GONE, InternetGatewayId=known, VpcId=one["VpcId"])
        calls.call("ec2", "delete_internet_gateway", absent=GONE, InternetGatewayId=known)
    for vpc in own.vpcs:
        calls.call("ec2", "delete_vpc", absent=GONE, VpcId=vpc)
