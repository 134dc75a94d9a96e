"""Sticky sessions: a client with cookies reaches the target that its cookies name."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.local.elb_cloud import Cloud, balancing, free_port, make, received_head, refused, state, target, until

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with balancing(tmp_path_factory.mktemp("sticky")) as made:
        yield made


def answers(text: str, *headers: str) -> Callable[[socket.socket], None]:
    """Says its name; to a request with a body first 100, while the body still comes."""

    def serve(connection: socket.socket) -> None:
        head, _, body = received_head(connection).partition(b"\r\n\r\n")
        length = next((int(one.split(b":")[1]) for one in head.lower().split(b"\r\n") if b"content-length" in one), 0)
        if length:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(body) < length:
            body += connection.recv(65536)
        lines = [f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}", *headers, "Connection: close\r\n\r\n"]
        connection.sendall(("\r\n".join(lines) + text).encode())

    return serve


@contextmanager
def behind(cloud: Cloud, name: str, count: int = 2, *headers: str, **attributes: str) -> Iterator[tuple[Any, str, str]]:
    """A load balancer with healthy targets named 0, 1 ... Gives its place, its target group, its listener."""
    with ExitStack() as stack:
        places = [stack.enter_context(target(answers(str(number), *headers))) for number in range(count)]
        address, group, listener = make(cloud, name, port := free_port())
        stick(cloud, group, **attributes)
        targets = [{"Id": ip, "Port": one} for ip, one in places]
        cloud.elb.register_targets(TargetGroupArn=group, Targets=targets)
        until(lambda: all(state(cloud, group, place) == "healthy" for place in places), 30)
        yield (address, port), group, listener


def stick(cloud: Cloud, group: str, **attributes: str) -> None:
    listed = [{"Key": f"stickiness.{key.replace('__', '.')}", "Value": value} for key, value in attributes.items()]
    cloud.elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=listed)


def ask(place: tuple[str, int], jar: dict[str, str], body: bytes = b"") -> tuple[str, list[str]]:
    """Who answered, and the Set-Cookie lines; the jar is sent, and then has what was set."""
    connection = http.client.HTTPConnection(*place, timeout=30)
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())} if jar else {}
    connection.request("POST" if body else "GET", "/", body or None, headers)
    answer = connection.getresponse()
    text, lines = answer.read().decode(), answer.headers.get_all("Set-Cookie") or []
    connection.close()
    for line in lines:
        name, _, value = line.partition(";")[0].partition("=")
        jar[name] = value
    return text, lines


def test_a_client_stays_with_its_target(cloud: Cloud) -> None:
    with behind(cloud, "stay", enabled="true", lb_cookie__duration_seconds="60") as (place, group, _):
        assert {ask(place, {})[0] for _ in range(6)} == {"0", "1"}
        jar: dict[str, str] = {}
        first, lines = ask(place, jar)
        assert [line.partition("=")[0] for line in lines] == ["AWSALB", "AWSALBCORS"]
        assert lines[0].endswith("GMT; Path=/")
        assert lines[1].endswith("; Path=/; SameSite=None")
        assert {ask(place, jar, b"x" * 300_000)[0] for _ in range(6)} == {first}
        del jar["AWSALB"]  # a browser that sends only the twin
        assert {ask(place, jar)[0] for _ in range(4)} == {first}
        assert {ask(place, {"AWSALB": "bm9uc2Vuc2U"})[0] for _ in range(4)} == {"0", "1"}
        stick(cloud, group, enabled="false")
        assert {ask(place, dict(jar))[0] for _ in range(6)} == {"0", "1"}
        assert ask(place, {})[1] == []


def test_when_its_target_is_gone_a_client_gets_another(cloud: Cloud) -> None:
    with behind(cloud, "gone", enabled="true") as (place, group, _):
        jar: dict[str, str] = {}
        first, _ = ask(place, jar)
        listed = cloud.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        cloud.elb.deregister_targets(TargetGroupArn=group, Targets=[listed[int(first)]["Target"]])
        other = str(1 - int(first))
        assert {ask(place, jar)[0] for _ in range(4)} == {other}
        cloud.elb.register_targets(TargetGroupArn=group, Targets=[listed[int(first)]["Target"]])
        assert {ask(place, jar)[0] for _ in range(4)} == {other}  # the new cookie names it


def test_a_cookie_ends_with_its_time(cloud: Cloud) -> None:
    with behind(cloud, "short", enabled="true", lb_cookie__duration_seconds="1") as (place, _, _):
        old: dict[str, str] = {}
        ask(place, old)
        until(lambda: {ask(place, dict(old))[0] for _ in range(4)} == {"0", "1"}, 30)


def test_an_applications_cookie_decides(cloud: Cloud) -> None:
    by_app = {"enabled": "true", "type": "app_cookie", "app_cookie__cookie_name": "session"}
    with behind(cloud, "app", 2, "set-cookie: session=abc; Path=/", **by_app) as (place, group, _):
        jar: dict[str, str] = {}
        first, lines = ask(place, jar)
        assert [line.partition("=")[0] for line in lines] == ["session", "AWSALBAPP-0", "AWSALBAPPCORS-0"]
        assert {ask(place, jar)[0] for _ in range(4)} == {first}
        without = {name: value for name, value in jar.items() if name != "session"}
        assert {ask(place, dict(without))[0] for _ in range(6)} == {"0", "1"}
        stick(cloud, group, app_cookie__cookie_name="other")
        assert [line.partition("=")[0] for line in ask(place, {})[1]] == ["session"]


def test_a_client_stays_with_its_group_among_several(cloud: Cloud) -> None:
    with behind(cloud, "first", 1) as (place, one, listener), target(answers("other")) as there:
        made = cloud.elb.create_target_group(Name="second", Protocol="HTTP", Port=80, TargetType="ip")
        two = str(made["TargetGroups"][0]["TargetGroupArn"])
        cloud.elb.register_targets(TargetGroupArn=two, Targets=[{"Id": there[0], "Port": there[1]}])
        config: dict[str, Any] = {
            "TargetGroups": [{"TargetGroupArn": one, "Weight": 1}, {"TargetGroupArn": two, "Weight": 1}],
            "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 60},
        }
        cloud.elb.modify_listener(ListenerArn=listener, DefaultActions=[{"Type": "forward", "ForwardConfig": config}])
        until(lambda: state(cloud, two, there) == "healthy", 30)
        assert {ask(place, {})[0] for _ in range(6)} == {"0", "other"}
        jar: dict[str, str] = {}
        first, lines = ask(place, jar)
        assert [line.partition("=")[0] for line in lines] == ["AWSALBTG", "AWSALBTGCORS"]
        assert {ask(place, jar)[0] for _ in range(6)} == {first}


def test_cookies_survive_a_restart_and_many_clients_at_once(tmp_path: Path) -> None:
    with balancing(tmp_path) as cloud, behind(cloud, "kept", enabled="true") as (place, _, _):
        jars: list[dict[str, str]] = [{} for _ in range(8)]
        firsts = [ask(place, jar)[0] for jar in jars]
        cloud.run(cloud.balancer.stop())
        with balancing(tmp_path):
            until(lambda: reached(place), 30)
            found: dict[int, set[str]] = {number: set() for number in range(8)}

            def client(number: int) -> None:
                found[number] = {ask(place, jars[number])[0] for _ in range(10)}

            threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
            for one in threads:
                one.start()
            for one in threads:
                one.join(60)
            assert [found[number] for number in range(8)] == [{first} for first in firsts]


def reached(place: tuple[str, int]) -> bool:
    """Whether both targets answer."""
    try:
        return {ask(place, {})[0] for _ in range(4)} == {"0", "1"}
    except (OSError, http.client.HTTPException):
        return False


@pytest.mark.parametrize(
    "wrong",
    [
        {"enabled": "yes"},
        {"type": "source_ip"},
        {"lb_cookie__duration_seconds": "0"},
        {"app_cookie__duration_seconds": "604801"},
        {"type": "app_cookie", "enabled": "true"},
        {"app_cookie__cookie_name": "AWSALBAPP-1"},
        {"app_cookie__cookie_name": "a b"},
    ],
)
def test_what_aws_refuses(cloud: Cloud, wrong: dict[str, str]) -> None:
    made = cloud.elb.create_target_group(Name="refusing", Protocol="HTTP", Port=80, TargetType="ip")
    group = str(made["TargetGroups"][0]["TargetGroupArn"])
    before = cloud.elb.describe_target_group_attributes(TargetGroupArn=group)
    assert refused(stick, cloud=cloud, group=group, **wrong) == "InvalidConfigurationRequest"
    assert cloud.elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"] == before["Attributes"]
