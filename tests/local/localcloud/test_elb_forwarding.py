"""Bytes through a load balancer: created by real boto3, used by real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.local.elb_cloud import Cloud, balancing, free_port, make, says, state, target, until

from skylift.localcloud.elb.forward import Forwarder

pytestmark = pytest.mark.local
LARGE = os.urandom(1 << 20) * 10


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with balancing(tmp_path) as made:
        yield made


def get(address: str, port: int, path: str = "") -> str:
    with urllib.request.urlopen(f"http://{address}:{port}/{path}", timeout=60) as answer:
        return str(answer.read().decode())


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while chunk := connection.recv(65536):
        parts.append(chunk)
    return b"".join(parts)


def registered(cloud: Cloud, group: str, *addresses: tuple[str, int]) -> None:
    cloud.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": ip, "Port": port} for ip, port in addresses])


def test_two_targets_take_turns_and_a_new_one_is_healthy_long_before_its_interval(cloud: Cloud) -> None:
    port = free_port()
    with target(says("one")) as one, target(says("two")) as two:
        address, group, _ = make(cloud, "turns", port)
        registered(cloud, group, one, two)
        until(lambda: state(cloud, group, one) == state(cloud, group, two) == "healthy", 5)
        assert sorted(get(address, port) for _ in range(6)) == ["one"] * 3 + ["two"] * 3


def test_ten_megabytes_both_ways_at_once(cloud: Cloud) -> None:
    port, seen = free_port(), []

    def swap(connection: socket.socket) -> None:
        if not (first := connection.recv(1)):
            return  # a health check
        sender = threading.Thread(target=connection.sendall, args=(LARGE,))
        sender.start()
        seen.append(hashlib.sha256(first + read_all(connection)).hexdigest())
        sender.join()
        connection.shutdown(socket.SHUT_WR)

    with target(swap) as behind:
        address, group, _ = make(cloud, "large", port, "network")
        registered(cloud, group, behind)
        until(lambda: state(cloud, group, behind) == "healthy")
        with socket.create_connection((address, port), 10) as connection:
            sender = threading.Thread(target=lambda: (connection.sendall(LARGE), connection.shutdown(socket.SHUT_WR)))
            sender.start()
            received = read_all(connection)
            sender.join()
    assert received == LARGE
    until(lambda: hashlib.sha256(LARGE).hexdigest() in seen)


def test_a_half_closed_connection_still_gets_its_answer(cloud: Cloud) -> None:
    port = free_port()

    def count(connection: socket.socket) -> None:
        connection.sendall(str(len(read_all(connection))).encode())

    with target(count) as behind:
        address, group, _ = make(cloud, "half", port, "network")
        registered(cloud, group, behind)
        until(lambda: state(cloud, group, behind) == "healthy")
        with socket.create_connection((address, port), 10) as connection:
            connection.sendall(b"12345")
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b"5"


def test_a_target_that_is_killed_midway_breaks_the_connection_and_the_next_one_goes_elsewhere(cloud: Cloud) -> None:
    port = free_port()

    def die(connection: socket.socket) -> None:
        connection.sendall(b"half of it")
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.close()

    with ExitStack() as stack:
        dying = ExitStack()
        stack.enter_context(dying)
        first = dying.enter_context(target(die))
        address, group, _ = make(cloud, "killed", port, "network")
        registered(cloud, group, first)
        until(lambda: state(cloud, group, first) == "healthy")
        with socket.create_connection((address, port), 10) as connection:
            assert connection.recv(100) == b"half of it"
            connection.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                read_all(connection)
        dying.close()
        second = stack.enter_context(target(lambda connection: connection.sendall(b"second")))
        registered(cloud, group, second)
        until(lambda: state(cloud, group, second) == "healthy")
        assert state(cloud, group, first) == "healthy", "not yet seen as dead: connecting fails, and the next is tried"
        for _ in range(4):
            with socket.create_connection((address, port), 10) as connection:
                assert read_all(connection) == b"second"


def test_no_target_is_503_and_deregistering_lets_open_connections_live(cloud: Cloud) -> None:
    port = free_port()

    def echo(connection: socket.socket) -> None:
        while chunk := connection.recv(100):
            connection.sendall(chunk.upper())

    with target(echo) as behind:
        address, group, _ = make(cloud, "drain", port, HealthCheckProtocol="TCP")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(address, port)
        registered(cloud, group, behind)
        until(lambda: state(cloud, group, behind) == "healthy")
        with socket.create_connection((address, port), 10) as connection:
            connection.sendall(b"a")
            assert connection.recv(10) == b"A"
            cloud.elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": behind[0], "Port": behind[1]}])
            assert state(cloud, group, behind) == "draining"
            connection.sendall(b"b")
            assert connection.recv(10) == b"B"
            with pytest.raises(urllib.error.HTTPError, match="503"):
                get(address, port)
        until(lambda: state(cloud, group, behind) == "unused")


def test_a_target_that_answers_wrongly_becomes_unhealthy_and_a_good_one_takes_over(cloud: Cloud) -> None:
    port = free_port()
    check = {"HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2, "UnhealthyThresholdCount": 2}
    with target(says("bad", 500)) as bad, target(says("good")) as good:
        address, group, _ = make(cloud, "wrong", port, **check)
        registered(cloud, group, bad, good)
        until(lambda: state(cloud, group, good) == "healthy")
        assert state(cloud, group, bad) != "healthy"
        assert {get(address, port) for _ in range(4)} == {"good"}
        until(lambda: state(cloud, group, bad) == "unhealthy", 12)
        found = cloud.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"][0]["TargetHealth"]
        assert found["Reason"] == "Target.ResponseCodeMismatch"
        assert "500" in found["Description"]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    port = free_port()
    with target(says("again")) as behind:
        with balancing(tmp_path) as cloud:
            address, group, _ = make(cloud, "stays", port)
            registered(cloud, group, behind)
            until(lambda: state(cloud, group, behind) == "healthy")
        with pytest.raises(OSError):  # noqa: PT011  # refused: nobody listens
            get(address, port)
        with balancing(tmp_path) as cloud:
            assert cloud.elb.describe_load_balancers(Names=["stays"])["LoadBalancers"][0]["DNSName"] == address
            until(lambda: state(cloud, group, behind) == "healthy")
            assert get(address, port) == "again"


def test_a_port_that_was_taken_meanwhile_is_told_and_taken_back(tmp_path: Path) -> None:
    port = free_port()
    with balancing(tmp_path) as cloud:
        address, _, _ = make(cloud, "taken", port)
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind((address, port))
        thief.listen()
        with balancing(tmp_path) as cloud:
            found = cloud.elb.describe_load_balancers()["LoadBalancers"][0]["State"]
            assert found["Code"] == "active_impaired"
            assert str(port) in found["Reason"]
            thief.close()
            until(lambda: cloud.elb.describe_load_balancers()["LoadBalancers"][0]["State"]["Code"] == "active")


def test_what_ecs_asks(cloud: Cloud) -> None:
    port = free_port()
    with target(says("ecs")) as behind:
        address, group, _ = make(cloud, "ecs", port)
        assert cloud.balancer.knows(group)
        assert not cloud.balancer.knows(group + "x")
        cloud.run(cloud.balancer.register(group, *behind))
        cloud.run(cloud.balancer.register(group, *behind))
        until(lambda: cloud.balancer.health(group, *behind) == "healthy")
        assert get(address, port) == "ecs"
        cloud.run(cloud.balancer.deregister(group, *behind))
        cloud.run(cloud.balancer.deregister(group + "x", *behind))
        assert cloud.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"] == []


def test_a_removed_target_is_drained_when_it_has_answered_and_resting_connections_move(cloud: Cloud) -> None:
    port, asked, answer = free_port(), threading.Event(), threading.Event()

    def slow(connection: socket.socket) -> None:
        while chunk := connection.recv(4096):
            if b"/slow" in chunk:
                asked.set()
                answer.wait(60)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")

    with target(slow) as old, target(says("new")) as new, ThreadPoolExecutor() as pool:
        address, group, _ = make(cloud, "drains", port)
        registered(cloud, group, old)
        until(lambda: state(cloud, group, old) == "healthy", 60)
        resting = http.client.HTTPConnection(address, port, timeout=60)
        resting.request("GET", "/")
        assert resting.getresponse().read() == b"old"
        waiting = pool.submit(get, address, port, "slow")
        assert asked.wait(60)
        registered(cloud, group, new)
        until(lambda: state(cloud, group, new) == "healthy", 60)
        cloud.run(cloud.balancer.deregister(group, *old))
        drained = asyncio.run_coroutine_threadsafe(cloud.balancer.drained(group, *old), cloud.loop)
        assert resting.sock is not None
        resting.sock.settimeout(60)
        assert resting.sock.recv(1) == b"", "it is closed, kindly"
        assert not drained.done()
        answer.set()
        assert waiting.result(60) == "old"
        drained.result(60)
        assert get(address, port) == "new"
        delay = [{"Key": "deregistration_delay.timeout_seconds", "Value": "0"}]
        cloud.elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=delay)
        cloud.run(cloud.balancer.drained(group, *new))


async def silent(port: int, count: int) -> list[asyncio.StreamWriter]:
    return [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(count)]


async def asked(port: int) -> bytes:
    """The answer to one request; empty when there was none."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
    except OSError:
        return b""
    return answer


def test_silent_connections_make_room_for_those_who_ask() -> None:
    async def go(behind: tuple[str, int]) -> None:
        forwarder = Forwarder("127.0.0.1", free_port(), lambda: [behind], http=True, most=4)
        await forwarder.start()
        try:
            opened = await silent(forwarder.port, 12)
            for _ in range(6):
                async with asyncio.timeout(60):
                    while not (answer := await asked(forwarder.port)):
                        await asyncio.sleep(0.2)  # all are younger than a second, or are being closed
                assert answer.endswith(b"one")
            assert len(forwarder._connections) <= 4
            assert len(opened) == 12
        finally:
            await forwarder.stop()

    with target(says("one")) as behind:
        asyncio.run(go(behind))


def test_a_connection_on_which_nothing_moves_is_closed_and_one_that_goes_on_is_not() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.read(10):
            writer.write(said)

    async def go() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        behind = server.sockets[0].getsockname()[:2]
        forwarder = Forwarder("127.0.0.1", free_port(), lambda: [behind], http=False, idle_seconds=4)
        await forwarder.start()
        try:
            silent_reader, _ = await asyncio.open_connection("127.0.0.1", forwarder.port)
            reader, writer = await asyncio.open_connection("127.0.0.1", forwarder.port)
            closed = asyncio.ensure_future(silent_reader.read())
            for _ in range(18):
                writer.write(b"x")
                assert await asyncio.wait_for(reader.read(1), 60) == b"x"
                await asyncio.sleep(0.5)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(closed, 60) == b""
        finally:
            await forwarder.stop()
            server.close()

    asyncio.run(go())
