"""Rules of listeners: made by real boto3, used by real HTTP clients."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.local.elb_cloud import Cloud, balancing, free_port, make, refused, says, state, target, until

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with balancing(tmp_path_factory.mktemp("rules")) as made:
        yield made


def ask(place: tuple[str, int], path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Any:
    """Status, body and headers of an answer."""
    connection = http.client.HTTPConnection(*place, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body or None, named)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), answer.headers
    connection.close()
    return found


def rule(cloud: Cloud, listener: str, priority: int, condition: dict[str, Any], *actions: dict[str, Any]) -> Any:
    return cloud.elb.create_rule(
        ListenerArn=listener, Priority=priority, Conditions=[condition], Actions=list(actions)
    )["Rules"][0]


def path_is(*patterns: str) -> dict[str, Any]:
    return {"Field": "path-pattern", "PathPatternConfig": {"Values": list(patterns)}}


def fixed(text: str, status: str = "200") -> dict[str, Any]:
    config = {"StatusCode": status, "MessageBody": text, "ContentType": "text/plain"}
    return {"Type": "fixed-response", "FixedResponseConfig": config}


def to(*groups: str, weights: tuple[int, ...] = ()) -> dict[str, Any]:
    listed = [
        {"TargetGroupArn": arn, "Weight": weight}
        for arn, weight in zip(groups, weights or (1,) * len(groups), strict=True)
    ]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": listed}}


def group(cloud: Cloud, name: str, *targets: tuple[str, int]) -> str:
    made = cloud.elb.create_target_group(Name=name, Protocol="HTTP", Port=80, TargetType="ip", VpcId="vpc-1")
    arn = str(made["TargetGroups"][0]["TargetGroupArn"])
    if targets:
        cloud.elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": ip, "Port": port} for ip, port in targets])
    return arn


def test_requests_go_where_the_first_rule_says(cloud: Cloud) -> None:
    with ExitStack() as stack:
        behind = {name: stack.enter_context(target(says(name))) for name in ("web", "api", "new")}
        address, web, listener = make(cloud, "routes", port := free_port())
        cloud.elb.register_targets(TargetGroupArn=web, Targets=[{"Id": behind["web"][0], "Port": behind["web"][1]}])
        api, new = group(cloud, "routes-api", behind["api"]), group(cloud, "routes-new", behind["new"])
        host = {"Field": "host-header", "Values": ["*.example.com"]}
        rule(cloud, listener, 30, host, to(api))
        rule(cloud, listener, 20, path_is("/api/*"), to(api, new, weights=(3, 1)))
        header = {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Try", "Values": ["new"]}}
        rule(cloud, listener, 10, header, to(new))
        change = {"Protocol": "HTTPS", "Port": "443", "Host": "www.#{host}", "StatusCode": "HTTP_301"}
        rule(cloud, listener, 5, path_is("/old"), {"Type": "redirect", "RedirectConfig": change})
        rule(cloud, listener, 6, path_is("/health"), fixed("fine"))
        everywhere = [("web", web), ("api", api), ("new", new)]
        until(lambda: all(state(cloud, arn, behind[name]) == "healthy" for name, arn in everywhere), 60)
        place = (address, port)
        assert ask(place, "/")[:2] == (200, "web")
        assert ask(place, "/", host="a.example.com")[1] == "api"
        assert ask(place, "/api/x", x_try="new")[1] == "new"
        assert sorted(ask(place, "/api/x", "POST", b"body")[1] for _ in range(8)) == ["api"] * 6 + ["new"] * 2
        status, _, headers = ask(place, "/old?a=b", host="example.com")
        assert (status, headers["Location"]) == (301, "https://www.example.com:443/old?a=b")
        assert ask(place, "/health", "POST", b"x" * 100_000)[:2] == (200, "fine")
        assert ask(place, "/health", "HEAD")[1] == ""


def test_a_target_hears_who_asks_and_an_upgraded_connection_stays(cloud: Cloud) -> None:
    heard: list[bytes] = []

    def echo(connection: Any) -> None:
        while chunk := connection.recv(4096):
            heard.append(chunk)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" if b"Upgrade" in chunk else chunk.upper())

    with target(echo) as behind:
        address, web, listener = make(cloud, "upgrade", port := free_port(), HealthCheckProtocol="TCP")
        cloud.elb.register_targets(TargetGroupArn=web, Targets=[{"Id": behind[0], "Port": behind[1]}])
        rule(cloud, listener, 1, path_is("/none"), fixed("none"))
        until(lambda: state(cloud, web, behind) == "healthy", 60)
        connection = http.client.HTTPConnection(address, port, timeout=30)
        connection.connect()
        assert connection.sock is not None
        connection.sock.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 101")
        connection.sock.sendall(b"hello")
        assert connection.sock.recv(100) == b"HELLO"
        connection.close()
        assert b"X-Forwarded-For: 127.0.0.1\r\n" in heard[0]
        assert f"X-Forwarded-Port: {port}\r\n".encode() in heard[0]


def test_what_is_no_request_is_told_so_and_a_group_without_targets_too(cloud: Cloud) -> None:
    address, web, listener = make(cloud, "empty", port := free_port())
    rule(cloud, listener, 1, path_is("/x"), fixed("x"))
    assert ask((address, port), "/")[0] == 503
    connection = http.client.HTTPConnection(address, port, timeout=30)
    connection.connect()
    assert connection.sock is not None
    connection.sock.sendall(b"SSH-2.0-client\r\n\r\n")
    assert connection.sock.recv(1000).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    connection.close()
    assert web


def test_a_listener_may_redirect_all(cloud: Cloud) -> None:
    made = cloud.elb.create_load_balancer(Name="redirects", Subnets=["a", "b"])["LoadBalancers"][0]
    action = {"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}
    listener = {"LoadBalancerArn": made["LoadBalancerArn"], "Protocol": "HTTP", "Port": free_port()}
    shown = cloud.elb.create_listener(**listener, DefaultActions=[action])["Listeners"][0]
    config = shown["DefaultActions"][0]["RedirectConfig"]
    assert (config["Host"], config["Path"], config["Query"]) == ("#{host}", "/#{path}", "#{query}")
    place = made["DNSName"], listener["Port"]
    assert ask(place, "/a?b")[2]["Location"] == f"https://{made['DNSName']}:443/a?b"
    cloud.elb.modify_listener(ListenerArn=shown["ListenerArn"], DefaultActions=[fixed("gone", "410")])
    assert ask(place, "/a")[:2] == (410, "gone")


def test_rules_are_listed_changed_and_deleted(cloud: Cloud) -> None:
    elb = cloud.elb
    _, web, listener = make(cloud, "lists", free_port())
    other = group(cloud, "lists-other")
    first = rule(cloud, listener, 10, path_is("/a"), to(other))
    assert first["Conditions"] == [{"Field": "path-pattern", "Values": ["/a"], "PathPatternConfig": {"Values": ["/a"]}}]
    assert (first["Priority"], first["IsDefault"]) == ("10", False)
    assert ":listener-rule/app/lists/" in first["RuleArn"]
    balancer = elb.describe_listeners(ListenerArns=[listener])["Listeners"][0]["LoadBalancerArn"]
    groups = elb.describe_target_groups(LoadBalancerArn=balancer)["TargetGroups"]
    assert {one["TargetGroupArn"] for one in groups} == {web, other}
    assert refused(elb.delete_target_group, TargetGroupArn=other) == "ResourceInUse"
    second = rule(cloud, listener, 5, path_is("/b"), fixed("b"))
    listed = elb.describe_rules(ListenerArn=listener)["Rules"]
    assert [one["Priority"] for one in listed] == ["5", "10", "default"]
    assert listed[-1]["Actions"][0]["TargetGroupArn"] == web
    assert elb.describe_rules(RuleArns=[listed[-1]["RuleArn"], first["RuleArn"]])["Rules"] == [listed[-1], first]
    pages = elb.get_paginator("describe_rules").paginate(ListenerArn=listener, PaginationConfig={"PageSize": 2})
    assert [len(page["Rules"]) for page in pages] == [2, 1]

    changed = elb.modify_rule(RuleArn=first["RuleArn"], Conditions=[path_is("/c")])["Rules"][0]
    assert (changed["Conditions"][0]["Values"], changed["Actions"]) == (["/c"], first["Actions"])
    swapped = [{"RuleArn": first["RuleArn"], "Priority": 5}, {"RuleArn": second["RuleArn"], "Priority": 10}]
    elb.set_rule_priorities(RulePriorities=swapped)
    assert elb.describe_rules(ListenerArn=listener)["Rules"][0]["RuleArn"] == first["RuleArn"]
    elb.add_tags(ResourceArns=[first["RuleArn"]], Tags=[{"Key": "a", "Value": "b"}])
    assert elb.describe_tags(ResourceArns=[first["RuleArn"]])["TagDescriptions"][0]["Tags"] == [
        {"Key": "a", "Value": "b"}
    ]
    elb.modify_rule(RuleArn=first["RuleArn"], Actions=[fixed("c")])
    elb.delete_target_group(TargetGroupArn=other)
    elb.delete_rule(RuleArn=first["RuleArn"])
    assert refused(elb.delete_rule, RuleArn=first["RuleArn"]) == "RuleNotFound"
    elb.delete_listener(ListenerArn=listener)
    assert refused(elb.describe_rules, RuleArns=[second["RuleArn"]]) == "RuleNotFound"


def test_rules_that_are_refused(cloud: Cloud) -> None:
    elb = cloud.elb
    _, web, listener = make(cloud, "refuses", free_port())
    made = rule(cloud, listener, 10, path_is("/a"), fixed("a"))["RuleArn"]
    new = {"ListenerArn": listener, "Priority": 11, "Conditions": [path_is("/b")], "Actions": [fixed("b")]}
    assert refused(elb.create_rule, **{**new, "Priority": 10}) == "PriorityInUse"
    assert refused(elb.create_rule, **{**new, "Priority": 50_001}) == "ValidationError"
    assert refused(elb.create_rule, **{**new, "ListenerArn": f"{listener}0"}) == "ListenerNotFound"
    assert refused(elb.create_rule, **{**new, "Conditions": []}) == "ValidationError"
    assert refused(elb.create_rule, **{**new, "Actions": [to(f"{web}0")]}) == "TargetGroupNotFound"
    transform = {"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": "a", "Replace": "b"}]}}
    assert refused(elb.create_rule, **new, Transforms=[transform]) == "InvalidConfigurationRequest"
    default = elb.describe_rules(ListenerArn=listener)["Rules"][-1]["RuleArn"]
    assert refused(elb.delete_rule, RuleArn=default) == "OperationNotPermitted"
    assert refused(elb.modify_rule, RuleArn=default, Actions=[fixed("b")]) == "OperationNotPermitted"
    priorities = [{"RuleArn": default, "Priority": 1}]
    assert refused(elb.set_rule_priorities, RulePriorities=priorities) == "OperationNotPermitted"
    other = rule(cloud, listener, 11, path_is("/b"), fixed("b"))["RuleArn"]
    taken = [{"RuleArn": other, "Priority": 10}]
    assert refused(elb.set_rule_priorities, RulePriorities=taken) == "PriorityInUse"
    assert refused(elb.describe_rules) == "ValidationError"
    assert refused(elb.describe_rules, RuleArns=[f"{made}0"]) == "RuleNotFound"
    _, foreign, network = make(cloud, "refuses-net", free_port(), "network")
    assert refused(elb.create_rule, **{**new, "ListenerArn": network, "Priority": 1}) == "UnsupportedProtocol"
    assert (
        refused(elb.create_rule, **{**new, "Priority": 12, "Actions": [to(foreign)]}) == "TargetGroupAssociationLimit"
    )
    tcp = elb.create_target_group(Name="refuses-tcp", Protocol="TCP", Port=80, TargetType="ip")["TargetGroups"][0]
    wrong = {**new, "Priority": 12, "Actions": [to(tcp["TargetGroupArn"])]}
    assert refused(elb.create_rule, **wrong) == "IncompatibleProtocols"
    for number in range(13, 111):
        elb.create_rule(**{**new, "Priority": number})
    assert refused(elb.create_rule, **{**new, "Priority": 200}) == "TooManyRules"


def test_security_groups_can_be_changed(cloud: Cloud) -> None:
    elb = cloud.elb
    made = elb.create_load_balancer(Name="guarded", Subnets=["a", "b"], SecurityGroups=["sg-1"])["LoadBalancers"][0]
    arn = made["LoadBalancerArn"]
    reserved = elb.describe_capacity_reservation(LoadBalancerArn=arn)  # Terraform asks for it
    assert reserved.get("MinimumLoadBalancerCapacity") is None
    assert elb.set_security_groups(LoadBalancerArn=arn, SecurityGroups=["sg-2"])["SecurityGroupIds"] == ["sg-2"]
    assert elb.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]["SecurityGroups"] == ["sg-2"]
    assert (
        refused(elb.set_security_groups, LoadBalancerArn=f"{arn}0", SecurityGroups=["sg-2"]) == "LoadBalancerNotFound"
    )
    net = elb.create_load_balancer(Name="guarded-net", Type="network", Subnets=["a"])["LoadBalancers"][0]
    wrong = {"LoadBalancerArn": net["LoadBalancerArn"], "SecurityGroups": ["sg-2"]}
    assert refused(elb.set_security_groups, **wrong) == "InvalidConfigurationRequest"


def test_rules_are_there_after_a_restart(tmp_path: Path) -> None:
    port = free_port()
    with balancing(tmp_path) as cloud:
        address, _, listener = make(cloud, "stays", port)
        rule(cloud, listener, 1, path_is("/a"), fixed("still"))
    with balancing(tmp_path) as cloud:
        assert ask((address, port), "/a")[:2] == (200, "still")
        balancer = cloud.elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
        cloud.elb.delete_load_balancer(LoadBalancerArn=balancer)
    with balancing(tmp_path) as cloud:
        assert cloud.elb.describe_load_balancers()["LoadBalancers"] == []
