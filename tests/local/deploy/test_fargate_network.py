"""EC2's interfaces of what runs, and what EC2 and RDS refuse to delete meanwhile; ``skylift fargate down`` relies on
both."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.deploy.fargate_cloud import IMAGE, run_a_sleeper

from skylift.testing.cloud import Cloud, running_cloud

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("network"), images={IMAGE: sys.prefix}) as running:
        yield running


@pytest.fixture
def vpc(cloud: Cloud) -> Iterator[dict[str, str]]:
    """A VPC with a subnet, a gateway and a group; deleted at the end, which works only if nothing uses it."""
    ec2 = cloud.client("ec2")
    made = {"vpc": ec2.create_vpc(CidrBlock="10.9.0.0/24")["Vpc"]["VpcId"]}
    made["subnet"] = ec2.create_subnet(VpcId=made["vpc"], CidrBlock="10.9.0.0/25")["Subnet"]["SubnetId"]
    made["gateway"] = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=made["gateway"], VpcId=made["vpc"])
    made["group"] = ec2.create_security_group(GroupName="g", Description="d", VpcId=made["vpc"])["GroupId"]
    yield made
    ec2.delete_security_group(GroupId=made["group"])
    ec2.detach_internet_gateway(InternetGatewayId=made["gateway"], VpcId=made["vpc"])
    ec2.delete_internet_gateway(InternetGatewayId=made["gateway"])
    ec2.delete_subnet(SubnetId=made["subnet"])
    ec2.delete_vpc(VpcId=made["vpc"])


def refused(call: Any, **request: Any) -> str:
    """AWS's error code."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


def test_an_ecs_task_holds_its_network_until_it_has_ended(cloud: Cloud, vpc: dict[str, str]) -> None:
    ec2, ecs = cloud.client("ec2"), cloud.client("ecs")
    ecs.create_cluster(clusterName="holding")
    network = {"subnets": [vpc["subnet"]], "securityGroups": [vpc["group"]], "assignPublicIp": "ENABLED"}
    task = run_a_sleeper(ecs, "holding", network)
    details = {one["name"]: one["value"] for one in task["attachments"][0]["details"]}
    filters = [{"Name": "group-id", "Values": [vpc["group"]]}]
    found = ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
    assert [one["NetworkInterfaceId"] for one in found] == [details["networkInterfaceId"]]
    one = found[0]
    assert one["Description"].endswith(f"attachment/{task['attachments'][0]['id']}")
    assert (one["VpcId"], one["SubnetId"]) == (vpc["vpc"], vpc["subnet"])
    assert (one["PrivateIpAddress"], one["RequesterManaged"], one["Status"]) == (
        details["privateIPv4Address"],
        True,
        "in-use",
    )
    assert one["Association"]["PublicIp"]
    for name, values in (("vpc-id", ["vpc-0"]), ("subnet-id", ["subnet-0"]), ("description", ["ELB *"])):
        other = ec2.describe_network_interfaces(Filters=[{"Name": name, "Values": values}])
        assert details["networkInterfaceId"] not in str(other["NetworkInterfaces"])
    assert refused(ec2.delete_security_group, GroupId=vpc["group"]) == "DependencyViolation"
    assert refused(ec2.delete_subnet, SubnetId=vpc["subnet"]) == "DependencyViolation"
    assert refused(ec2.delete_vpc, VpcId=vpc["vpc"]) == "DependencyViolation"
    detach = {"InternetGatewayId": vpc["gateway"], "VpcId": vpc["vpc"]}
    assert refused(ec2.detach_internet_gateway, **detach) == "DependencyViolation"
    interface = details["networkInterfaceId"]
    assert refused(ec2.delete_network_interface, NetworkInterfaceId=interface) == "OperationNotPermitted"
    ecs.stop_task(cluster="holding", task=task["taskArn"])
    gone_by = time.monotonic() + 30
    while ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]:
        assert time.monotonic() < gone_by
        time.sleep(0.1)


def test_a_load_balancer_holds_its_subnets(cloud: Cloud, vpc: dict[str, str]) -> None:
    ec2, elb = cloud.client("ec2"), cloud.client("elbv2")
    other = ec2.create_subnet(VpcId=vpc["vpc"], CidrBlock="10.9.0.128/25")["Subnet"]["SubnetId"]
    balancer = elb.create_load_balancer(
        Name="holding", Subnets=[vpc["subnet"], other], SecurityGroups=[vpc["group"]], Type="application"
    )["LoadBalancers"][0]
    filters = [{"Name": "vpc-id", "Values": [vpc["vpc"]]}]
    found = ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
    assert {one["SubnetId"] for one in found} == {vpc["subnet"], other}
    assert {one["Description"] for one in found} == {
        "ELB " + balancer["LoadBalancerArn"].partition(":loadbalancer/")[2]
    }
    assert refused(ec2.delete_security_group, GroupId=vpc["group"]) == "DependencyViolation"
    elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    ec2.delete_subnet(SubnetId=other)


def test_instances_rules_tables_gateways_and_addresses_hold(cloud: Cloud, vpc: dict[str, str]) -> None:
    ec2 = cloud.client("ec2")
    instance = ec2.run_instances(
        ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=vpc["subnet"], SecurityGroupIds=[vpc["group"]]
    )["Instances"][0]["InstanceId"]
    shown = ec2.describe_network_interfaces(Filters=[{"Name": "attachment.instance-id", "Values": [instance]}])
    interface = shown["NetworkInterfaces"][0]["NetworkInterfaceId"]
    assert refused(ec2.delete_subnet, SubnetId=vpc["subnet"]) == "DependencyViolation"
    assert refused(ec2.delete_network_interface, NetworkInterfaceId=interface) == "InvalidParameterValue"
    ec2.terminate_instances(InstanceIds=[instance])
    own = ec2.create_network_interface(SubnetId=vpc["subnet"], Groups=[vpc["group"]], Description="by hand")
    own_id = own["NetworkInterface"]["NetworkInterfaceId"]
    assert refused(ec2.delete_security_group, GroupId=vpc["group"]) == "DependencyViolation"
    ec2.delete_network_interface(NetworkInterfaceId=own_id)
    missing = {"NetworkInterfaceIds": [own_id]}
    assert refused(ec2.describe_network_interfaces, **missing) == "InvalidNetworkInterfaceID.NotFound"

    other = ec2.create_security_group(GroupName="other", Description="d", VpcId=vpc["vpc"])["GroupId"]
    pairs = [{"GroupId": vpc["group"]}]
    rule = [{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "UserIdGroupPairs": pairs}]
    ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=rule)
    assert refused(ec2.delete_security_group, GroupId=vpc["group"]) == "DependencyViolation"
    ec2.delete_security_group(GroupId=other)

    table = ec2.create_route_table(VpcId=vpc["vpc"])["RouteTable"]["RouteTableId"]
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=vpc["subnet"])["AssociationId"]
    assert refused(ec2.delete_route_table, RouteTableId=table) == "DependencyViolation"
    ec2.disassociate_route_table(AssociationId=association)
    ec2.delete_route_table(RouteTableId=table)
    assert refused(ec2.delete_internet_gateway, InternetGatewayId=vpc["gateway"]) == "DependencyViolation"

    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    gateway = ec2.create_nat_gateway(SubnetId=vpc["subnet"], AllocationId=address)["NatGateway"]["NatGatewayId"]
    assert refused(ec2.release_address, AllocationId=address) == "InvalidIPAddress.InUse"
    assert refused(ec2.delete_subnet, SubnetId=vpc["subnet"]) == "DependencyViolation"
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    ec2.release_address(AllocationId=address)


def test_a_database_holds_its_subnet_group(cloud: Cloud) -> None:
    rds, ec2 = cloud.client("rds"), cloud.client("ec2")
    subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]][:2]
    rds.create_db_subnet_group(DBSubnetGroupName="held", DBSubnetGroupDescription="d", SubnetIds=subnets)
    rds.create_db_instance(
        DBInstanceIdentifier="db", DBInstanceClass="db.t3.micro", Engine="postgres", DBSubnetGroupName="held"
    )
    assert refused(rds.delete_db_subnet_group, DBSubnetGroupName="held") == "InvalidDBSubnetGroupStateFault"
    rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)
    rds.delete_db_subnet_group(DBSubnetGroupName="held")
