"""The operations of Elastic Load Balancing, as real boto3 sees them over the real wire."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from tests.local.elb_cloud import Cloud, balancing, free_port, make, refused

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with balancing(tmp_path_factory.mktemp("elb")) as made:
        yield made


def test_making_is_idempotent_and_other_settings_are_refused(cloud: Cloud) -> None:
    elb, subnets = cloud.elb, ["subnet-1", "subnet-2"]
    made = elb.create_load_balancer(Name="same", Subnets=subnets, Scheme="internal")["LoadBalancers"][0]
    again = elb.create_load_balancer(Name="same", Subnets=subnets, Scheme="internal")["LoadBalancers"][0]
    assert again == made
    assert made["State"]["Code"] == "active"
    assert made["DNSName"].startswith("127.")
    assert refused(elb.create_load_balancer, Name="same", Subnets=subnets) == "DuplicateLoadBalancerName"
    other = elb.create_load_balancer(Name="other", Subnets=subnets)["LoadBalancers"][0]
    assert other["DNSName"] != made["DNSName"]

    group = {"Name": "same-g", "Protocol": "HTTP", "Port": 80, "TargetType": "ip", "VpcId": "vpc-1"}
    arn = elb.create_target_group(**group)["TargetGroups"][0]["TargetGroupArn"]
    assert elb.create_target_group(**group)["TargetGroups"][0]["TargetGroupArn"] == arn
    assert refused(elb.create_target_group, **{**group, "Port": 81}) == "DuplicateTargetGroupName"

    listener = {
        "LoadBalancerArn": made["LoadBalancerArn"],
        "Protocol": "HTTP",
        "Port": free_port(),
        "DefaultActions": [{"Type": "forward", "TargetGroupArn": arn}],
    }
    first = elb.create_listener(**listener)["Listeners"][0]["ListenerArn"]
    assert elb.create_listener(**listener)["Listeners"][0]["ListenerArn"] == first
    elsewhere = [{"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": arn, "Weight": 1}]}}]
    assert refused(elb.create_listener, **{**listener, "DefaultActions": elsewhere}) == "DuplicateListener"


def test_what_is_not_there_is_refused_by_name(cloud: Cloud) -> None:
    elb = cloud.elb
    gone = "arn:aws:elasticloadbalancing:us-east-1:000000000000:{}/app/gone/0123456789abcdef"
    assert refused(elb.describe_load_balancers, Names=["gone"]) == "LoadBalancerNotFound"
    assert refused(elb.describe_target_groups, Names=["gone"]) == "TargetGroupNotFound"
    assert refused(elb.describe_listeners, ListenerArns=[gone.format("listener")]) == "ListenerNotFound"
    assert refused(elb.delete_listener, ListenerArn=gone.format("listener")) == "ListenerNotFound"
    group = gone.format("targetgroup")
    assert refused(elb.register_targets, TargetGroupArn=group, Targets=[{"Id": "127.0.0.1"}]) == "TargetGroupNotFound"
    assert refused(elb.describe_target_health, TargetGroupArn=group) == "TargetGroupNotFound"
    elb.delete_load_balancer(LoadBalancerArn=gone.format("loadbalancer"))
    elb.delete_target_group(TargetGroupArn=group)


def test_what_is_in_use_stays_until_its_listener_is_gone(cloud: Cloud) -> None:
    elb = cloud.elb
    address, group, listener = make(cloud, "used", port := free_port())
    assert refused(elb.delete_target_group, TargetGroupArn=group) == "ResourceInUse"
    balancer = elb.describe_listeners(ListenerArns=[listener])["Listeners"][0]["LoadBalancerArn"]
    assert elb.describe_target_groups(LoadBalancerArn=balancer)["TargetGroups"][0]["LoadBalancerArns"] == [balancer]
    assert elb.describe_target_groups(LoadBalancerArn=balancer)["TargetGroups"][0]["TargetGroupArn"] == group
    socket.create_connection((address, port), 5).close()
    elb.delete_load_balancer(LoadBalancerArn=balancer)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, port), 5)
    elb.delete_target_group(TargetGroupArn=group)
    assert refused(elb.describe_target_groups, TargetGroupArns=[group]) == "TargetGroupNotFound"


def test_a_port_that_is_taken_is_refused_with_advice(cloud: Cloud) -> None:
    made = cloud.elb.create_load_balancer(Name="busy", Subnets=["subnet-1", "subnet-2"])["LoadBalancers"][0]
    group = cloud.elb.create_target_group(Name="busy-g", Protocol="HTTP", Port=80, TargetType="ip")
    with socket.socket() as taken:
        taken.bind((made["DNSName"], 0))
        taken.listen()
        with pytest.raises(ClientError, match=rf"port {taken.getsockname()[1]} .* taken by another program") as caught:
            cloud.elb.create_listener(
                LoadBalancerArn=made["LoadBalancerArn"],
                Protocol="HTTP",
                Port=taken.getsockname()[1],
                DefaultActions=[{"Type": "forward", "TargetGroupArn": group["TargetGroups"][0]["TargetGroupArn"]}],
            )
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert cloud.elb.describe_listeners(LoadBalancerArn=made["LoadBalancerArn"])["Listeners"] == []


def test_a_listener_moves_to_another_port(cloud: Cloud) -> None:
    before, after = free_port(), free_port()
    address, _, listener = make(cloud, "moves", before)
    cloud.elb.modify_listener(ListenerArn=listener, Port=after)
    socket.create_connection((address, after), 5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, before), 5)
    assert cloud.elb.describe_listeners(ListenerArns=[listener])["Listeners"][0]["Port"] == after


def test_listener_attributes(cloud: Cloud) -> None:
    """Terraform reads them of every listener that it makes, and when it looks whether one is as it should be."""
    _, _, listener = make(cloud, "attributes", free_port())
    usual = {"Key": "tcp.idle_timeout.seconds", "Value": "350"}
    http = {"Key": "routing.http.response.server.enabled", "Value": "true"}
    assert cloud.elb.describe_listener_attributes(ListenerArn=listener)["Attributes"] in ([usual], [http])
    wanted = [{"Key": "routing.http.response.server.enabled", "Value": "false"}]
    changed = cloud.elb.modify_listener_attributes(ListenerArn=listener, Attributes=wanted)["Attributes"]
    assert wanted[0] in changed
    assert cloud.elb.describe_listener_attributes(ListenerArn=listener)["Attributes"] == changed
    assert refused(cloud.elb.describe_listener_attributes, ListenerArn=f"{listener}0") == "ListenerNotFound"


def test_tags_attributes_and_pages(cloud: Cloud) -> None:
    elb = cloud.elb
    arns = []
    for name in ("page-1", "page-2", "page-3"):
        made = elb.create_load_balancer(Name=name, Subnets=["a", "b"], Tags=[{"Key": "made", "Value": name}])
        arns.append(made["LoadBalancers"][0]["LoadBalancerArn"])
    elb.add_tags(ResourceArns=arns, Tags=[{"Key": "all", "Value": "yes"}])
    elb.remove_tags(ResourceArns=arns[:1], TagKeys=["made"])
    tags = {one["ResourceArn"]: one["Tags"] for one in elb.describe_tags(ResourceArns=arns)["TagDescriptions"]}
    assert tags[arns[0]] == [{"Key": "all", "Value": "yes"}]
    assert len(tags[arns[1]]) == 2
    wanted = [{"Key": "idle_timeout.timeout_seconds", "Value": "4000"}]
    elb.modify_load_balancer_attributes(LoadBalancerArn=arns[0], Attributes=wanted)
    assert wanted[0] in elb.describe_load_balancer_attributes(LoadBalancerArn=arns[0])["Attributes"]
    pages = elb.get_paginator("describe_load_balancers").paginate(PaginationConfig={"PageSize": 2})
    names = [one["LoadBalancerName"] for page in pages for one in page["LoadBalancers"]]
    assert len(names) == len(set(names))
    assert set(names) >= {"page-1", "page-2", "page-3"}


def test_what_the_local_cloud_cannot_do_is_said(cloud: Cloud) -> None:
    elb = cloud.elb
    assert refused(elb.create_load_balancer, Name="gw", Type="gateway", Subnets=["a"]) == "InvalidConfigurationRequest"
    assert refused(elb.create_load_balancer, Name="-bad", Subnets=["a", "b"]) == "ValidationError"
    assert refused(elb.create_load_balancer, Name="one-subnet", Subnets=["a"]) == "ValidationError"
    tls = {"Name": "tls", "Protocol": "TLS", "Port": 1, "TargetType": "ip"}
    assert refused(elb.create_target_group, **tls) == "InvalidConfigurationRequest"


@pytest.mark.parametrize("marker", ["svc", "-1", "1.5", "9" * 5000, "²"])
def test_a_marker_that_was_never_given_is_refused(cloud: Cloud, marker: str) -> None:
    for operation in (cloud.elb.describe_load_balancers, cloud.elb.describe_target_groups):
        with pytest.raises(ClientError, match=r"ValidationError.*The marker"):
            operation(Marker=marker)
